"""How good the forecasts are: all recordings and two simulated feeds, several seeds, default settings, and the bars.

Each run is the command `stepahead evaluate` in a process of its own, with one thread. Figures are medians over seeds;
the peers know no seed and run once. The best possible forecast of white noise is its mean, of a random walk its
last value.

Run: `python tests/bench/quality.py --recordings DIR [--seeds 0,1,2] [--against all] [--json FILE]`
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

ROWS = 12_000


@dataclass(frozen=True, slots=True)
class Feed:
    """A file and how to score on it."""

    name: str
    file: Path
    flags: tuple[str, ...]
    best_mse: float | None = None


def recordings(folder: Path) -> list[Feed]:
    etth2 = ("--time", "date", "--scale-rows", "2880", "--score-from", "3600", "--score-to", "14400")
    found = [
        Feed("ETTh2", folder / "ETTh2.csv", etth2),
        Feed("machine", folder / "machine_temperature_system_failure.csv", ("--time", "timestamp")),
        Feed("taxi", folder / "nyc_taxi.csv", ("--time", "timestamp")),
        Feed("ec2", folder / "ec2_cpu_utilization_5f5533.csv", ("--time", "timestamp")),
        Feed("skab", folder / "skab_anomaly_free.csv", ("--time", "datetime", "--delimiter", ";")),
    ]
    for feed in found:
        if not feed.file.is_file():
            sys.exit(f"{feed.file} is missing: --recordings names the folder that holds the recordings")
    return found


def simulated(folder: Path, seed: int) -> list[Feed]:
    noise = np.random.default_rng(seed).normal(size=ROWS)
    feeds = []
    for name, values in (("white noise", noise), ("random walk", np.cumsum(noise))):
        file = folder / f"{name.replace(' ', '_')}_{seed}.csv"
        lines = (f"{1_700_000_000 + 60 * i},{value!r}\n" for i, value in enumerate(values.tolist()))
        file.write_text("time,value\n" + "".join(lines), "utf-8")
        # The best forecast makes exactly this error on these rows: what is left of the ratio is not chance.
        feeds.append(Feed(name, file, ("--time", "time"), float((noise[ROWS // 5 :] ** 2).mean())))
    return feeds


def run(feed: Feed, seed: int, against: str, folder: Path) -> dict[str, Any]:
    out = folder / "evaluation.json"
    command = [sys.executable, "-m", "stepahead", "evaluate", str(feed.file), *feed.flags, "--seed", str(seed)]
    if against:
        command += ["--against", against]
    began = time.perf_counter()
    done = subprocess.run(
        [*command, "--json", str(out)], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    result: dict[str, Any] = json.loads(out.read_text("utf-8"))
    print(f"{feed.name}, seed {seed}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return result


def columns(feed: Feed, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per column: medians of ours over the seeds, and the best of the others."""
    rows = []
    for column in runs[0]["columns"]:

        def median(model: str, figure: str, column: str = column) -> float:
            return statistics.median(one["models"][model]["per_column"][column][figure] for one in runs)

        others = {
            name: model["per_column"][column]["mae"]
            for name, model in runs[0]["models"].items()
            if name not in ("stepahead", "mean") and model["per_column"][column]["mae"] is not None
        }
        best = min(others, key=lambda name: others[name])
        rows.append(
            {
                "feed": feed.name,
                "column": column,
                "mae_ratio": median("stepahead", "mae") / median("persistence", "mae"),
                "against_best": median("stepahead", "mae") / others[best],
                "best": best,
                "mse_ratio": median("stepahead", "mse") / median("persistence", "mse"),
                "lstm_mae_ratio": median("lstm", "mae") / median("persistence", "mae"),
                "coverage": median("stepahead", "coverage"),
            }
        )
    return rows


def whole(runs: list[dict[str, Any]], model: str, figure: str) -> float:
    return statistics.median(one["models"][model][figure] for one in runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=Path, required=True)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--against", default="all", help="peers, as `stepahead evaluate --against`; '' = none")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]

    rows: list[dict[str, Any]] = []
    bars: dict[str, tuple[float, float]] = {}
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {datetime.now(UTC):%F}")
    print(f"\n| feed | column | MAE ratio | LSTM alone | MSE ratio | against best other | coverage |\n|{'---|' * 7}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for feed in recordings(options.recordings):
            runs = [run(feed, seed, options.against if seed == seeds[0] else "", folder) for seed in seeds]
            told = columns(feed, runs)
            rows += told
            for row in told:  # at once: the whole takes an hour
                best = f"{row['against_best']:.3f} {row['best']}"
                figures = (f"{row[name]:.3f}" for name in ("mae_ratio", "lstm_mae_ratio", "mse_ratio"))
                cells = (row["feed"], row["column"], *figures, best, f"{100 * row['coverage']:.1f}%")
                print(f"| {' | '.join(cells)} |", flush=True)
            if feed.name == "ETTh2":
                for name, field in (("stepahead", "value"), ("mean", "mean")):
                    bars[f"ETTh2, MSE of the published `{field}`"] = (whole(runs, name, "mse"), 0.305)
                    bars[f"ETTh2, MAE of the published `{field}`"] = (whole(runs, name, "mae"), 0.300)
                bars["ETTh2, MSE of the LSTM alone"] = (whole(runs, "lstm", "mse"), 0.315)
        for at, kind in enumerate(("white noise", "random walk")):
            ratios = []
            for seed in seeds:
                feed = simulated(folder, seed)[at]
                ratios.append(run(feed, seed, "", folder)["models"]["stepahead"]["mse"] / (feed.best_mse or 1.0))
            bars[f"{kind}, MSE against the best possible"] = (statistics.median(ratios), 1.02)
    bars["MAE ratio to persistence, worst column"] = (max(row["mae_ratio"] for row in rows), 1.00)
    bars["MAE ratio to persistence, mean of columns"] = (statistics.mean(row["mae_ratio"] for row in rows), 0.85)
    bars["MAE against the best other, worst column"] = (max(row["against_best"] for row in rows), 1.02)
    bars["MAE against the best other, mean of columns"] = (statistics.mean(row["against_best"] for row in rows), 0.98)
    bars["coverage of 90%, farthest column, points off"] = (max(abs(100 * row["coverage"] - 90) for row in rows), 1.0)

    print("\n| figure | seen | bar | |\n|---|---|---|---|")
    for label, (seen, bar) in bars.items():
        print(f"| {label} | {seen:.4f} | ≤ {bar} | {'met' if seen <= bar else 'missed'} |")
    if options.json:
        options.json.write_text(json.dumps({"columns": rows, "bars": bars}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
