"""Windows and seasonal inputs are those of the differences, whatever their order, as NumPy gives them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stepahead.contract.changes import Changes
from stepahead.contract.records import FloatArray
from stepahead.replay.history import LONGEST_RUN, History, Standing


class Past:
    """Some series of one history, fed together; a value every step."""

    def __init__(self, series: int, steps: int, memory: int, order: int = 1, lag: int = 0) -> None:
        self.order, self.lag = order, lag
        self.changes = Changes(memory, series)
        self.history = History(steps, self.changes, lag, series)
        self.values = np.empty((series, 0))

    def push(self, value: FloatArray, connected: bool = True, elapsed: float = 0.0) -> None:
        slots = np.arange(len(value))
        first = self.values.shape[1] == 0
        before = value if first else self.values[:, -1]
        self.changes.append(slots, value - before, np.full(len(value), first))
        self.values = np.column_stack((self.values, value))
        if self.values.shape[1] > self.order + self.lag:
            self.history.push(slots, np.full(len(value), elapsed), np.full(len(value), connected))

    def standing(self, slots: NDArray[np.integer]) -> Standing:
        return Standing(self.values[slots, -1], np.full(len(slots), self.order, np.int8))

    def differences(self, slot: int) -> FloatArray:
        """All of them, by NumPy; `nan` where more than the memory lies behind one."""
        x = self.values[slot]
        seasonal = x[self.lag :] - x[: len(x) - self.lag] if self.lag else x
        diffs: FloatArray = np.diff(seasonal, n=self.order)
        known = self.changes.length - self.order - self.lag + 1
        diffs[: max(len(diffs) - known, 0)] = np.nan
        return diffs

    def windows(self, slots: list[int], day: int = 0, week: int = 0) -> tuple[NDArray[np.float32], ...]:
        """Differences, days, weeks and profiles, [n, T] each."""
        at, one = np.array(slots), np.ones(len(slots), np.int64)
        return self.history.differences(at, self.standing(at), day * one, week * one)


def at(diffs: FloatArray, place: int) -> float:
    """A difference, 0 where it is not known."""
    return 0.0 if place < 0 or np.isnan(diffs[place]) else float(diffs[place])


@pytest.mark.parametrize(("order", "lag"), [(1, 0), (0, 0), (2, 0), (3, 0), (1, 4), (0, 3), (2, 5)])
def test_windows_and_seasons_are_the_differences(order: int, lag: int) -> None:
    rng = np.random.default_rng(order + 10 * lag)
    past, day, week = Past(2, steps=6, memory=40, order=order, lag=lag), 5, 14
    for value in rng.normal(size=(70, 2)).cumsum(axis=0):
        past.push(value)
    rounding = 40 * 2.0**-10  # of changes of about 1, each to 2^-12, summed up and differenced
    cut, days, weeks, profiles = past.windows([0, 1], day, week)
    diffs = past.differences(1)
    np.testing.assert_allclose(cut[1], diffs[-6:], atol=rounding)
    for t in range(6):
        target = len(diffs) - 6 + t + 1
        np.testing.assert_allclose(days[1, t], at(diffs, target - day), atol=rounding)
        np.testing.assert_allclose(weeks[1, t], at(diffs, target - week), atol=rounding)
        before = [diffs[target - k * day] for k in range(1, 8) if target >= k * day]
        known = [diff for diff in before if not np.isnan(diff)]
        np.testing.assert_allclose(profiles[1, t], np.mean(known), atol=rounding)
    slots = np.array([1, 0])
    seasons = past.history.seasons(slots, past.standing(slots), np.array([day, 0]), np.array([week, week]))
    newest = [column[1, -1] for column in (days, weeks, profiles)]
    np.testing.assert_array_equal(seasons[:, 0].astype(np.float32), newest)
    other = past.differences(0)
    np.testing.assert_allclose(seasons[:, 1], [0.0, at(other, len(other) - week), 0.0], atol=rounding)


@given(st.integers(1, 30))
def test_what_lies_before_the_first_reading_is_not_known(steps: int) -> None:
    past = Past(1, steps=2, memory=20)
    for value in range(steps + 1):
        past.push(np.array([float(value**2)]))
    slot = np.array([0])
    known = min(steps, 20)
    for day in range(2, 25):
        seasons = past.history.seasons(slot, past.standing(slot), np.array([day]), np.array([0]))
        assert seasons[0, 0] == (np.float16(2 * (steps + 1 - day) - 1) if day <= known else 0)


def test_without_seasons_there_is_nothing() -> None:
    past = Past(1, steps=3, memory=20)
    for value in range(10):
        past.push(np.array([float(value)]))
    diff, *others = past.windows([0])
    assert (diff == 1).all()
    for column in others:
        assert (column == 0).all()


def test_a_gap_or_an_interruption_starts_a_new_run() -> None:
    past = Past(1, steps=3, memory=8)
    for value in range(4):
        past.push(np.array([float(value)]))
    assert past.history.run.tolist() == [3]
    past.push(np.array([4.0]), connected=False)
    assert past.history.run.tolist() == [1]
    past.history.interrupt(np.array([0]))
    assert past.history.run.tolist() == [0]
    past.push(np.array([5.0]))
    assert past.history.run.tolist() == [1]
    past.history.run[0] = LONGEST_RUN
    past.push(np.array([6.0]))
    assert past.history.run.tolist() == [LONGEST_RUN]


def test_elapsed_times_are_kept_to_a_fifteenth_for_ever() -> None:
    past, elapsed = Past(1, steps=4, memory=8), [0.0, -8.0, 8.0, 0.26, -1.1]
    past.history.cursor[0] = (4 << 18) - 3  # as after a million readings: the count begins anew within these
    for value, log_periods in enumerate([0.0, *elapsed]):
        past.push(np.array([float(value)]), elapsed=log_periods)
    values, got = past.history.newest(np.array([0]), past.values[:, -1])
    np.testing.assert_allclose(got[0], elapsed[1:], atol=0.5 / 15)
    assert values[0].tolist() == [2.0, 3.0, 4.0, 5.0]


def test_a_difference_beyond_float32_is_kept_finite() -> None:
    past = Past(1, steps=2, memory=4)
    for value in (0.0, 1e300, 0.0, -1e300):
        past.push(np.array([value]))
    assert np.isfinite(past.windows([0])[0]).all()


def test_known_values_end_with_the_newest() -> None:
    past = Past(1, steps=2, memory=4)
    for value in (3.0, 4.0, 6.0, 5.5):
        past.push(np.array([value]))
    assert past.history.values(0, 5.5).tolist() == [3.0, 4.0, 6.0, 5.5]


def test_units_take_turns_once_all_their_members_have_a_window() -> None:
    past = Past(4, steps=3, memory=8)
    units, turns = np.array([0, 2]), []
    for value in range(12):
        past.push(np.full(4, float(value)))
        assert past.history.complete(units, 2).tolist() == [value >= 3] * 2
        turns.append(past.history.complete(units, 2, stride=4).tolist())
    assert np.sum(turns, axis=0).tolist() == [2, 2]  # steps 4 and 8; 6 and 10
    assert not np.all(turns, axis=1).any()
    past.history.interrupt(np.array([3]))
    assert past.history.complete(units, 2).tolist() == [True, False]
