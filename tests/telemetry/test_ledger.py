"""The ledger against its twin, the scoreboard, which takes the same forecasts one message at a time."""

import json
import threading
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepahead.contract.settings import PublishSettings
from stepahead.telemetry.ledger import BUCKET_S, Ledger
from stepahead.telemetry.rings import Rings
from stepahead.telemetry.scoreboard import Scoreboard
from stepahead.wire.encoder import ForecastEncoder
from tests.telemetry.feed import forecasts


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    series=st.integers(1, 9),
    cuts=st.lists(st.integers(1, 119), max_size=6),
    folds=st.sets(st.integers(0, 6)),
)
def test_columns_are_those_of_the_scoreboard_however_the_rows_are_cut(
    seed: int, series: int, cuts: list[int], folds: set[int]
) -> None:
    table = forecasts(seed, 120, series)
    ledger, board = Ledger(lambda: 1.0), Scoreboard()
    edges = [0, *sorted(set(cuts)), 120]
    for number, (start, end) in enumerate(pairwise(edges)):
        ledger.take(table[np.arange(start, end)])
        if number in folds:
            ledger.fold()
    ledger.fold()
    for topic, payload in ForecastEncoder(PublishSettings(prefix="p"), [0.9], str).encode(table):
        assert topic.startswith(b"p/forecast/")
        board.forecast(json.loads(payload), 0.0)
    columns = ledger.columns
    skill = ledger.skill(slice(0, ledger.size))
    for key, score in board.series.items():
        slot = int(key)
        assert columns.seen[slot] == score.readings
        assert columns.error_sum[slot] == pytest.approx(score.totals.error, rel=1e-9, abs=1e-9)
        assert columns.change_sum[slot] == pytest.approx(score.totals.persistence, rel=1e-9, abs=1e-9)
        assert (columns.bounded[slot], columns.inside[slot]) == (score.totals.bounded, score.totals.inside)
        assert (columns.anomalies[slot], columns.hour[slot].sum()) == (score.anomalies, score.anomalies)
        assert (columns.observed[slot], columns.value[slot]) == (score.observed, score.value)
        assert (columns.lower[slot], columns.upper[slot]) == (score.lower, score.upper)
        if score.totals.skill is None:
            assert np.isnan(skill[slot])
        else:
            assert skill[slot] == pytest.approx(score.totals.skill)
    mine, theirs = ledger.overall(), board.overall()
    for name in ("skill", "coverage"):
        if theirs[name] is None:
            assert mine[name] is None
        else:
            assert mine[name] == pytest.approx(theirs[name])


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    cuts=st.lists(st.integers(1, 199), max_size=5),
    length=st.integers(1, 40),
    rings=st.integers(1, 5),
)
def test_rings_hold_the_newest_readings_with_their_forecasts(
    seed: int, cuts: list[int], length: int, rings: int
) -> None:
    table = forecasts(seed, 200, 5)
    ledger = Ledger(lambda: 1.0, Rings(rings, length))
    edges = [0, *sorted(set(cuts)), 200]
    for start, end in pairwise(edges):
        ledger.take(table[np.arange(start, end)])
        ledger.fold()
    with_ring = 0
    for slot in range(5):
        rows = np.flatnonzero(table.series == slot)[-length:]
        count, history = ledger.rings.history(slot, 0)
        if history is None:
            continue
        with_ring += 1
        assert history["observed"].tolist() == table.observed[rows].tolist()
        assert history["time_ns"].tolist() == table.issued_at_ns[rows].tolist()
        assert history["anomaly"].tolist() == table.anomaly[rows].tolist()
        np.testing.assert_array_equal(history["forecast"], (table.observed - table.error)[rows])
        everyone = np.flatnonzero(table.series == slot)
        lower = np.concatenate(([np.nan], table.lower[everyone, 0][:-1]))[-length:]
        np.testing.assert_array_equal(history["lower"], lower)
        again, nothing = ledger.rings.history(slot, count)
        assert (again, 0) == (count, len(nothing["observed"]) if nothing else -1)
        _, last = ledger.rings.history(slot, count - 1)
        assert last is not None
        assert last["observed"].tolist() == table.observed[rows[-1:]].tolist()
    assert with_ring == min(rings, 5)


def test_a_watched_series_takes_the_ring_that_nobody_has_looked_at_for_longest() -> None:
    rings = Rings(rings=2, length=4)
    for slot in (0, 1):
        rings.watch(slot)
    rings.watch(0)
    rings.watch(100_000)
    assert rings.history(1, 0) == (0, None)
    assert rings.history(0, 0)[1] is not None
    assert rings.history(100_000, 0)[1] is not None


def test_anomalies_are_forgotten_after_an_hour() -> None:
    now_s = 1_760_000_000.0
    ledger = Ledger(lambda: now_s)
    ledger.take(forecasts(1, 400, 3, flags=0.5))
    ledger.fold()
    flagged = int(ledger.columns.hour.sum())
    assert flagged == int(ledger.columns.anomalies.sum()) > 100
    for step, left in [(3600 - 2 * BUCKET_S, flagged), (2 * BUCKET_S, 0), (90_000.0, 0)]:
        now_s += step
        ledger.fold()
        assert int(ledger.columns.hour.sum()) == left
    assert int(ledger.columns.anomalies.sum()) == flagged


def test_a_silent_series_is_one_that_missed_five_of_its_periods() -> None:
    now_s = 100.0
    ledger = Ledger(lambda: now_s)
    ledger.take(forecasts(1, 50, 2))
    ledger.fold()
    assert ledger.silent(slice(0, 2), 109.0).tolist() == [False, False]
    assert ledger.silent(slice(0, 2), 111.0).tolist() == [True, True]
    assert not ledger.silent(slice(2, 64), 1e9).any(), "a series that was never heard of is not silent"


def test_nothing_is_lost_between_two_threads() -> None:
    ledger = Ledger(lambda: 0.0)
    table = forecasts(3, 20_000, 50)
    done = threading.Event()

    def loop() -> None:
        for start in range(0, 20_000, 7):
            ledger.take(table[slice(start, start + 7)])
        done.set()

    thread = threading.Thread(target=loop)
    thread.start()
    while not done.is_set():
        ledger.fold()
    thread.join()
    ledger.fold()
    assert int(ledger.columns.seen.sum()) == 20_000
    assert ledger.columns.anomalies.sum() == table.anomaly.sum()


def test_what_nobody_folds_is_bounded_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepahead.telemetry.ledger.MOST_WAITING", 100)
    ledger = Ledger(lambda: 0.0)
    table = forecasts(3, 60, 5)
    for _ in range(5):
        ledger.take(table)
    ledger.fold()
    assert (ledger.missed, int(ledger.columns.seen.sum())) == (180, 120)
    ledger.take(table)
    ledger.fold()
    assert ledger.missed == 180


def test_absurd_values_leave_the_sums_finite() -> None:
    ledger = Ledger(lambda: 0.0)
    table = forecasts(3, 60, 2)
    table.observed[::2] = 1.7e308
    table.error[::3] = -1.7e308
    ledger.take(table)
    ledger.fold()
    assert np.isfinite(ledger.columns.error_sum).all()
    assert np.isfinite(ledger.columns.change_sum).all()
