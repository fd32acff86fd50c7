"""A small engine with the interface of the real one, and recordings to play."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import pytest

from stepahead.contract.records import REFUSED, FloatArray, Forecasts, Readings, SlotArray
from stepahead.contract.settings import Settings
from stepahead.evaluation.recording import Recording


class FakeOutlook(NamedTuple):
    names: tuple[str, ...]
    value: FloatArray
    weights: FloatArray


class FakeEngine:
    """Publishes the mean of persistence and drift; `lstm` is drift, not ready before the second reading."""

    made: ClassVar[list["FakeEngine"]] = []

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.slots: dict[str, int] = {}
        self.last: dict[int, float] = {}
        self.change: dict[int, float] = {}
        self.time: dict[int, int] = {}
        self.steps: list[Readings] = []
        self.closed = False
        FakeEngine.made.append(self)

    def intern(self, key: str) -> int:
        if key not in self.slots and len(self.slots) >= self.settings.engine.max_series:
            return REFUSED
        return self.slots.setdefault(key, len(self.slots))

    def step(self, readings: Readings) -> Forecasts:
        self.steps.append(readings)
        slots, times = readings.series.tolist(), readings.time_ns.tolist()
        keep = [row for row, slot in enumerate(slots) if times[row] > self.time.get(slot, -1)]
        taken = readings[np.array(keep, dtype=np.intp)]
        for slot, time_ns, value in zip(
            taken.series.tolist(), taken.time_ns.tolist(), taken.value.tolist(), strict=True
        ):
            self.change[slot] = value - self.last.get(slot, np.nan)
            self.last[slot], self.time[slot] = value, time_ns
        n = len(taken)
        value = np.array([self.publish(slot) for slot in taken.series.tolist()]).reshape(n, 1)
        half = np.ones((n, len(self.settings.interval.levels)))
        zeros = np.zeros(n, np.int64)
        return Forecasts(
            reading=np.array(keep, dtype=np.int64), series=taken.series, issued_at_ns=taken.time_ns,
            valid_at_ns=taken.time_ns, value=value, mean=value[:, 0], lower=value - half, upper=value + half,
            observed=taken.value, error=np.zeros(n), anomaly=np.zeros(n, np.bool_), score=np.ones(n),
            status=np.ones(n, np.int8), model=zeros, id=zeros.astype(np.uint64),
        )  # fmt: skip

    def publish(self, slot: int) -> float:
        change = self.change[slot]
        return self.last[slot] + (0.0 if np.isnan(change) else 0.5 * change)

    def outlook(self, slots: SlotArray) -> FakeOutlook:
        last = np.array([self.last.get(int(slot), np.nan) for slot in slots])
        change = np.array([self.change.get(int(slot), np.nan) for slot in slots])
        value = np.column_stack([last, last + change])
        return FakeOutlook(("persistence", "lstm"), value, np.full((len(slots), 2), 0.5))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def engine_class() -> type[FakeEngine]:
    FakeEngine.made = []
    return FakeEngine


@pytest.fixture
def make_recording() -> Callable[..., Recording]:
    def make(rows: int = 60, columns: int = 3, seed: int = 0, missing: float = 0.1) -> Recording:
        rng = np.random.default_rng(seed)
        value = np.cumsum(rng.normal(size=(rows, columns)), axis=0)
        value[rng.random(value.shape) < missing] = np.nan
        names = tuple(f"c{i}" for i in range(columns))
        return Recording("made", names, np.arange(rows, dtype=np.int64) * 10**9, value)

    return make


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "file.csv"
        path.write_text(text, "utf-8")
        return path

    return write
