"""Faults do what they say, count it, and leave the rest alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.faults import (
    FAULTS,
    NAN,
    NUMBER,
    TEXT,
    Dropouts,
    Duplicates,
    Garbage,
    Late,
    LevelShifts,
    Spikes,
    Stuck,
    Track,
    fault,
)
from stepahead.contract.errors import UsageError

N = 20_000


def clean(n: int = N) -> Track:
    return Track.of(np.arange(n, dtype=np.int64) * 1000, np.sin(np.arange(n) / 7.0))


def test_spikes_move_single_values_by_their_size() -> None:
    damage = Spikes(rate=0.01, size=8.0, seed=1)
    moved = damage.apply(clean()).value - clean().value
    assert np.count_nonzero(moved) == damage.count
    assert damage.count == pytest.approx(0.01 * N, abs=5 * np.sqrt(0.01 * N))
    np.testing.assert_allclose(np.abs(moved[moved != 0]), 8.0 * np.std(clean().value))
    assert {-1.0, 1.0} == set(np.sign(moved[moved != 0]))


def test_a_stuck_sensor_repeats_its_value() -> None:
    damage = Stuck(rate=0.0005, length=30, seed=2)
    value = damage.apply(clean()).value
    frozen = np.concatenate([[False], np.diff(value) == 0])
    starts = np.flatnonzero(frozen & ~np.roll(frozen, 1))
    assert 0 < len(starts) <= damage.count
    assert frozen.sum() >= 29 * (len(starts) - 1)
    np.testing.assert_array_equal(value[~frozen], clean().value[~frozen])


def test_dropouts_leave_gaps_and_count_what_is_lost() -> None:
    damage = Dropouts(rate=0.001, length=20, seed=3)
    track = damage.apply(clean())
    assert len(track) == N - damage.count
    gaps = np.diff(track.time_ns) // 1000 - 1
    assert damage.count - gaps.sum() <= 20 + clean().time_ns[0]
    assert set(np.isin(track.time_ns, clean().time_ns)) == {True}
    assert gaps.max() >= 20


def test_duplicates_follow_their_originals() -> None:
    damage = Duplicates(rate=0.05, seed=4)
    track = damage.apply(clean())
    assert np.count_nonzero(np.diff(track.time_ns) == 0) == damage.count == len(track) - N
    np.testing.assert_array_equal(np.unique(track.time_ns), clean().time_ns)


def test_late_readings_keep_their_time_and_are_counted_when_behind_a_newer_one() -> None:
    damage = Late(rate=0.02, delay=5, seed=5)
    track = damage.apply(clean())
    newest = np.maximum.accumulate(track.time_ns)
    assert np.count_nonzero(track.time_ns < newest) == damage.count > 0
    assert (newest - track.time_ns).max() <= 5 * 1000
    order = np.argsort(track.time_ns)
    np.testing.assert_array_equal(track.time_ns[order], clean().time_ns)
    np.testing.assert_array_equal(track.value[order], clean().value)


def test_a_level_shift_stays_also_in_the_next_piece() -> None:
    damage = LevelShifts(rate=0.0005, size=5.0, seed=6)
    first = damage.apply(clean()).value - clean().value
    shifts = damage.count
    assert np.count_nonzero(np.abs(np.diff(first, prepend=0.0)) > 1) == shifts > 1
    damage.rate = 0.0
    np.testing.assert_allclose(damage.apply(clean()).value - clean().value, first[-1])


def test_garbage_is_nan_or_text_in_equal_shares() -> None:
    damage = Garbage(rate=0.1, seed=7)
    kind = damage.apply(clean()).kind
    counts = {k: np.count_nonzero(kind == k) for k in (NUMBER, NAN, TEXT)}
    assert counts[NAN] + counts[TEXT] == damage.count == N - counts[NUMBER]
    assert counts[NAN] == pytest.approx(damage.count / 2, abs=5 * np.sqrt(damage.count / 4))


@pytest.mark.parametrize("name", FAULTS)
@given(n=st.integers(0, 50), seed=st.integers(0, 100))
def test_every_fault_takes_any_length_is_seeded_and_leaves_its_input_alone(name: str, n: int, seed: int) -> None:
    before, one, two = clean(n), fault(name, seed), fault(name, seed)
    one.rate = two.rate = 0.3
    given_track = clean(n)
    first, second = one.apply(given_track), two.apply(given_track)
    for column in ("time_ns", "value", "kind"):
        np.testing.assert_array_equal(getattr(first, column), getattr(second, column))
        np.testing.assert_array_equal(getattr(given_track, column), getattr(before, column))
    assert one.count == two.count


@pytest.mark.parametrize("name", FAULTS)
def test_rate_zero_changes_nothing(name: str) -> None:
    harmless = fault(name)
    harmless.rate = 0.0
    track = harmless.apply(clean(100))
    np.testing.assert_array_equal(track.value, clean(100).value)
    np.testing.assert_array_equal(track.time_ns, clean(100).time_ns)
    assert harmless.count == 0


def test_unknown_faults_and_rates_are_refused() -> None:
    with pytest.raises(UsageError, match="gremlins"):
        fault("gremlins")
    with pytest.raises(UsageError, match=r"1\.5"):
        Spikes(rate=1.5)
