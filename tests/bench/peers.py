"""Microseconds per reading, forecast and learning, of other online forecasters and of the engine, in one run.

A peer is one Python object a series: its cost a reading does not depend on how many series there are, so it is
measured on a few hundred readings of several series. The engine's is measured at 1 and at 10,000 series, with
everything on and fine-tunes in line at the default schedule, on one core. Peers and engine take turns.

Run: `PYTHONPATH=src:. OMP_NUM_THREADS=1 python tests/bench/peers.py [--json FILE] [--repeat N]`
(deep-river is skipped aloud unless it is installed, see `evaluation/peers/registry.py`)
"""

import argparse
import json
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stepahead.contract.errors import StepaheadError
from stepahead.contract.settings import Settings
from stepahead.evaluation.peers.peer import MakePeer
from stepahead.evaluation.peers.registry import PEERS, load_peer
from tests.bench.crowd import Crowd, clock, machine

READINGS = {"holtwinters": 3000, "autoreg": 1000, "deep-river": 150}
"""Measured a series; peers not named get 400. AutoReg refits every 500 readings, so whole periods are measured."""
WARM = 100
SERIES = 2


def peer_us(make: MakePeer, readings: int) -> float:
    """Microseconds for one forecast and one learning, newborn objects each time."""
    rng = np.random.default_rng(0)
    seconds = 0.0
    for seed in range(SERIES):
        values = (3 * np.sin(np.arange(WARM + readings) / 7) + 20 + 0.3 * rng.normal(size=WARM + readings)).tolist()
        peer = make(None, seed)
        for t, value in enumerate(values):
            if t == WARM:
                began = clock()
            peer.forecast()
            peer.learn(value, t * 60 * 10**9)
        seconds += clock() - began
    return 1e6 * seconds / (SERIES * readings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    makers: dict[str, MakePeer] = {}
    for name in PEERS:
        try:
            makers[name] = load_peer(name)
        except StepaheadError as error:
            print(f"without {name}: {error}")
    crowds = {series: Crowd(series, settings=Settings()) for series in (1, 10_000)}
    runs: dict[str, list[float]] = {}
    for _ in range(arguments.repeat):
        for name, make in makers.items():
            runs.setdefault(name, []).append(peer_us(make, READINGS.get(name, 400)))
        for series, crowd in crowds.items():
            rounds = [crowd.next_round() for _ in range(500 if series == 1 else 24)]
            us = 1e6 * crowd.play(rounds) / (len(rounds) * series)
            runs.setdefault(f"stepahead, {series:,} series", []).append(us)
    median = {name: statistics.median(us) for name, us in runs.items()}
    ours = median["stepahead, 10,000 series"]
    print(machine())
    print(f"{'':<28} µs/reading  readings/s at 10,000 series  ours is faster by")
    for name, us in median.items():
        faster = f"{us / ours:>17,.0f}×" if name in makers else ""
        print(f"{name:<28} {us:>10,.1f} {1e6 / us:>28,.0f} {faster}")
    if arguments.json:
        report: dict[str, Any] = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "us_per_reading": median,
            "runs": runs,
        }
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
