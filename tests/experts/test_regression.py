"""Recursive least squares equals the batch answer, finds what generated a series, and never blows up."""

from typing import Any

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
    slot, yes = np.array([0]), np.array([True])
    spread, weights = 1.0, np.empty(80)
    for t in range(80):
        bank.regressors[0] = x[t]
        error = y[t] - bank.forecast(slot)
        weights[t] = 1.0
        if robust:
            weights[t] = max(min(1.0, robust * spread / max(abs(error[0]), 1e-9)), LEAST_WEIGHT)
            spread += SPREAD_RATE * (min(abs(error[0]), 5 * spread) - spread)
        bank.update(slot, y[t : t + 1], yes)
        rho = weights[: t + 1] * forgetting ** np.arange(t, -1, -1)
        normal = (x[: t + 1].T * rho) @ x[: t + 1] + forgetting ** (t + 1) * ridge * np.eye(order)
        expected = np.linalg.solve(normal, (x[: t + 1].T * rho) @ y[: t + 1])
        np.testing.assert_allclose(bank.coefficients[0], expected, rtol=1e-8, atol=1e-10)


PRECISIONS: list[dict[str, Any]] = [{}, {"dtype": np.float32}, {"dtype": np.float32, "halved": True}]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_autoregression_of_order_two_is_found(precision: dict[str, Any]) -> None:
    random = np.random.default_rng(0)
    series, steps = 20, 4000
    noise = random.normal(size=(steps, series))
    value = np.zeros((steps, series))
    for t in range(2, steps):
        value[t] = 1.2 * value[t - 1] - 0.5 * value[t - 2] + noise[t]
    bank = RecursiveLeastSquares(2, forgetting=0.999, capacity=series, **precision)
    slots, yes = np.arange(series), np.ones(series, np.bool_)
    squares = np.zeros((steps, series))
    for t in range(2, steps):
        bank.regressors[:] = np.stack([value[t - 1], value[t - 2]], axis=1)
        squares[t] = (value[t] - bank.forecast(slots)) ** 2
        bank.update(slots, value[t], yes)
    np.testing.assert_allclose(bank.coefficients.mean(axis=0), [1.2, -0.5], atol=0.02)
    # The innovations have variance 1.
    assert squares[400:].mean() <= 1.05


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_constant_input_does_not_blow_the_covariance_up(precision: dict[str, Any]) -> None:
    bank = RecursiveLeastSquares(3, forgetting=0.9, trace_cap=100.0, bound=8.0, capacity=1, **precision)
    slot, yes = np.array([0]), np.array([True])
    for t in range(5000):
        bank.regressors[0] = [1.0, 0.0, 0.0] if t != 4000 else [8.0, 8.0, -8.0]
        bank.update(slot, bank.forecast(slot) + 8.0 if t == 4000 else np.zeros(1), yes)
        covariance = bank.covariance(slot)[0]
        assert np.isfinite(covariance).all()
        assert np.trace(covariance) < 100.0 / 0.9 + 1
        assert (np.linalg.eigvalsh(covariance) > 0).all()
    assert np.isfinite(bank.coefficients).all()


def test_in_two_bytes_a_number_the_covariance_is_the_same_to_their_rounding() -> None:
    random = np.random.default_rng(4)
    exact, halved = (
        RecursiveLeastSquares(6, forgetting=0.99, dtype=np.float32, halved=h, capacity=1) for h in (False, True)
    )
    slot, yes = np.array([0]), np.array([True])
    for _ in range(2000):
        x = random.normal(size=6).astype(np.float16)
        x[3:] += x[:3]
        for bank in (exact, halved):
            bank.regressors[0] = x
            bank.update(slot, np.float64(x[:1]) - np.float64(x[5:]), yes)
    scale = np.sqrt(np.diag(exact.covariance(slot)[0]))
    off = (halved.covariance(slot)[0] - exact.covariance(slot)[0]) / np.outer(scale, scale)
    # A number of 11 bits is rounded 2,000 times, and forgotten within 100.
    assert 0 < np.abs(off).max() < 0.02
    np.testing.assert_allclose(halved.coefficients, exact.coefficients, atol=1e-3)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), precision=st.sampled_from(PRECISIONS))
def test_series_together_equal_each_alone(seed: int, precision: dict[str, Any]) -> None:
    random = np.random.default_rng(seed)
    series, order = 7, 5
    together = RecursiveLeastSquares(order, robust=1.5, capacity=series, **precision)
    alone = [RecursiveLeastSquares(order, robust=1.5, capacity=1, **precision) for _ in range(series)]
    for _ in range(25):
        slots = random.permutation(series)[: random.integers(1, series + 1)]
        x = random.normal(size=(len(slots), order))
        target, learns = random.normal(size=len(slots)), random.random(len(slots)) < 0.9
        together.regressors[slots] = x
        forecast = together.forecast(slots)
        together.update(slots, target, learns)
        for i, slot in enumerate(slots):
            one, mine = slice(i, i + 1), alone[slot]
            mine.regressors[0] = x[i]
            assert mine.forecast(np.array([0]))[0] == forecast[i]
            mine.update(np.array([0]), target[one], learns[one])
    for slot in range(series):
        for name, column in together.state_dict().items():
            np.testing.assert_array_equal(column[slot], getattr(alone[slot], name)[0])


def test_a_covariance_that_takes_every_fifth_reading_learns_as_well() -> None:
    random = np.random.default_rng(9)
    series, order, steps = 30, 4, 3000
    x = random.normal(size=(steps, series, order))
    y = x @ np.array([1.0, -0.5, 0.25, 0.0]) + random.normal(size=(steps, series))
    squares = []
    for every in (1, 5):
        bank = RecursiveLeastSquares(order, forgetting=0.995, every=every, dtype=np.float32, capacity=series)
        slots, yes, total = np.arange(series), np.ones(series, np.bool_), 0.0
        for t in range(steps):
            bank.regressors[:] = x[t]
            error = y[t] - bank.forecast(slots)
            bank.update(slots, y[t], yes)
            total += float((error**2).sum()) if t >= 500 else 0.0
        squares.append(total / series / (steps - 500))
    assert squares[1] <= 1.01 * squares[0]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_unsettled_it_follows_a_new_law_as_at_the_beginning_and_keeps_what_it_knows(precision: dict[str, Any]) -> None:
    random = np.random.default_rng(5)
    bank = RecursiveLeastSquares(2, forgetting=0.999, every=5, capacity=3, **precision)
    both, yes = np.array([0, 1]), np.array([True, True])

    def learn(law: tuple[float, float], readings: int) -> None:
        for _ in range(readings):
            x = random.normal(size=2)
            bank.regressors[both] = x
            bank.update(both, np.repeat(x @ law + 0.1 * random.normal(), 2), yes)

    learn((1.0, -0.5), 500)
    known = bank.coefficients[both].copy()
    bank.unsettle(np.array([1]))
    np.testing.assert_array_equal(bank.coefficients[both], known)
    np.testing.assert_array_equal(bank.covariance(np.array([1])), bank.covariance(np.array([2])))  # 2 is newborn
    learn((-1.0, 0.5), 30)
    settled, unsettled = np.abs(bank.coefficients[both] - (-1.0, 0.5)).max(axis=1)
    assert settled > 1.0
    assert unsettled < 0.15
