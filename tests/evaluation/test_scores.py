import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, mean_squared_error

from stepahead.evaluation.scores import last_values, score_forecasts


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


@given(st.lists(st.lists(st.sampled_from([np.nan, 1.0, 2.0, 3.0]), min_size=2, max_size=2), min_size=1, max_size=20))
def test_last_values_are_what_pandas_fills_forward(rows: list[list[float]]) -> None:
    value = np.array(rows)
    np.testing.assert_array_equal(last_values(value), pd.DataFrame(value).ffill().shift(1).to_numpy())


def test_errors_are_those_of_scikit_learn_on_the_scored_cells(rng: np.random.Generator) -> None:
    value = rng.normal(size=(50, 3))
    value[rng.random(value.shape) < 0.2] = np.nan
    said = rng.normal(size=(50, 3))
    scores = score_forecasts(("a", "b", "c"), value, {"m": said}, 10)
    cells = np.isfinite(value) & np.isfinite(last_values(value))
    cells[:10] = False
    np.testing.assert_array_equal(scores.cells, cells)
    score, last = scores.models["m"], last_values(value)
    assert score.mse == pytest.approx(mean_squared_error(value[cells], said[cells]))
    assert score.mae == pytest.approx(mean_absolute_error(value[cells], said[cells]))
    assert score.mse_ratio == pytest.approx(score.mse / mean_squared_error(value[cells], last[cells]))
    b = cells[:, 1]
    assert score.per_column["b"].mae == pytest.approx(mean_absolute_error(value[b, 1], said[b, 1]))
    assert score.per_column["b"].cells == b.sum()
    assert score.mae_ratio_mean == pytest.approx(np.mean([s.mae_ratio for s in score.per_column.values()]))
    assert (score.unforecast, score.diverged, score.coverage) == (0, False, None)


def test_pinball_coverage_and_width_are_those_of_the_bounds(rng: np.random.Generator) -> None:
    value = rng.normal(size=(400, 2))
    levels = (0.9, 0.5)
    lower = -np.abs(rng.normal(size=(400, 2, 2)))
    upper = np.abs(rng.normal(size=(400, 2, 2)))
    scores = score_forecasts(("a", "b"), value, {"stepahead": value, "x": value}, 1, levels, (lower, upper))
    score = scores.models["stepahead"]
    seen, lows, highs = value[1:].ravel(), lower[1:].reshape(-1, 2), upper[1:].reshape(-1, 2)
    losses = [
        mean_pinball_loss(seen, bound[:, i], alpha=alpha)
        for i, level in enumerate(levels)
        for bound, alpha in ((lows, (1 - level) / 2), (highs, (1 + level) / 2))
    ]
    assert score.pinball == pytest.approx(np.mean(losses))
    for i, level in enumerate(levels):
        inside = (lows[:, i] <= seen) & (seen <= highs[:, i])
        assert score.levels[f"{level:g}"]["coverage"] == pytest.approx(inside.mean())
        assert score.levels[f"{level:g}"]["width"] == pytest.approx((highs - lows)[:, i].mean())
    assert score.coverage == score.levels["0.9"]["coverage"]
    assert scores.models["x"].coverage is None


def test_a_model_without_a_forecast_gets_the_last_value_and_is_told_on() -> None:
    value = np.arange(10.0)[:, None]
    said = np.full((10, 1), np.nan)
    said[7:] = value[7:]
    score = score_forecasts(("a",), value, {"late": said}, 2).models["late"]
    assert (score.unforecast, score.mae, score.diverged) == (5, 5 / 8, False)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300, 1e5])
def test_a_model_that_breaks_is_said_to_have_diverged_and_stays_finite(bad: float) -> None:
    value = np.arange(10.0)[:, None]
    said = value.copy()
    said[6] = bad
    score = score_forecasts(("a",), value, {"wild": said}, 2).models["wild"]
    assert score.diverged
    assert np.isfinite([score.mse, score.mae]).all()
    assert score.unforecast == (0 if np.isfinite(bad) else 1)


def test_a_constant_column_has_no_ratio_and_spoils_no_mean() -> None:
    value = np.column_stack([np.ones(10), np.arange(10.0)])
    score = score_forecasts(("flat", "line"), value, {"half": last_values(value) + np.array([0.0, 0.5])}, 2).models[
        "half"
    ]
    assert score.per_column["flat"].mae_ratio is None
    assert score.per_column["line"].mae_ratio == pytest.approx(0.5)
    assert score.mae_ratio_mean == pytest.approx(0.5)


def test_readings_of_1e300_do_not_stop_the_scoring() -> None:
    value = np.array([[0.0], [1e300], [-1e300], [1e300]])
    score = score_forecasts(("a",), value, {"zero": np.zeros((4, 1))}, 1).models["zero"]
    assert score.mse == np.inf
    assert score.mae == pytest.approx(1e300)
    assert score.mse_ratio is None
