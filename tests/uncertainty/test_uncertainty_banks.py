"""The law of banks, and what every bank of this room must survive."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stepahead.contract.errors import StateError
from stepahead.contract.settings import IntervalSettings
from stepahead.uncertainty.conformal import Conformal

LEVELS = IntervalSettings(levels=(0.9, 0.5, 0.99))
Float = NDArray[np.float64]


def step(bank: Conformal, slots: NDArray[Any], observed: Float, value: Float) -> list[Float]:
    """One reading and the next forecast of each of these series."""
    p, anomaly, _ = bank.update(slots, observed)
    lower, upper = bank.forecast(slots, value)
    return [p, anomaly.astype(np.float64), lower, upper]


@st.composite
def schedules(draw: st.DrawFn) -> tuple[int, list[list[int]]]:
    """A number of series, and batches of distinct slots of any size and order."""
    series = draw(st.integers(1, 9))
    batch = st.lists(st.integers(0, series - 1), min_size=1, max_size=series, unique=True)
    return series, draw(st.lists(batch, min_size=1, max_size=60))


@settings(max_examples=60, deadline=None)
@given(schedules(), st.integers(0, 2**32 - 1), st.sampled_from([1e-9, 1.0, 1e6, 1e300]))
def test_feeding_together_equals_feeding_alone(schedule: tuple[int, list[list[int]]], seed: int, size: float) -> None:
    series, batches = schedule
    rng = np.random.default_rng(seed)
    together = Conformal(LEVELS, series)
    alone = [Conformal(LEVELS, 1) for _ in range(series)]
    for batch in batches:
        slots = np.array(batch, dtype=np.int32)
        observed, value = np.round(rng.normal(size=(2, len(batch))), 1) * size
        got = step(together, slots, observed, value)
        for row, slot in enumerate(batch):
            want = step(alone[slot], np.array([0]), observed[row : row + 1], value[row : row + 1])
            for one, other in zip(got, want, strict=True):
                np.testing.assert_array_equal(one[row], other[0])
    mine = together.state_dict()
    for slot, bank in enumerate(alone):
        for name, array in bank.state_dict().items():
            np.testing.assert_array_equal(mine[name][slot], array[0])


def run(bank: Conformal, errors: Float) -> list[list[Float]]:
    slots = np.arange(errors.shape[1])
    return [step(bank, slots, row, np.zeros(len(row))) for row in errors]


def test_saved_state_goes_on_bit_for_bit() -> None:
    errors = np.random.default_rng(3).standard_t(3, size=(300, 5))
    bank = Conformal(LEVELS, 5)
    run(bank, errors[:200])
    twin = Conformal(LEVELS)
    twin.load_state_dict(bank.state_dict())
    assert twin.capacity == 5
    for mine, other in zip(run(bank, errors[200:]), run(twin, errors[200:]), strict=True):
        for one, two in zip(mine, other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_state_of_another_make_is_refused() -> None:
    state = Conformal(LEVELS, 2).state_dict()
    with pytest.raises(StateError, match="unknown"):
        Conformal(LEVELS).load_state_dict({**state, "other.column": np.zeros(2)})
    with pytest.raises(StateError, match="missing"):
        Conformal(LEVELS).load_state_dict({k: v for k, v in state.items() if k != "anomaly.stretch"})
    with pytest.raises(StateError, match="knots"):
        Conformal(IntervalSettings()).load_state_dict(state)


def test_growing_keeps_and_resetting_renews() -> None:
    errors = np.random.default_rng(4).normal(size=(50, 2))
    bank = Conformal(LEVELS, 2)
    run(bank, errors)
    before = bank.state_dict()
    bank.grow(5)
    for name, array in bank.state_dict().items():
        np.testing.assert_array_equal(array[:2], before[name])
    bank.reset(np.array([1]))
    newborn = Conformal(LEVELS, 1).state_dict()
    for name, array in bank.state_dict().items():
        np.testing.assert_array_equal(array[1], newborn[name][0])
        np.testing.assert_array_equal(array[0], before[name][0])


def test_bytes_per_series_is_what_the_arrays_hold() -> None:
    bank = Conformal(IntervalSettings(), 1000)
    held = sum(array.nbytes for array in bank.state_dict().values())
    assert bank.bytes_per_series() * 1000 == held
    assert bank.bytes_per_series() <= 200


@pytest.mark.parametrize(
    "feed",
    [
        np.zeros(300),
        np.full(300, 7.5),
        np.full(300, 1e300),
        np.resize([0.0, 1e6], 300),
        np.resize([1e300, -1e300], 300),
        np.resize([5e-324, 0.0, -5e-324], 300),
        np.r_[np.zeros(150), np.full(150, 1e6)],
        np.r_[np.full(250, 1e-300), 1e300, np.full(49, 1e-300)],
        np.logspace(-300, 300, 300),
    ],
    ids=["zero", "constant", "huge", "jumps", "flips", "denormal", "step", "spike", "growth"],
)
def test_extreme_feeds_stay_finite_and_silent(feed: Float) -> None:
    bank = Conformal(LEVELS, 1)
    slot = np.array([0])
    bank.forecast(slot, feed[:1])
    for before, reading in pairwise(feed):
        p, _, lower, upper = step(bank, slot, np.array([reading]), np.array([reading]))
        assert 0 < p[0] <= 1, (before, reading)
        assert np.isfinite(lower).all()
        assert np.isfinite(upper).all()
        assert (lower <= reading).all()
        assert (upper >= reading).all()
    for name, array in bank.state_dict().items():
        assert np.isfinite(array).all(), name
