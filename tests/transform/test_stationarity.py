import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from statsmodels.tsa.stattools import kpss

from stepahead.transform.stationarity import choose_order

N = 256


def noise(seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=N)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e290])
def test_an_integrated_series_gets_the_order_it_was_integrated_to(order: int, scale: float) -> None:
    right = 0
    for seed in range(20):
        x = noise(seed)
        for _ in range(order):
            x = x.cumsum()
        decision = choose_order(x * scale)
        right += decision.order == order
        assert len(decision.adf_p) == len(decision.kpss_p) == decision.order + 1
    # Each KPSS test errs in 5% of cases by its very level, and over-differencing is refused after most of them.
    assert right >= 18


def test_a_trend_is_differenced_once_and_a_daily_wave_not_at_all() -> None:
    t = np.arange(N)
    assert choose_order(noise(0) + 0.1 * t).order == 1
    assert choose_order(0.3 * noise(0) + np.sin(2 * np.pi * t / 24)).order == 0


def test_p_values_are_those_of_the_tests() -> None:
    decision = choose_order(noise(3).cumsum())
    x = noise(3).cumsum()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = [float(kpss(level, "c", nlags="auto")[1]) for level in (x, np.diff(x))]
    assert list(decision.kpss_p) == pytest.approx(expected)
    assert decision.adf_p[0] > 0.05 > decision.adf_p[1]


def test_a_difference_that_raises_the_variance_is_refused() -> None:
    x = noise(0)
    x[: N // 2] += 1.0  # a step in the mean: KPSS rejects
    decision = choose_order(x)
    assert decision.kpss_p[0] < 0.05
    assert np.var(np.diff(x)) > np.var(x)
    assert decision.order == 0
    assert "raise the variance" in decision.reason


@pytest.mark.parametrize(
    ("values", "order", "reason"),
    [
        ([], 1, "0 values"),
        ([1.0] * 23, 1, "23 values"),
        ([float("nan")] * 100, 1, "0 values"),
        ([0.0] * 100, 1, "constant"),
        ([0.1] * 100, 1, "constant"),
        (np.arange(100.0), 1, "order 1 is constant"),
        (np.arange(100.0) ** 2, 2, "order 2 is constant"),
    ],
)
def test_degenerate_series_are_decided(values: list[float], order: int, reason: str) -> None:
    decision = choose_order(np.array(values, dtype=np.float64))
    assert decision.order == order
    assert reason in decision.reason


@given(
    values=st.lists(st.sampled_from([0.0, 1.0, -1.0, 1e300, -1.7e308, 1e-320, float("inf"), 0.1]), max_size=60),
    repeat=st.integers(1, 4),
)
@settings(max_examples=100, deadline=None)
def test_nothing_raises_and_every_p_value_is_one(values: list[float], repeat: int) -> None:
    decision = choose_order(np.array(values * repeat, dtype=np.float64))
    assert decision.order in (0, 1, 2)
    assert all(0.0 <= p <= 1.0 for p in decision.adf_p + decision.kpss_p)


def test_only_the_newest_values_count() -> None:
    newest = np.random.default_rng(1).normal(size=1024)
    assert choose_order(np.r_[np.arange(5000.0), newest]) == choose_order(newest)
