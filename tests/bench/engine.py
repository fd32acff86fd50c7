"""`Engine.step` with everything on, beside a bare `nn.LSTM` + head of the same size and blocks, in the same run.

Frozen: all forecasters, the mixture, intervals, windows for replay, drift detection; no fine-tuning. Learning: the
same, and fine-tunes in line on the same core at the default schedule, so that their whole cost is in the figure (the
service gives them to another process). Loop: what is left of that without the fine-tunes themselves, ÷ frozen: drawing
their material, adopting weights, and making hidden states anew stay on the service's own thread. Bare: M LSTMs and
linear heads over blocks as large as the engine's, state kept contiguous, inputs at hand: what no engine around
`nn.LSTM` can be faster than.

The three take turns within each repetition; ratios are medians of the ratios within a repetition.

Run: `PYTHONPATH=src:. OMP_NUM_THREADS=1 python tests/bench/engine.py [--json FILE] [--series 1000,10000]
[--repeat N] [--period SECONDS] [--shuffled] [--no-learning]`
"""

import argparse
import json
import statistics
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stepahead.contract.settings import Settings
from stepahead.learning.features import feature_count
from stepahead.learning.material import Material
from stepahead.learning.schedule import interval
from stepahead.learning.trainer import InlineTrainer
from stepahead.network.ensemble import LARGE_BLOCK
from tests.bench.crowd import Crowd, clock, machine

READINGS = 200_000
"""At least so many readings a measurement; at least one round."""
MOST_LEARNING = 100_000
"""With more series a measurement over one fine-tune would take minutes and show the same cost a fine-tune."""


class TimedTrainer(InlineTrainer):
    """Tunes in line and notes how long it took."""

    seconds = 0.0
    fine_tunes = 0

    def submit(self, material: Material) -> None:
        began = clock()
        super().submit(material)
        self.seconds += clock() - began
        self.fine_tunes += 1


def bare_step(settings: Settings) -> Callable[[int], float]:
    """Seconds for so many readings through bare LSTMs with heads."""
    shape = settings.network
    inputs = feature_count(1) + shape.embedding
    lstms = [nn.LSTM(inputs, shape.hidden, shape.layers) for _ in range(shape.members)]
    heads = [nn.Linear(shape.hidden + inputs, shape.horizon) for _ in range(shape.members)]
    x = torch.randn(1, LARGE_BLOCK, inputs)
    zero = torch.zeros(shape.layers, LARGE_BLOCK, shape.hidden)
    states = [(zero, zero) for _ in lstms]

    @torch.inference_mode()
    def step(readings: int) -> float:
        began = clock()
        for _ in range(-(-readings // LARGE_BLOCK)):
            for m, (lstm, head) in enumerate(zip(lstms, heads, strict=True)):
                out, states[m] = lstm(x, states[m])
                head(torch.cat((out, x), dim=2))
        return (clock() - began) * readings / (-(-readings // LARGE_BLOCK) * LARGE_BLOCK)

    step(LARGE_BLOCK * 10)
    return step


def measure(series: int, repeat: int, period_s: float, shuffled: bool, learning: bool) -> dict[str, Any]:
    settings = Settings()
    bare = bare_step(settings)
    frozen = Crowd(series, period_s, Settings.model_validate({"learning": {"enabled": False}}), shuffled=shuffled)
    trainer = TimedTrainer(settings.learning)
    with_learning = learning and series <= MOST_LEARNING
    learner = Crowd(series, period_s, settings, trainer, shuffled=shuffled) if with_learning else None
    rounds = max(1, READINGS // series)
    learning_rounds = -(-interval(settings.learning.every, series) // series)
    frozen.play([frozen.next_round() for _ in range(2)])
    runs: dict[str, list[float]] = {"engine": [], "bare": [], "ratio": []}
    if learner:
        learner.play([learner.next_round()])
        runs |= {"learning": [], "learning_ratio": [], "tuning_share": [], "loop_ratio": []}
    for _ in range(repeat):
        inputs = [frozen.next_round() for _ in range(rounds)]
        bare_us = 1e6 * bare(max(rounds * series, 100_000)) / max(rounds * series, 100_000)
        engine_us = 1e6 * frozen.play(inputs) / (rounds * series)
        runs["engine"].append(engine_us)
        if learner:
            inputs = [learner.next_round() for _ in range(learning_rounds)]
            before = trainer.seconds
            seconds = learner.play(inputs)
            tuning = trainer.seconds - before
            runs["learning"].append(1e6 * seconds / (learning_rounds * series))
            runs["tuning_share"].append(tuning / (seconds - tuning))
            runs["learning_ratio"].append(runs["learning"][-1] / bare_us)
            runs["loop_ratio"].append(1e6 * (seconds - tuning) / (learning_rounds * series) / engine_us)
        again_us = 1e6 * bare(max(rounds * series, 100_000)) / max(rounds * series, 100_000)
        runs["bare"].append((bare_us + again_us) / 2)
        runs["ratio"].append(engine_us / runs["bare"][-1])
    row = {name: statistics.median(values) for name, values in runs.items()}
    return {
        "series": series,
        "readings_per_second": 1e6 / row["engine"],
        **row,
        "best_readings_per_second": 1e6 / min(runs["engine"]),
        "fine_tunes": trainer.fine_tunes,
        "runs": runs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--series", default="1000,10000,100000")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--period", type=float, default=60.0, help="seconds between two readings of a series")
    parser.add_argument("--shuffled", action="store_true", help="another order of arrival in every round")
    parser.add_argument("--no-learning", action="store_true", help="leave fine-tuning out")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "period_s": arguments.period,
        "shuffled": arguments.shuffled,
        "repeat": arguments.repeat,
        "rows": [],
    }
    print(report["machine"])
    print(
        "   series  readings/s  µs frozen  µs bare  ratio  best/s      µs learning"
        "  tuning/rest  loop/frozen  fine-tunes",
        flush=True,
    )
    for series in map(int, arguments.series.split(",")):
        row = measure(series, arguments.repeat, arguments.period, arguments.shuffled, not arguments.no_learning)
        report["rows"].append(row)
        names = {"learning": 11, "tuning_share": 12, "loop_ratio": 12}
        learned = " ".join(f"{row[name]:>{width}.2f}" if name in row else " " * width for name, width in names.items())
        print(
            f"{series:>9,} {row['readings_per_second']:>11,.0f} {row['engine']:>10.2f} {row['bare']:>8.2f} "
            f"{row['ratio']:>6.2f} {row['best_readings_per_second']:>8,.0f} {learned} {row['fine_tunes']:>11}",
            flush=True,
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
