"""What the engine does with groups, horizons, gaps, orders of differencing and adopted weights."""

import numpy as np
import pytest

from stepahead.contract.errors import StateError
from stepahead.contract.reasons import Reason
from stepahead.contract.records import Readings, Status
from stepahead.contract.settings import Settings
from stepahead.forecasting.engine import Engine
from tests.forecasting.small import MINUTE_NS, START_NS, engine_of, feed, play, small_settings


def one(slot: int, minute: float, value: float) -> Readings:
    return Readings.of([slot], [START_NS + int(minute * MINUTE_NS)], [value])


def test_each_member_of_a_group_is_forecast_from_all() -> None:
    """`echo` repeats the white noise of `source` one step later: alone it is noise, in the group it is known."""
    rows = 1500
    noise = np.random.default_rng(0).normal(size=rows + 1)
    error = {}
    for grouped in (False, True):
        groups = [{"name": "pair", "members": ["source", "echo"]}] if grouped else []
        engine = Engine(Settings.model_validate({"engine": {"deterministic": True}, "groups": groups}))
        slots = [engine.intern("unit/source"), engine.intern("unit/echo")]
        squares = []
        for row in range(rows):
            time_ns = START_NS + row * MINUTE_NS
            forecasts = engine.step(Readings.of(slots, [time_ns] * 2, [noise[row + 1], noise[row]]))
            squares.append(float(forecasts.error[1]) ** 2)
        error[grouped] = np.mean(squares[1000:])
        assert engine.cohorts[int(grouped)].tally.adopted > 10
    assert error[False] > 0.9
    assert error[True] < 0.1


def test_a_member_that_stays_away_is_no_obstacle() -> None:
    engine = Engine(small_settings(groups=[{"name": "pair", "members": ["a", "b"]}]))
    a, b = engine.intern("u/a"), engine.intern("u/b")
    rng = np.random.default_rng(0)
    answered = 0
    for row in range(200):
        time_ns = START_NS + row * MINUTE_NS
        slots = [a] if row % 7 == 0 else [a, b]
        forecasts = engine.step(Readings.of(slots, [time_ns] * len(slots), rng.normal(size=len(slots)).tolist()))
        answered += len(forecasts)
        assert np.isfinite(forecasts.value).all()
    assert answered == 400 - 29


def test_all_steps_of_the_horizon_are_forecast_at_once_and_learned() -> None:
    """A square wave of period 8: after learning, each of four steps ahead is nearly known."""
    horizon, rows = 4, 1600
    engine = Engine(
        Settings.model_validate({"engine": {"deterministic": True}, "network": {"horizon": horizon, "members": 1}})
    )
    slot = engine.intern("wave")
    wave = np.where(np.arange(rows + horizon) // 4 % 2 == 0, 1.0, -1.0)
    wave = wave + 0.05 * np.random.default_rng(1).normal(size=len(wave))
    squares = np.zeros((rows, horizon))
    for row in range(rows):
        forecasts = engine.step(one(slot, row, wave[row]))
        assert forecasts.value.shape == (1, horizon)
        squares[row] = (forecasts.value[0] - wave[row + 1 : row + 1 + horizon]) ** 2
    assert (squares[1200:].mean(axis=0) < 0.1).all(), squares[1200:].mean(axis=0)  # persistence: 1, 2, 3, 4


def test_repeated_and_late_readings_are_counted_and_change_nothing() -> None:
    clean, disturbed = engine_of(small_settings(), 1), engine_of(small_settings(), 1)
    for row in range(60):
        expected = clean.step(one(0, row, float(row % 5)))
        got = disturbed.step(one(0, row, float(row % 5)))
        assert len(disturbed.step(one(0, row, float(row % 5)))) == 0
        assert len(disturbed.step(one(0, row - 0.5, 77.0))) == 0
        np.testing.assert_array_equal(got.value, expected.value)
        np.testing.assert_array_equal(got.lower, expected.lower)
    assert disturbed.drops == {Reason.DUPLICATE: 60, Reason.LATE: 60}


def test_after_a_long_gap_a_series_starts_anew_and_is_not_scored() -> None:
    engine = engine_of(small_settings(), 1)
    rng = np.random.default_rng(0)
    for row in range(100):
        forecasts = engine.step(one(0, row, float(rng.normal())))
    assert forecasts.status[0] == Status.OK
    after = engine.step(one(0, 100_000, 50.0))
    assert np.isnan(after.error[0])
    assert after.value[0, 0] == pytest.approx(50.0, abs=5)
    assert np.isfinite(after.lower).all()


@pytest.mark.parametrize(("kind", "order"), [("noise", 0), ("walk", 1), ("double walk", 2)])
def test_the_order_of_differencing_is_chosen_at_the_end_of_the_warm_up(kind: str, order: int) -> None:
    steps = np.random.default_rng(5).normal(size=200)
    values = {"noise": steps, "walk": steps.cumsum(), "double walk": steps.cumsum().cumsum()}[kind]
    engine = engine_of(small_settings(transform={"order": "auto", "warmup": 128}, replay={"memory_steps": 200}), 1)
    for row, value in enumerate(values):
        forecasts = engine.step(one(0, row, float(value)))
        assert np.isfinite(forecasts.value).all()
    decision = engine.decisions["s0"]
    assert decision.order == order
    assert len(decision.adf_p) == len(decision.kpss_p) >= 1


def test_frozen_weights_stay_and_learning_moves_them() -> None:
    for enabled in (False, True):
        engine = engine_of(small_settings(learning={"enabled": enabled}), 3)
        before = engine.cohorts[0].ensemble.weights[0]["head.weight"].copy()
        forecasts = play(engine, feed(rows=80, series=3))
        moved = (engine.cohorts[0].ensemble.weights[0]["head.weight"] != before).any()
        assert moved == enabled
        assert (forecasts.model[-1] > 0) == enabled


def test_a_drift_of_the_error_brings_the_next_fine_tune_forward() -> None:
    settings = small_settings(learning={"every": 400, "drift_cooldown": 16})
    engine = engine_of(settings, 1)
    rng = np.random.default_rng(3)
    for row in range(1200):
        engine.step(one(0, row, float(rng.normal())))
    begun = engine.cohorts[0].tally.begun
    for row in range(1200, 1450):
        engine.step(one(0, row, float(30 * rng.normal())))
    assert engine.cohorts[0].tally.drifts >= 1
    assert engine.cohorts[0].tally.begun > begun  # the schedule alone would have begun none until 1600


def test_stored_state_of_other_groups_is_refused() -> None:
    state = engine_of(small_settings(), 1).state_dict()
    other = Engine(small_settings(groups=[{"name": "pair", "members": ["a", "b"]}]))
    with pytest.raises(StateError, match="groups"):
        other.load_state_dict(state)
