"""Engines of any number of series in a steady state, and the feed that goes on from it: what the benches step.

A thousand series are stepped until every bank is warm (regressions beyond their warm-up, memories in use); their
rows are then copied to as many series as wanted, whose readings go on from there with noise of their own. So a million
series stand where a day of readings would have brought them, after a minute.
"""

import os
import platform
import time
from typing import Any

import numpy as np
import torch

from stepahead.contract.bank import Bank, Composite
from stepahead.contract.records import FloatArray, Readings
from stepahead.contract.settings import Settings
from stepahead.forecasting.engine import Engine
from stepahead.forecasting.hidden import spread_of
from stepahead.learning.trainer import Trainer

BASE = 1000
START_NS = 1_760_000_000_000_000_000
clock = time.process_time
"""Seconds of the core that this process had: everything measured runs in one thread, and what else the machine does
would be counted as ours by the clock on the wall."""
WARM_ROUNDS = 400
"""The compact regression counts as warm after 12 × 18 readings, the memory is full after 340."""


class Crowd:
    """Some series, all of which speak once a round.

    Args:
        series: how many.
        period_s: seconds between two readings of a series: 60 has no season within memory, 1800 has the day.
        settings: of the engine.
        trainer: of the engine.
        seed: of the feed.
        shuffled: readings of a round arrive in another order each time.
    """

    def __init__(
        self,
        series: int,
        period_s: float = 60.0,
        settings: Settings | None = None,
        trainer: Trainer | None = None,
        seed: int = 0,
        shuffled: bool = False,
    ) -> None:
        self.series = series
        self.round = WARM_ROUNDS
        self._period_ns = round(period_s * 1e9)
        self._generator = np.random.default_rng(seed)
        self._shuffled = shuffled
        self._level = np.zeros(min(series, BASE))
        settings = settings or Settings()
        self.engine = Engine(settings, trainer)
        frozen = Settings.model_validate({**settings.model_dump(), "learning": {"enabled": False}})
        source = Engine(frozen)
        slots = self._intern(source, min(series, BASE))
        for row in range(WARM_ROUNDS):
            source.step(Readings(slots, np.full(len(slots), self._time_ns(row)), self._values(row, len(slots))))
        self.slots = self._intern(self.engine, series)
        self.engine._settle()
        for mine, its in ((self.engine._parts, source._parts), (self.engine._pipeline.parts, source._pipeline.parts)):
            repeat(mine, its, series, len(slots))
        for number, cohort in enumerate(self.engine.cohorts):
            cohort.series = int((self.engine.table.cohort[:series] == number).sum())
            cohort._thinning = cohort.thinning  # as from the first fine-tune on
            cohort._spread = spread_of(cohort.series)
        self.engine.position = series * WARM_ROUNDS

    def next_round(self) -> Readings:
        """One reading of every series."""
        slots = self._generator.permutation(self.slots) if self._shuffled else self.slots
        values = self._values(self.round, self.series)[slots]
        batch = Readings(slots, np.full(self.series, self._time_ns(self.round)), values)
        self.round += 1
        return batch

    def play(self, rounds: list[Readings], max_batch: int = 8192) -> float:
        """Step through rounds in batches as large as the service's, and give the seconds it took."""
        batches = [batch[at : at + max_batch] for batch in rounds for at in range(0, len(batch), max_batch)]
        began = clock()
        for batch in batches:
            self.engine.step(batch)
        return clock() - began

    def _time_ns(self, row: int) -> int:
        return START_NS + row * self._period_ns

    def _values(self, row: int, series: int) -> FloatArray:
        """A slow wave, a random walk and noise; copies of a series differ in their noise."""
        base = np.arange(len(self._level))
        self._level += 0.1 * self._generator.normal(size=len(base))
        wave = 3 * np.sin(row / (5 + base % 37)) + self._level + 20 + base % 11
        copies = -(-series // len(base))
        return np.tile(wave, copies)[:series] + 0.3 * self._generator.normal(size=series)

    @staticmethod
    def _intern(engine: Engine, series: int) -> Any:
        return np.array([engine.intern(f"plant/line{i // 100}/sensor{i}") for i in range(series)], np.int32)


def repeat(part: Bank | Composite, source: Bank | Composite, series: int, known: int) -> None:
    """Copy the first `known` rows of a bank again and again, in place."""
    if isinstance(part, Composite):
        assert isinstance(source, Composite)
        for name, bank in part.parts.items():
            repeat(bank, source.parts[name], series, known)
        return
    assert isinstance(source, Bank)
    for name in part._columns:
        mine, its = getattr(part, name), getattr(source, name)
        rows = min(series, len(mine))
        for start in range(0, rows, known):
            stop = min(start + known, rows)
            mine[start:stop] = its[: stop - start]


def machine() -> str:
    """What the figures were measured on, in a line."""
    processor = platform.processor() or platform.machine()
    with open("/proc/cpuinfo") as file:
        names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    return (
        f"{names[0] if names else processor}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, NumPy {np.__version__}, torch {torch.__version__}, 1 thread"
    )
