"""How soon the forecast recovers from a change of regime, with fine-tunes that drift brings about and without.

Each of S series follows an autoregression whose law changes for all of them at one moment, as when a plant is
switched over (simulators/regimes.py). Played with `learning.drift` on and off, same seeds, else default settings. The
error is the mean absolute error over series, seeds and WINDOW readings; its floor is that of the last third after the
change, of both plays together. Recovery: readings per series from the change to the beginning of the first window from
which on the error stays within 10% of the floor for three windows. "published" is the mixture, in which the online
autoregressions adapt without fine-tunes; "lstm" is the mean of the networks, which fine-tunes are about.

Run: `python tests/bench/drift.py [--json FILE] [--series S] [--seeds N] [--before N] [--after N] [--set KEY=VALUE ...]`
"""

import argparse
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simulators.regimes import Regime, RegimeChange
from stepahead.contract.records import FloatArray, Readings
from stepahead.contract.settings import Settings
from stepahead.forecasting.engine import Engine

WINDOW = 24
MARGIN = 1.1
PERIOD_NS = 60 * 10**9
CHANGES = {
    "oscillation damped, then alternating": ((1.6, -0.8), (-0.7, 0.0)),
    "slow, then oscillating": ((0.95, 0.0), (1.2, -0.9)),
    "alternating, then oscillating": ((-0.7, 0.0), (1.6, -0.8)),
}
MODELS = ("published", "lstm")


def play(change: str, drift: bool, seed: int, arguments: argparse.Namespace) -> tuple[dict[str, FloatArray], int, int]:
    """Mean absolute error over the series, by model, float64[steps]; drifts found; fine-tunes."""
    first, second = CHANGES[change]
    before, after, count = arguments.before, arguments.after, arguments.series
    values = np.column_stack(
        [
            RegimeChange([Regime(before, first, 10, 1), Regime(after, second, 10, 1)], seed * 1000 + s).sample(
                before + after
            )
            for s in range(count)
        ]
    )
    flags: dict[str, Any] = {"learning": {"drift": drift, "seed": seed}, "engine": {"deterministic": True}}
    for pair in arguments.set:
        key, _, value = pair.partition("=")
        section, _, name = key.partition(".")
        flags.setdefault(section, {})[name] = value
    engine = Engine(Settings.model_validate(flags))
    slots = np.array([engine.intern(f"series/{s}") for s in range(count)], dtype=np.int32)
    error = {name: np.full(before + after, np.nan) for name in MODELS}
    expected = {name: np.full(count, np.nan) for name in MODELS}
    for t, row in enumerate(values):
        for name in MODELS:
            error[name][t] = np.abs(row - expected[name]).mean()
        forecasts = engine.step(Readings(slots, np.full(count, t * PERIOD_NS), row))
        expected = {"published": forecasts.value[:, 0], "lstm": engine.outlook(slots).value[:, -1]}
    tally = engine.cohorts[0].tally
    return error, tally.drifts, tally.begun


def recovery(curve: FloatArray, floor: float) -> int | None:
    """Readings until the running error stays within the margin, None = never."""
    means = np.convolve(curve, np.ones(WINDOW) / WINDOW, mode="valid")
    within = means <= MARGIN * floor
    for t in range(len(means) - 2 * WINDOW):
        if within[t] and within[t + WINDOW] and within[t + 2 * WINDOW]:
            return t
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--series", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--before", type=int, default=400, help="readings per series before the change")
    parser.add_argument("--after", type=int, default=480, help="and after it")
    parser.add_argument("--change", action="append", choices=CHANGES, help="only this one; may be repeated")
    parser.add_argument("--set", action="append", default=[], help="a setting, KEY=VALUE")
    parser.add_argument("--curves", action="store_true", help="print the error in windows after the change")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, Any] = {
        "command": "python tests/bench/drift.py",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "series": arguments.series,
        "seeds": arguments.seeds,
        "changes": {},
    }
    print(report["machine"], flush=True)
    ratios: dict[str, list[float]] = {name: [] for name in MODELS}
    for change in arguments.change or CHANGES:
        plays = {on: [play(change, on, seed, arguments) for seed in range(arguments.seeds)] for on in (False, True)}
        report["changes"][change] = row = {}
        print(f"{change}: drifts found {[drifts for _, drifts, _ in plays[True]]}, "
              f"fine-tunes {[n for _, _, n in plays[False]]} -> {[n for _, _, n in plays[True]]}")  # fmt: skip
        for name in MODELS:
            curves = {on: np.mean([p[0][name] for p in plays[on]], axis=0)[arguments.before :] for on in plays}
            floor = float(np.mean([curve[-arguments.after // 3 :].mean() for curve in curves.values()]))
            times = {on: recovery(curve, floor) for on, curve in curves.items()}
            off, on = times[False], times[True]
            # One that never came back within the play took at least as long as that: the ratio is a lower bound.
            ratio = None if on is None else ((arguments.after - 3 * WINDOW if off is None else off) + 1) / (on + 1)
            ratios[name] += [] if ratio is None else [ratio]
            row[name] = {"floor": floor, "periodic_alone": off, "with_drift": on, "ratio": ratio}
            print(
                f"  {name:10} floor {floor:.3f}  recovered after {off} periodic alone, {on} with drift: {ratio}",
                flush=True,
            )
            if arguments.curves:
                for which, curve in curves.items():
                    blocks = curve[: len(curve) // WINDOW * WINDOW].reshape(-1, WINDOW).mean(axis=1) / floor
                    print("   ", "drift   " if which else "periodic", " ".join(f"{b:.2f}" for b in blocks))
    for name in MODELS:
        report[name] = float(np.median(ratios[name])) if ratios[name] else None
        print(f"{name}: median ratio {report[name]}")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
