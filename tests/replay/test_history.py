import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stepahead.replay.history import History


def push(history: History, slots: list[int], diff: list[float], connected: bool = True) -> None:
    context = np.array(diff)[:, None] / [2, 4]
    history.push(np.array(slots), np.array(diff), context, np.full(len(slots), connected))


def lone_windows(history: History, slot: int, day: int = 0, week: int = 0):
    one = np.array([1])
    return history.windows(np.array([[slot]]), one, one, one, day * one, week * one)


@given(st.lists(st.floats(-1e3, 1e3, width=16), min_size=12, max_size=40), st.integers(0, 9))
def test_windows_and_lags_are_slices_of_what_was_pushed(diffs: list[float], season: int) -> None:
    history = History(steps=4, memory=10, context=2, capacity=2)
    for diff in diffs:
        push(history, [0, 1], [diff, -diff])
    windows = lone_windows(history, 0, day=season)
    np.testing.assert_array_equal(windows.diff[0, 0], diffs[-4:])
    np.testing.assert_array_equal(windows.context[0, 0], (np.array(diffs[-4:])[:, None] / [2, 4]).astype(np.float16))
    for k in range(4):  # the target of step k is one step later; its day before is `season` steps before that
        source = len(diffs) - 4 + k + 1 - season
        known = season > 0 and source >= len(diffs) - 10
        assert windows.day[0, 0, k] == (diffs[source] if known else 0)
    for lag in range(10):
        assert history.lagged(np.array([1]), np.array([lag]))[0] == -diffs[-1 - lag]
    assert history.lagged(np.array([0, 0]), np.array([-1, 10])).tolist() == [0, 0]


def test_a_gap_or_an_interruption_starts_a_new_run() -> None:
    history = History(steps=3, memory=8, context=2, capacity=1)
    for diff in (1.0, 2.0, 3.0):
        push(history, [0], [diff])
    assert history.run.tolist() == [3]
    push(history, [0], [4.0], connected=False)
    assert history.run.tolist() == [1]
    history.interrupt(np.array([0]))
    push(history, [0], [5.0])
    assert history.run.tolist() == [1]


def test_members_of_a_unit_are_cut_side_by_side() -> None:
    history = History(steps=2, memory=4, context=2, capacity=3)
    for step in range(5):
        push(history, [0, 1, 2], [step, 10 + step, 20 + step])
    one = np.array([7])
    windows = history.windows(np.array([[0, 1, 2]]), one, one, one, 0 * one, 0 * one)
    np.testing.assert_array_equal(windows.diff[0], [[3, 4], [13, 14], [23, 24]])


def test_a_difference_beyond_float32_is_kept_finite() -> None:
    history = History(steps=2, memory=4, context=2, capacity=1)
    history.push(np.array([0]), np.array([1e300]), np.zeros((1, 2)), np.array([True]))
    assert np.isfinite(history.diff).all()


def test_the_profile_is_the_mean_at_the_targets_time_of_day_over_the_days_that_are_known() -> None:
    day, days = 5, 4
    history = History(steps=3, memory=100, context=2, capacity=1)
    rng = np.random.default_rng(0)
    diffs = np.round(rng.normal(size=day * days), 3)
    for diff in diffs:
        push(history, [0], [diff])
    expected = diffs.reshape(days, day).mean(axis=0)  # the next reading is the first of its day
    np.testing.assert_allclose(history.profile(np.array([0]), np.array([day])), expected[:1], rtol=1e-6)
    assert history.profile(np.array([0]), np.array([0]))[0] == 0
    windows = lone_windows(history, 0, day=day)
    np.testing.assert_allclose(windows.profile[0, 0, -1], expected[0], rtol=1e-6)
    # The step before had the last reading as its target: the three days before that one are known.
    np.testing.assert_allclose(windows.profile[0, 0, -2], diffs.reshape(days, day)[:-1, -1].mean(), rtol=1e-6)
    assert (lone_windows(history, 0).profile == 0).all()
