"""The engine's laws: it may be cut and resumed anywhere, series do not mix, and the future never leaks."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepahead.contract.records import Forecasts, Readings
from stepahead.forecasting.engine import Engine
from stepahead.storage.tree import flatten
from tests.forecasting.small import MINUTE_NS, START_NS, assert_equal_to_the_bit, engine_of, feed, play, small_settings

SLOW = small_settings(learning={"every": 4, "steps": 1, "rates": [0.01]}, network={"members": 1})
"""Fine-tunes come faster than the series' turns to be renewed."""
FEW = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@FEW
@given(cuts=st.lists(st.integers(1, 209), max_size=8))
def test_where_batches_are_cut_does_not_matter_to_the_bit(cuts: list[int]) -> None:
    readings = feed(rows=70, series=3)
    whole_engine, cut_engine = engine_of(small_settings(), 3), engine_of(small_settings(), 3)
    whole = play(whole_engine, readings)
    cut = play(cut_engine, readings, cuts)
    assert whole_engine.cohorts[0].tally.adopted > 1
    assert_equal_to_the_bit(whole, cut)


def test_rows_of_a_group_may_be_cut_between_rows() -> None:
    group = small_settings(groups=[{"name": "g", "members": ["a", "b", "c"]}])
    readings = feed(rows=70, series=3)
    engines = [Engine(group), Engine(group)]
    for engine in engines:
        assert [engine.intern(f"unit/{m}") for m in "abc"] == [0, 1, 2]
    assert_equal_to_the_bit(
        play(engines[0], readings), play(engines[1], readings, cuts=list(range(3, len(readings), 3)))
    )
    assert engines[0].cohorts[1].tally.adopted > 1


@FEW
@given(at=st.integers(1, 209))
def test_an_engine_goes_on_from_its_state_as_if_nothing_had_happened(at: int) -> None:
    readings = feed(rows=70, series=3)
    whole = play(engine_of(small_settings(), 3), readings)
    first = engine_of(small_settings(), 3)
    play(first, readings[:at])
    second = Engine(small_settings())
    second.load_state_dict(first.state_dict())
    assert_equal_to_the_bit(whole[np.arange(at, 210)], play(second, readings[at:]), but=["reading"])


@FEW
@given(cuts=st.lists(st.integers(1, 24 * 40 - 1), max_size=5), at=st.integers(1, 24 * 40 - 1))
def test_hidden_states_are_renewed_in_turn_wherever_batches_are_cut_and_the_state_is_taken(
    cuts: list[int], at: int
) -> None:
    readings = feed(rows=40, series=24)
    whole, first, second = engine_of(SLOW, 24), engine_of(SLOW, 24), Engine(SLOW)
    forecasts = play(whole, readings)
    play(first, readings[:at], [cut for cut in cuts if cut < at])
    second.load_state_dict(first.state_dict())
    rest = play(second, readings[at:], [cut - at for cut in cuts if cut > at])
    assert_equal_to_the_bit(forecasts[np.arange(at, len(forecasts))], rest, but=["reading"])
    versions = whole._pipeline.state_dict()["banks"]["hidden.version"]
    np.testing.assert_array_equal(versions, second._pipeline.state_dict()["banks"]["hidden.version"])
    assert len(set(versions[:24].tolist())) > 1  # some are still to come


@pytest.mark.parametrize("row", [100, 208])
@pytest.mark.parametrize("order", [1, "auto"])
def test_what_comes_later_changes_no_forecast_made_before(row: int, order: object) -> None:
    settings = small_settings(transform={"order": order, "warmup": 30})
    readings = feed(rows=70, series=3)
    value = readings.value.copy()
    value[row:] = np.random.default_rng(1).permutation(value[row:]) * 7 + 1000
    changed = Readings(readings.series, readings.time_ns, value)
    before, after = play(engine_of(settings, 3), readings), play(engine_of(settings, 3), changed)
    assert_equal_to_the_bit(before[np.arange(row)], after[np.arange(row)])
    assert (before.value[row:] != after.value[row:]).any()


@FEW
@given(seed=st.integers(0, 100), frozen_order=st.sampled_from([0, 1, 2, "auto"]))
def test_series_that_do_not_learn_from_each_other_do_not_mix(seed: int, frozen_order: object) -> None:
    """With frozen weights a series' forecasts are those it would get alone, whatever its company and the cuts."""
    frozen = small_settings(
        learning={"enabled": False}, transform={"order": frozen_order, "warmup": 24}, network={"embedding": 0}
    )
    rng = np.random.default_rng(seed)
    readings = feed(rows=40, series=4, seed=seed)
    order = np.argsort(rng.permutation(len(readings)) + 12 * np.arange(len(readings)), kind="stable")
    readings = readings[order]
    together = play(engine_of(frozen, 4), readings, cuts=rng.integers(1, len(readings), 5).tolist())
    for slot in range(4):
        alone_readings = readings[np.flatnonzero(readings.series == slot)]
        mine = together[together.series == slot]
        alone = play(engine_of(frozen, 4), alone_readings)
        assert_equal_to_the_bit(mine, alone, but=["reading"])


@pytest.mark.parametrize("order", [0, 1, 2, "auto"])
@pytest.mark.parametrize("group", [False, True])
def test_what_lay_in_memory_before_makes_no_difference(
    monkeypatch: pytest.MonkeyPatch, order: object, group: bool
) -> None:
    """Arrays that are made without content hold one thing the first time and another thing the second time."""
    groups = [{"name": "g", "members": ["a", "b"]}] if group else []
    settings = small_settings(transform={"order": order, "warmup": 24}, groups=groups)
    readings = feed(rows=150, series=5)
    keys = ["unit/a", "unit/b", "s2", "s3", "s4"] if group else ["s0", "s1", "s2", "s3", "s4"]

    def made() -> Engine:
        engine = Engine(settings)
        assert [engine.intern(key) for key in keys] == list(range(5))
        return engine

    def live(content: float) -> tuple[Forecasts, dict[str, Any]]:
        engine = made()
        with monkeypatch.context() as patch:
            for name in ("empty", "empty_like"):
                patch.setattr(np, name, filling(getattr(np, name), content))
            forecasts = play(engine, readings, cuts=[100, 380])
        return forecasts, engine.state_dict()

    play(made(), readings)  # compiled loops know `numpy.empty` under its true name
    one, other = live(3.0), live(-77.5)
    assert_equal_to_the_bit(one[0], other[0])
    flat, against = flatten(one[1]).arrays, flatten(other[1]).arrays
    assert [name for name, array in flat.items() if array.tobytes() != against[name].tobytes()] == []


def filling(make: Callable[..., np.ndarray], content: float) -> Callable[..., np.ndarray]:
    def made(*shape: Any, **how: Any) -> np.ndarray:
        array = make(*shape, **how)
        array.fill(content > 0 if array.dtype == bool else abs(content) if array.dtype.kind in "iu" else content)
        return array

    return made


def test_live_batches_agree_with_the_deterministic_setting_to_rounding_while_weights_are_frozen() -> None:
    readings = feed(rows=60, series=40)
    frozen = {"enabled": False}
    live = play(engine_of(small_settings(learning=frozen, engine={"deterministic": False}), 40), readings)
    fixed = play(engine_of(small_settings(learning=frozen), 40), readings)
    np.testing.assert_allclose(live.value, fixed.value, rtol=1e-6)


def test_the_same_reading_has_the_same_id_everywhere_and_another_has_another() -> None:
    readings = feed(rows=50, series=2)
    a, b = Engine(small_settings()), Engine(small_settings())
    for key in ("x", "y"):
        a.intern(key)
    for key in ("other", "x", "y"):
        b.intern(key)
    ids = a.step(readings).id
    shifted = Readings(readings.series + np.int32(1), readings.time_ns, readings.value)
    np.testing.assert_array_equal(ids, b.step(shifted).id)
    assert len(set(ids.tolist())) == 100


def test_extreme_values_stay_finite() -> None:
    engine = engine_of(small_settings(), 4)
    rng = np.random.default_rng(0)
    for row in range(150):
        jump = 1e6 if row > 75 else 0.0
        values = [5.0, float(rng.normal()) + jump, 1e300 * (-1.0) ** row, 0.0]
        forecasts = engine.step(Readings.of([0, 1, 2, 3], [START_NS + row * MINUTE_NS] * 4, values))
        for column in (forecasts.value, forecasts.lower, forecasts.upper):
            assert np.isfinite(column).all(), row
    assert forecasts.value[0, 0] == pytest.approx(5.0)
    assert forecasts.lower[0, 0] <= 5.0 <= forecasts.upper[0, 0]
    assert forecasts.value[1, 0] == pytest.approx(1e6, rel=1e-3)
