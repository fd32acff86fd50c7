import copy
import math
import pickle
from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np
import pytest
from river import datasets, evaluate, metrics, time_series
from river.checks import check_estimator, yield_checks

from stepahead.contract.errors import UsageError
from stepahead.contract.records import Readings
from stepahead.contract.settings import EngineSettings, LearningSettings, NetworkSettings, Settings
from stepahead.forecasting.engine import Engine
from stepahead.river import StepAheadForecaster

SMALL = Settings(
    network=NetworkSettings(members=2, hidden=8),
    learning=LearningSettings(steps=1, windows=4, every=20),
    engine=EngineSettings(deterministic=True),
)
HOUR_NS = 3600 * 10**9


def wave(n: int) -> list[float]:
    return [math.sin(0.3 * t) + 0.1 * math.sin(1.7 * t) for t in range(n)]


def learned(n: int, **parameters: object) -> StepAheadForecaster:
    model = StepAheadForecaster(settings=SMALL, **parameters)  # type: ignore[arg-type]
    for y in wave(n):
        model.learn_one(y)
    return model


def test_rivers_own_checks() -> None:
    names = {check.__name__ for check in yield_checks(StepAheadForecaster())}
    assert {"check_forecast", "check_learn_one", "check_pickling_supports_roundtrip"} <= names
    assert not StepAheadForecaster()._unit_test_skips()
    check_estimator(StepAheadForecaster())
    check_estimator(StepAheadForecaster(period_s=60.0, seed=3, settings=SMALL))


def test_the_first_step_is_the_engines() -> None:
    engine = Engine(SMALL)
    slot = engine.intern("series")
    for t, y in enumerate(wave(70)):
        expected = engine.step(Readings.of([slot], [t * HOUR_NS], [y]))
    model = learned(70)
    assert expected.model[0] > 0, "no fine-tune was adopted: too little is compared"
    assert model.forecast(1) == [expected.value[0, 0]]


def test_later_steps_feed_forecasts_back_and_leave_the_model_as_it_was() -> None:
    model, twin = learned(80), learned(80)
    path = model.forecast(4)
    # The twin is shown what was forecast. Up to the next fine-tune, at the hundredth reading, that is the same.
    fed = [twin.forecast(1)[0]]
    for _ in range(3):
        twin.learn_one(fed[-1])
        fed += twin.forecast(1)
    assert path == fed
    assert model.forecast(4) == path
    for y in wave(30):
        model.learn_one(y)


def test_feeding_back_past_the_next_fine_tune_does_not_tune() -> None:
    model = learned(80)
    before = model._engine.cohorts[0].tally.begun
    path = model.forecast(60)
    assert len(path) == 60
    assert np.isfinite(path).all()
    assert model._engine.cohorts[0].tally.begun == before > 0


def test_the_networks_own_path_is_given_where_it_reaches() -> None:
    long = SMALL.model_copy(update={"network": SMALL.network.model_copy(update={"horizon": 3})})
    model = StepAheadForecaster(settings=long)
    for y in wave(60):
        model.learn_one(y)
    assert model._last is not None
    assert model.forecast(3) == model._last.value[0].tolist()
    assert model.forecast(5)[:1] == model.forecast(3)[:1]


def test_pickle_and_copy_go_on_to_the_bit_and_share_nothing() -> None:
    model = learned(70)
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert twin.forecast(3) == model.forecast(3)
        straight = copy.deepcopy(model)
        for y in wave(40):
            twin.learn_one(y)
            straight.learn_one(y)
            assert twin.forecast(1) == straight.forecast(1)
        assert twin.forecast(1) != model.forecast(1)


def test_a_pickle_holds_arrays_and_plain_values_only() -> None:
    def leaves(node: object) -> Iterator[object]:
        if isinstance(node, dict):
            for child in node.values():
                yield from leaves(child)
        elif isinstance(node, (list, tuple)):
            for child in node:
                yield from leaves(child)
        else:
            yield node

    state = learned(30).__getstate__()
    state.pop("settings")
    assert {type(leaf) for leaf in leaves(state)} <= {np.ndarray, str, int, float, bool, type(None)}


def test_a_clone_knows_nothing_but_the_parameters() -> None:
    clone = learned(30, period_s=60.0, seed=5).clone({"seed": 6})
    assert (clone.period_s, clone.seed, clone.settings) == (60.0, 6, SMALL)
    with pytest.raises(UsageError, match="learn_one first"):
        clone.forecast(1)


def test_the_seed_decides_the_weights() -> None:
    assert learned(70, seed=1).forecast(1) == learned(70, seed=1).forecast(1) != learned(70, seed=2).forecast(1)


def test_times_from_x_and_steps_by_the_times_asked_for() -> None:
    model, counted = StepAheadForecaster(time="at", settings=SMALL), StepAheadForecaster(settings=SMALL)
    start = datetime(1970, 1, 1)
    for t, y in enumerate(wave(40)):
        model.learn_one(y, {"at": start + timedelta(hours=t)})
        counted.learn_one(y)
    path = counted.forecast(5)
    assert model.forecast(5) == path
    asked = [{"at": start + timedelta(hours=39 + k)} for k in (1, 2, 5)]
    assert model.forecast(3, xs=asked) == [path[0], path[1], path[4]]


def test_rivers_evaluation_runs() -> None:
    months = list(datasets.AirlinePassengers())[:40]
    passengers = np.array([y for _, y in months])
    model = StepAheadForecaster(time="month", settings=SMALL)
    metric = evaluate.evaluate(months, model, metrics.MAE(), horizon=3)
    assert len(metric.get()) == 3
    # River asks before it shows the newest month: the first horizon is two steps after what is known.
    assert 0 < metric.get()[0] < 1.5 * np.abs(passengers[2:] - passengers[:-2]).mean()
    with pytest.warns(DeprecationWarning, match="evaluate"):
        rows = list(time_series.iter_evaluate(months, StepAheadForecaster(settings=SMALL), metrics.MAE(), horizon=2))
    assert len(rows) == len(months) - 2 * 2
    assert all(np.isfinite(forecast).all() and len(forecast) == 2 for _, _, forecast, _ in rows)


@pytest.mark.parametrize("y", [math.nan, math.inf, 1e200])
def test_a_bad_value_is_named(y: float) -> None:
    with pytest.raises(UsageError, match=r"allowed are finite values"):
        StepAheadForecaster(settings=SMALL).learn_one(y)


def test_bad_calls_are_named() -> None:
    model = StepAheadForecaster(time="at", settings=SMALL)
    with pytest.raises(UsageError, match="x has no 'at'"):
        model.learn_one(1.0)
    with pytest.raises(UsageError, match="yesterday"):
        model.learn_one(1.0, {"at": "yesterday"})
    model.learn_one(1.0, {"at": "2026-01-01"})
    with pytest.raises(UsageError, match="must be newer"):
        model.learn_one(2.0, {"at": "2026-01-01"})
    with pytest.raises(UsageError, match="horizon is 0"):
        model.forecast(0)
    with pytest.raises(UsageError, match="1 entries for a horizon of 2"):
        model.forecast(2, [{"at": "2026-01-02"}])
    with pytest.raises(UsageError, match="period_s is 0"):
        StepAheadForecaster(period_s=0)
