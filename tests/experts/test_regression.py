"""Recursive least squares equals the batch answer, finds what generated a series, and never blows up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepahead.experts.regression import LEAST_WEIGHT, SPREAD_RATE, RecursiveLeastSquares


@pytest.mark.parametrize("robust", [0.0, 1.5])
def test_every_step_equals_the_weighted_ridge_answer(robust: float) -> None:
    random = np.random.default_rng(3)
    order, forgetting, ridge = 3, 0.97, 0.5
    bank = RecursiveLeastSquares(order, forgetting, ridge, robust, capacity=1)
    x = random.normal(size=(80, order))
    y = x @ [1.0, -2.0, 0.5] + random.standard_t(2, size=80)
    slot = np.array([0])
    spread, weights = 1.0, np.empty(80)
    for t in range(80):
        error = y[t] - bank.forecast(slot, x[t : t + 1])
        weights[t] = 1.0
        if robust:
            weights[t] = max(min(1.0, robust * spread / max(abs(error[0]), 1e-9)), LEAST_WEIGHT)
            spread += SPREAD_RATE * (min(abs(error[0]), 5 * spread) - spread)
        bank.update(slot, x[t : t + 1], error)
        rho = weights[: t + 1] * forgetting ** np.arange(t, -1, -1)
        normal = (x[: t + 1].T * rho) @ x[: t + 1] + forgetting ** (t + 1) * ridge * np.eye(order)
        expected = np.linalg.solve(normal, (x[: t + 1].T * rho) @ y[: t + 1])
        np.testing.assert_allclose(bank.coefficients[0], expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_autoregression_of_order_two_is_found(dtype: type) -> None:
    random = np.random.default_rng(0)
    series, steps = 20, 4000
    noise = random.normal(size=(steps, series))
    value = np.zeros((steps, series))
    for t in range(2, steps):
        value[t] = 1.2 * value[t - 1] - 0.5 * value[t - 2] + noise[t]
    bank = RecursiveLeastSquares(2, forgetting=0.999, dtype=dtype, capacity=series)
    rows = slice(0, series)
    squares = np.zeros((steps, series))
    for t in range(2, steps):
        x = np.stack([value[t - 1], value[t - 2]], axis=1)
        error = value[t] - bank.forecast(rows, x)
        squares[t] = error**2
        bank.update(rows, x, error)
    np.testing.assert_allclose(bank.coefficients.mean(axis=0), [1.2, -0.5], atol=0.02)
    # The innovations have variance 1.
    assert squares[400:].mean() <= 1.05


def test_a_constant_input_does_not_blow_the_covariance_up() -> None:
    bank = RecursiveLeastSquares(3, forgetting=0.9, trace_cap=100.0, dtype=np.float32, capacity=1)
    rows = slice(0, 1)
    for t in range(5000):
        x = np.array([[1.0, 0.0, 0.0]]) if t != 4000 else np.array([[8.0, 8.0, -8.0]])
        error = np.array([8.0]) if t == 4000 else -bank.forecast(rows, x)
        bank.update(rows, x, error)
        covariance = bank.covariance(rows)[0]
        assert np.isfinite(covariance).all()
        assert np.trace(covariance) < 100.0 / 0.9 + 1
        np.testing.assert_array_equal(covariance, covariance.T)


def test_a_covariance_that_lost_its_definiteness_begins_anew() -> None:
    bank = RecursiveLeastSquares(2, capacity=1)
    bank.packed[0] = [-1.0, 0.0, -1.0]
    bank.update(slice(0, 1), np.array([[1.0, 0.0]]), np.array([1.0]))
    assert (np.linalg.eigvalsh(bank.covariance(slice(0, 1))[0]) > 0).all()
    assert np.isfinite(bank.coefficients).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from([np.float32, np.float64]))
def test_series_together_equal_each_alone(seed: int, dtype: type) -> None:
    random = np.random.default_rng(seed)
    series, order = 7, 5
    together = RecursiveLeastSquares(order, robust=1.5, dtype=dtype, capacity=series)
    alone = [RecursiveLeastSquares(order, robust=1.5, dtype=dtype, capacity=1) for _ in range(series)]
    for _ in range(25):
        slots = random.permutation(series)[: random.integers(1, series + 1)]
        x = random.normal(size=(len(slots), order)).astype(dtype)
        error = random.normal(size=len(slots))
        forecast = together.forecast(slots, x)
        together.update(slots, x, error)
        for i, slot in enumerate(slots):
            assert alone[slot].forecast(slice(0, 1), x[i : i + 1])[0] == forecast[i]
            alone[slot].update(slice(0, 1), x[i : i + 1], error[i : i + 1])
    for slot in range(series):
        np.testing.assert_array_equal(together.packed[slot], alone[slot].packed[0])


def test_a_covariance_that_takes_every_fifth_reading_learns_as_well() -> None:
    random = np.random.default_rng(9)
    series, order, steps = 30, 4, 3000
    x = random.normal(size=(steps, series, order))
    y = x @ np.array([1.0, -0.5, 0.25, 0.0]) + random.normal(size=(steps, series))
    squares = []
    for every in (1, 5):
        bank = RecursiveLeastSquares(order, forgetting=0.995, every=every, dtype=np.float32, capacity=series)
        total = 0.0
        for t in range(steps):
            error = y[t] - bank.forecast(slice(0, series), x[t])
            bank.update(slice(0, series), x[t], error)
            total += float((error**2).sum()) if t >= 500 else 0.0
        squares.append(total / series / (steps - 500))
    assert squares[1] <= 1.01 * squares[0]
