import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepahead.contract.settings import CadenceSettings
from stepahead.transform.cadence import Arrival, Cadence

SECOND = 10**9
SLOT = np.array([0], dtype=np.int32)
LATEST = 2**63 - 1


def bank() -> Cadence:
    return Cadence(CadenceSettings(gap_periods=5, reset_periods=50), capacity=1)


def feed(cadence: Cadence, times: "np.typing.ArrayLike", value: float = 1.0) -> list[Arrival]:
    return [cadence.update(SLOT, np.array([t], dtype=np.int64), np.array([value])) for t in np.asarray(times).tolist()]


@given(step=st.integers(1, 10**15), start=st.integers(-(2**62), 2**61), n=st.integers(2, 40))
def test_a_regular_feed_has_exactly_its_period(step: int, start: int, n: int) -> None:
    cadence = bank()
    arrivals = feed(cadence, start + step * np.arange(n))
    assert cadence.period_ns(SLOT)[0] == step
    assert cadence.valid_at(SLOT)[0] == start + step * n
    assert cadence.span_ns(SLOT)[0] == step * (n - 1)
    assert cadence.seen(SLOT)[0] == n
    assert all(a.accepted[0] and a.elapsed[0] == 1.0 and not a.gap[0] and not a.reset[0] for a in arrivals)


def test_the_period_is_unknown_before_two_readings() -> None:
    cadence = bank()
    feed(cadence, [7])
    assert cadence.period_ns(SLOT)[0] == 0
    assert cadence.valid_at(SLOT)[0] == 7
    feed(cadence, [7], value=1.0)
    assert cadence.period_ns(SLOT)[0] == 0


def test_duplicates_and_late_readings_change_nothing() -> None:
    cadence = bank()
    feed(cadence, SECOND * np.arange(20))
    before = cadence.state_dict()
    last = 19 * SECOND
    (duplicate,) = feed(cadence, [last], value=1.0)
    (conflicting,) = feed(cadence, [last], value=2.0)
    (late,) = feed(cadence, [last - 1], value=1.0)
    assert (duplicate.duplicate[0], duplicate.late[0], duplicate.accepted[0]) == (True, False, False)
    for arrival in (conflicting, late):
        assert (arrival.duplicate[0], arrival.late[0], arrival.accepted[0]) == (False, True, False)
    assert all(a.elapsed[0] == 1.0 for a in (duplicate, conflicting, late))
    for name, array in cadence.state_dict().items():
        assert array.tolist() == before[name].tolist()


def test_the_first_reading_is_accepted_at_any_time() -> None:
    for time in (0, -(2**63), LATEST):
        assert feed(bank(), [time])[0].accepted[0]


@pytest.mark.parametrize(
    ("pause", "gap", "reset"),
    [(1, False, False), (5, False, False), (6, True, False), (50, True, False), (51, True, True)],
)
def test_gaps_are_told_in_periods(pause: int, gap: bool, reset: bool) -> None:
    cadence = bank()
    feed(cadence, SECOND * np.arange(30))
    (arrival,) = feed(cadence, [(29 + pause) * SECOND])
    assert (arrival.gap[0], arrival.reset[0], arrival.elapsed[0]) == (gap, reset, float(pause))
    assert cadence.period_ns(SLOT)[0] == SECOND


def test_nothing_is_a_gap_before_eight_intervals_are_known() -> None:
    cadence = bank()
    early = feed(cadence, [0, 1, 2, 10**6, 10**9])
    assert not any(a.gap[0] or a.reset[0] for a in early)
    cadence = bank()
    feed(cadence, np.arange(9))
    assert feed(cadence, [1000])[0].reset[0]


def test_a_late_start_is_forgotten() -> None:
    cadence = bank()
    feed(cadence, np.r_[0, 10**17 + 10 * SECOND * np.arange(10)])
    assert cadence.period_ns(SLOT)[0] == 10 * SECOND


def test_odd_first_intervals_are_outvoted_as_soon_as_they_are_the_fewer() -> None:
    cadence = bank()
    feed(cadence, np.cumsum([0, 10**17, 90, 101, 100, 99]))
    assert cadence.period_ns(SLOT)[0] == 100  # lower median of 90, 99, 100, 101, 10^17


def test_a_small_drift_of_the_rate_is_followed_to_the_nanosecond() -> None:
    cadence = bank()
    feed(cadence, np.cumsum([1000] * 20 + [1010, 1012] * 20))
    assert 1010 <= cadence.period_ns(SLOT)[0] <= 1012


@pytest.mark.parametrize("seed", range(10))
def test_missing_readings_do_not_move_the_period(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cadence = bank()
    feed(cadence, SECOND * np.arange(10))
    kept = np.flatnonzero(rng.random(600) < 0.75) + 10
    for time in kept * SECOND:
        feed(cadence, [time])
        assert cadence.period_ns(SLOT)[0] == SECOND


@pytest.mark.parametrize("seed", range(10))
def test_jitter_is_averaged_away(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cadence = bank()
    feed(cadence, SECOND * np.arange(400) + rng.normal(0, 0.05 * SECOND, 400).astype(np.int64))
    # An interval deviates by √2 · 5 %; constant gain 1/16 leaves at most √((1/16) / (2 − 1/16)) of that: 1.3 %.
    assert cadence.period_ns(SLOT)[0] == pytest.approx(SECOND, rel=4 * 0.013)


@pytest.mark.parametrize("factor", [0.01, 0.5, 1.1, 2, 60])
def test_a_changed_rate_is_followed_exactly_after_some_tens_of_readings(factor: float) -> None:
    cadence = bank()
    feed(cadence, SECOND * np.arange(100))
    step = int(SECOND * factor)
    feed(cadence, 99 * SECOND + step * np.arange(1, 11))
    assert cadence.period_ns(SLOT)[0] == step


@pytest.mark.parametrize("seed", range(5))
def test_a_changed_rate_is_followed_through_jitter_and_missing_readings(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cadence = bank()
    feed(cadence, SECOND * np.arange(100))
    steps = np.cumsum(rng.choice([20, 40], 60, p=[0.8, 0.2])) * SECOND
    feed(cadence, 99 * SECOND + steps + rng.normal(0, 0.2 * SECOND, 60).astype(np.int64))
    assert cadence.period_ns(SLOT)[0] == pytest.approx(20 * SECOND, rel=0.05)


def test_absurd_times_saturate() -> None:
    cadence = bank()
    (first, second) = feed(cadence, [-(2**63), LATEST])
    assert first.accepted[0]
    assert second.accepted[0]
    assert cadence.period_ns(SLOT)[0] == LATEST
    assert cadence.span_ns(SLOT)[0] == LATEST
    assert cadence.valid_at(SLOT)[0] == LATEST


def test_a_series_costs_less_than_a_hundred_bytes() -> None:
    assert bank().bytes_per_series() < 100
