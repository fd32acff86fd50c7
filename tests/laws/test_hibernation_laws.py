"""Where the state of a silent series lies changes no forecast, to the bit: not when it goes, nor whether it may."""

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stepahead.contract.records import Readings
from stepahead.contract.settings import LearningSettings, Settings
from stepahead.forecasting.engine import Engine
from stepahead.learning.material import Material, Sample
from stepahead.learning.trainer import InlineTrainer
from stepahead.replay.history import Windows
from tests.forecasting.memory_shelf import MemoryShelf
from tests.forecasting.small import MINUTE_NS, START_NS, assert_equal_to_the_bit, play, small_settings

FEW = settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SERIES, ROWS = 12, 240


def hibernating(**sections: Any) -> Settings:
    engine = {"deterministic": True, "silent_after_s": 600, **sections.pop("engine", {})}
    return small_settings(engine=engine, experts={"long_series": 2}, **sections)


def coming_and_going(seed: int, series: int = SERIES, rows: int = ROWS) -> Readings:
    """One reading a minute of each series that is awake; two are always, the others now and then."""
    rng = np.random.default_rng(seed)
    parts = []
    awake = np.ones(series, np.bool_)
    for row in range(rows):
        if row % 15 == 14:
            awake = rng.random(series) < 0.4
            awake[:2] = True
        slots = np.flatnonzero(awake).astype(np.int32)
        value = 3 * np.sin(row / (2 + slots)) + rng.normal(scale=0.3, size=len(slots)) + 10 * slots
        parts.append(Readings(slots, np.full(len(slots), START_NS + row * MINUTE_NS), value))
    return Readings.concatenate(parts)


class Noting(InlineTrainer):
    """Keeps what every fine-tune was made from."""

    def __init__(self, settings: LearningSettings) -> None:
        super().__init__(settings, clock=lambda: 0.0)
        self.materials: list[Material] = []

    def submit(self, material: Material) -> None:
        self.materials.append(material)
        super().submit(material)


def assert_same_samples(one: Sample, other: Sample) -> None:
    for name in ("scale", "center", "last_ns"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for field in fields(Windows):
        np.testing.assert_array_equal(getattr(one.windows, field.name), getattr(other.windows, field.name))


def engine_of(
    configured: Settings, keys: list[str], shelf: MemoryShelf | None, trainer: Noting | None = None
) -> Engine:
    engine = Engine(configured, trainer)
    engine.hibernation.shelf = shelf
    for number, key in enumerate(keys):
        assert engine.intern(key) == number
    return engine


KEYS = [f"s{number}" for number in range(SERIES)]


def small_batches(readings: Readings) -> list[int]:
    """Cuts at every change of time: the silent are looked for between two batches."""
    return (1 + np.flatnonzero(np.diff(readings.time_ns))).tolist()


@FEW
@given(seed=st.integers(0, 100), polls=st.integers(0, 6), refused=st.sampled_from([0, 2, 3]))
def test_a_run_with_series_away_gives_the_forecasts_of_one_without(seed: int, polls: int, refused: int) -> None:
    readings = coming_and_going(seed)
    configured = hibernating()
    trainers = [Noting(configured.learning) for _ in range(2)]
    expected_engine = engine_of(configured, KEYS, None, trainers[0])
    expected = play(expected_engine, readings)
    shelf = MemoryShelf(polls, lambda number: bool(refused) and number % refused == 0)
    engine = engine_of(configured, KEYS, shelf, trainers[1])
    assert_equal_to_the_bit(expected, play(engine, readings, small_batches(readings)))
    assert engine.cohorts[0].tally.adopted > 3
    assert shelf.reads > 3  # some have come back
    assert expected_engine.hibernation.away == 0
    # What is learned from is equal too, whoever is away.
    for theirs, ours in zip(*(trainer.materials for trainer in trainers), strict=True):
        assert_same_samples(ours.lessons, theirs.lessons)
        assert_same_samples(ours.exam, theirs.exam)


@FEW
@given(seed=st.integers(0, 100), at=st.integers(1, ROWS * 3))
@example(seed=1, at=240)
def test_an_engine_with_series_away_goes_on_from_its_state(seed: int, at: int) -> None:
    readings = coming_and_going(seed)
    configured = hibernating()
    expected = play(engine_of(configured, KEYS, None), readings)
    shelf = MemoryShelf()
    cuts = small_batches(readings)
    first = engine_of(configured, KEYS, shelf)
    play(first, readings[:at], [cut for cut in cuts if cut < at])
    second = Engine(configured)
    # After a restart nobody waits for a pack that was being laid down, and what it holds is not away.
    second.hibernation.shelf = again = MemoryShelf()
    again.packs, again.begun = dict(shelf.packs), shelf.begun
    second.load_state_dict(first.state_dict())
    assert second.hibernation.away == first.hibernation.away
    rest = play(second, readings[at:], [cut - at for cut in cuts if cut > at])
    assert_equal_to_the_bit(expected[np.arange(at, len(expected))], rest, but=["reading"])


def test_units_of_a_group_come_and_go_together() -> None:
    members = 3
    groups = [{"name": "g", "members": ["a", "b", "c"]}]
    configured = hibernating(groups=groups)
    keys = [f"unit{unit}/{member}" for unit in range(4) for member in "abc"]
    units = coming_and_going(5, series=4)
    # Each unit's members speak together, now and then one alone: a unit is silent when all of it is.
    rng = np.random.default_rng(0)
    rows = []
    for unit, time_ns, value in zip(units.series.tolist(), units.time_ns.tolist(), units.value.tolist(), strict=True):
        alone = rng.random() < 0.1
        rows += [(unit * members + m, time_ns, value + m) for m in ([1] if alone else range(members))]
    readings = Readings.of(*(list(column) for column in zip(*rows, strict=True)))
    expected = play(engine_of(configured, keys, None), readings)
    shelf = MemoryShelf(polls=1)
    engine = engine_of(configured, keys, shelf)
    assert_equal_to_the_bit(expected, play(engine, readings, small_batches(readings)))
    assert engine.cohorts[1].tally.adopted > 3
    assert shelf.reads > 1
    assert engine.hibernation.away % members == 0


@pytest.mark.parametrize("order", ["auto", 2])
def test_orders_of_differencing_are_chosen_the_same(order: object) -> None:
    configured = hibernating(transform={"order": order, "warmup": 30})
    readings = coming_and_going(3)
    expected_engine = engine_of(configured, KEYS, None)
    expected = play(expected_engine, readings)
    shelf = MemoryShelf()
    engine = engine_of(configured, KEYS, shelf)
    assert_equal_to_the_bit(expected, play(engine, readings, small_batches(readings)))
    assert engine.decisions == expected_engine.decisions
    assert shelf.reads > 3
