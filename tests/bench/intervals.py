"""The 90% interval beside a running quantile of absolute errors, around the same forecasts.

The rival is what one would do without a method: the published value ± the 90% quantile of the last MEMORY absolute
errors of the series. Per column, on the scored rows where both exist: coverage of both, ratio of mean widths and ratio
of pinball losses (below 1: ours is narrower, or better).

Run: `python tests/bench/intervals.py --recordings DIR [--seed N] [--json FILE]`
"""

import argparse
import json
import os
import platform
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from stepahead.contract.records import FloatArray
from stepahead.contract.settings import Settings
from stepahead.evaluation.evaluate import Evaluation, evaluate, scored_range
from stepahead.evaluation.recording import read_recording
from stepahead.evaluation.scores import quantile_loss
from stepahead.forecasting.engine import Engine
from tests.bench.quality import Feed, recordings

LEVEL = 0.9
MEMORY = 1000
FEWEST = 100
NUMBERS = ("--scale-rows", "--score-from", "--score-to")


def running_quantile(size: FloatArray) -> FloatArray:
    """Quantile of the last MEMORY finite values before each row, float64[rows]; NaN before there are FEWEST."""
    answer = np.full(len(size), np.nan)
    at = np.flatnonzero(np.isfinite(size))
    values = size[at]
    for i in range(FEWEST, len(values)):
        answer[at[i]] = np.quantile(values[max(0, i - MEMORY) : i], LEVEL)
    return answer


def pinball(observed: FloatArray, lower: FloatArray, upper: FloatArray) -> float:
    tail = np.array((1 - LEVEL) / 2)
    return float(np.mean(quantile_loss(observed, lower, tail)) + np.mean(quantile_loss(observed, upper, 1 - tail)))


def column(value: FloatArray, forecast: FloatArray, lower: FloatArray, upper: FloatArray, first: int) -> dict[str, Any]:
    half = running_quantile(np.abs(value - forecast))
    rows = np.isfinite(value) & np.isfinite(half) & np.isfinite(lower)
    rows[:first] = False
    value, forecast, lower, upper, half = (x[rows] for x in (value, forecast, lower, upper, half))
    return {
        "readings": len(value),
        "coverage": float(np.mean((lower <= value) & (value <= upper))),
        "coverage_rival": float(np.mean(np.abs(value - forecast) <= half)),
        "width_ratio": float(np.mean(upper - lower) / np.mean(2 * half)),
        "pinball_ratio": pinball(value, lower, upper) / pinball(value, forecast - half, forecast + half),
    }


def played(feed: Feed, seed: int) -> Evaluation:
    flags = dict(zip(feed.flags[::2], feed.flags[1::2], strict=True))
    scale, first, end = (int(flags[name]) if name in flags else None for name in NUMBERS)
    recording = read_recording(feed.file, flags["--time"], delimiter=flags.get("--delimiter", ","))
    score = scored_range(len(recording), first, end)
    return evaluate(recording, Settings(), Engine, score, scale_rows=scale, seed=seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {datetime.now(UTC):%F}")
    print(f"\n| feed | column | coverage | of the quantile | width | pinball |\n|{'---|' * 6}")
    rows: list[dict[str, Any]] = []
    for feed in recordings(options.recordings):
        done = played(feed, options.seed)
        for at, name in enumerate(done.recording.columns):
            play = done.play
            bounds = (bound[:, at, 0] for bound in (play.lower, play.upper))
            row = column(done.recording.value[:, at], play.forecast["stepahead"][:, at], *bounds, done.range.first)
            rows.append({"feed": feed.name, "column": name} | row)
            cells = [f"{100 * row['coverage']:.1f}%", f"{100 * row['coverage_rival']:.1f}%"]
            cells += [f"{row[figure]:.3f}" for figure in ("width_ratio", "pinball_ratio")]
            print(f"| {feed.name} | {name} | {' | '.join(cells)} |", flush=True)
    for figure in ("width_ratio", "pinball_ratio"):
        values = [row[figure] for row in rows]
        better = sum(value < 1 for value in values)
        print(f"{figure}: mean {statistics.mean(values):.3f}, below 1 on {better} of {len(values)} columns")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
