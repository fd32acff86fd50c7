"""Microseconds per reading, forecast and learning, of other online forecasters and of the engine, in one run.

The engine is measured at 1 and at 10,000 series, with everything on and fine-tunes in line at the default schedule, on
one core. A peer is one Python object a series. River's are measured at 10,000 series too, a round of readings of all
after the other: SNARIMAX takes a quarter longer there than with two series, whose objects stay in the cache. The
others are too slow, or refit too rarely, for so many: two newborn series, some hundred readings each, which flatters
them. Peers and engine take turns.

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

SERIES = 10_000
ROUNDS = 10
FEW = {"autoreg": 1000, "lebre": 400, "deep-river": 150}
"""Readings of each of two series. AutoReg refits every 500 readings, so whole periods are measured."""
WARM = 60
"""Readings of a series that are not measured; SNARIMAX has no forecast before the 26th."""


class Peers:
    """Peers of one kind, one a series, each of whose readings is forecast and then learned.

    Args:
        make: makes one.
        series: how many.
    """

    def __init__(self, make: MakePeer, series: int) -> None:
        self._peers = [make(None, seed) for seed in range(series)]
        self._generator = np.random.default_rng(0)
        self._round = 0

    def play(self, rounds: int) -> float:
        """Go on for so many rounds; seconds that the peers took."""
        seconds = 0.0
        for _ in range(rounds):
            noise = self._generator.normal(size=len(self._peers))
            values = (3 * np.sin(self._round / 7) + 20 + 0.3 * noise).tolist()
            began = clock()
            for peer, value in zip(self._peers, values, strict=True):
                peer.forecast()
                peer.learn(value, self._round * 60 * 10**9)
            seconds += clock() - began
            self._round += 1
        return seconds


def few_us(make: MakePeer, readings: int) -> float:
    """Microseconds a reading of two newborn series."""
    peers = Peers(make, 2)
    peers.play(WARM)
    return 1e6 * peers.play(readings) / (2 * readings)


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
    crowds = {series: Crowd(series, settings=Settings()) for series in (1, SERIES)}
    many = {name: Peers(make, SERIES) for name, make in makers.items() if name not in FEW}
    for peers in many.values():
        peers.play(WARM)
    runs: dict[str, list[float]] = {}
    for _ in range(arguments.repeat):
        for name, readings in FEW.items():
            if name in makers:
                runs.setdefault(name, []).append(few_us(makers[name], readings))
        for name, peers in many.items():
            runs.setdefault(name, []).append(1e6 * peers.play(ROUNDS) / (ROUNDS * SERIES))
        for series, crowd in crowds.items():
            rounds = [crowd.next_round() for _ in range(500 if series == 1 else 24)]
            us = 1e6 * crowd.play(rounds) / (len(rounds) * series)
            runs.setdefault(f"stepahead, {series:,} series", []).append(us)
    median = {name: statistics.median(us) for name, us in runs.items()}
    ours = median[f"stepahead, {SERIES:,} series"]
    print(machine())
    print(f"{'':<28} µs/reading    readings/s           ours is faster by")
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
