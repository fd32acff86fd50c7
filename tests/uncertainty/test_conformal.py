"""Coverage, shape and symmetry of the intervals, on feeds whose law is known.

Bounds come from binomial arithmetic: the share of n covered readings has a standard deviation of sqrt(0.09 / n)
at 90%, which feedback only makes smaller.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from stepahead.contract.settings import IntervalSettings
from stepahead.uncertainty.conformal import Conformal

Float = NDArray[np.float64]
Feed = Callable[[np.random.Generator, tuple[int, int]], Float]
STEPS, SERIES, WARM = 4000, 100, 1000


def regime(rng: np.random.Generator, shape: tuple[int, int], factor: float) -> Float:
    errors = rng.normal(size=shape)
    errors[shape[0] // 2 :] *= factor
    return errors


def daily(rng: np.random.Generator, shape: tuple[int, int]) -> Float:
    phase = 2 * np.pi * np.arange(shape[0]) / 144
    return np.asarray(rng.normal(size=shape) * np.exp(np.sin(phase))[:, None])


FEEDS: dict[str, Feed] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "laplace": lambda rng, shape: rng.laplace(size=shape),
    "t3": lambda rng, shape: rng.standard_t(3, size=shape),
    "uniform": lambda rng, shape: rng.uniform(-1, 1, size=shape),
    "skewed": lambda rng, shape: rng.exponential(size=shape) - np.log(2),
    "daily volatility": daily,
    "variance times ten": lambda rng, shape: regime(rng, shape, 10**0.5),
    "variance by ten": lambda rng, shape: regime(rng, shape, 10**-0.5),
}


def intervals(errors: Float, levels: tuple[float, ...] = (0.9,)) -> tuple[Float, Float, Float]:
    """Lower and upper [steps, series, levels] around forecasts of 0, and p [steps, series]."""
    steps, series = errors.shape
    bank = Conformal(IntervalSettings(levels=levels), series)
    slots = np.arange(series)
    lower, upper = np.empty((2, steps, series, len(levels)))
    p = np.empty((steps, series))
    for t, row in enumerate(errors):
        lower[t], upper[t] = bank.forecast(slots, np.zeros(series))
        p[t] = bank.update(slots, row).p
    return lower, upper, p


@cache
def life(name: str) -> tuple[Float, Float, Float, Float]:
    """Errors of a feed, and what `intervals` made of them."""
    errors = FEEDS[name](np.random.default_rng(11), (STEPS, SERIES))
    return errors, *intervals(errors)


@pytest.mark.parametrize("name", FEEDS)
def test_coverage_over_a_life_and_in_every_block(name: str) -> None:
    errors, lower, upper, _ = life(name)
    covered = (lower[WARM:, :, 0] <= errors[WARM:]) & (errors[WARM:] <= upper[WARM:, :, 0])
    assert abs(covered.mean() - 0.9) <= 0.005
    # One series: 4 standard deviations of 3,000 fair readings, 2.2 points.
    per_series = covered.mean(axis=0)
    assert np.abs(per_series - 0.9).max() <= 4 * np.sqrt(0.09 / (STEPS - WARM))
    blocks = covered.reshape(-1, 1000, SERIES).mean(axis=1)
    assert np.abs(blocks - 0.9).max() <= 0.05


@pytest.mark.parametrize("name", FEEDS)
def test_both_tails_hold_their_share(name: str) -> None:
    errors, lower, upper, _ = life(name)
    for missed in (errors < lower[:, :, 0], errors > upper[:, :, 0]):
        assert abs(missed[WARM:].mean() - 0.05) <= 0.005


def test_skewed_errors_get_a_skewed_interval() -> None:
    _, lower, upper, _ = life("skewed")
    quantiles = -np.log([0.95, 0.05]) - np.log(2)
    assert lower[WARM:].mean() == pytest.approx(quantiles[0], rel=0.1)
    assert upper[WARM:].mean() == pytest.approx(quantiles[1], rel=0.1)


def test_nested_at_every_step_whatever_the_order_of_levels() -> None:
    errors = FEEDS["t3"](np.random.default_rng(14), (1500, SERIES))
    levels = (0.95, 0.5, 0.9, 0.8, 0.999)
    lower, upper, _ = intervals(errors, levels)
    order = np.argsort(levels)
    assert (np.diff(lower[..., order], axis=-1) <= 0).all()
    assert (np.diff(upper[..., order], axis=-1) >= 0).all()
    assert (lower <= 0).all()
    assert (upper >= 0).all()


@pytest.mark.parametrize("level", [0.5, 0.8, 0.99])
def test_other_levels_are_held_too(level: float) -> None:
    errors = FEEDS["laplace"](np.random.default_rng(15), (STEPS, SERIES))
    lower, upper, _ = intervals(errors, (level,))
    covered = (lower[WARM:, :, 0] <= errors[WARM:]) & (errors[WARM:] <= upper[WARM:, :, 0])
    assert abs(covered.mean() - level) <= 0.01


@pytest.mark.parametrize("share", [0.2, 0.5, 0.99])
def test_ties_at_zero_are_covered_at_least(share: float) -> None:
    rng = np.random.default_rng(16)
    errors = np.where(rng.random((STEPS, SERIES)) < share, rng.choice([-1.0, 1.0], size=(STEPS, SERIES)), 0.0)
    lower, upper, _ = intervals(errors)
    covered = (lower[WARM:, :, 0] <= errors[WARM:]) & (errors[WARM:] <= upper[WARM:, :, 0])
    assert covered.mean() >= 0.895
    assert covered[errors[WARM:] == 0].all()


def test_a_newborn_series_is_covered_and_becomes_ready() -> None:
    errors = 3.0 * FEEDS["normal"](np.random.default_rng(17), (40, 2000))
    bank = Conformal(IntervalSettings(), 2000)
    slots = np.arange(2000)
    level = np.full(2000, 20.0)
    for row in errors:
        ready = bank.ready(slots)
        lower, upper = bank.forecast(slots, level)
        assert np.isfinite(lower).all()
        assert np.isfinite(upper).all()
        covered = (lower[:, 0] <= level + row) & (level + row <= upper[:, 0])
        assert covered.mean() >= 0.85
        bank.update(slots, level + row)
    assert not bank.ready(np.array([0]))[0] or ready.all()
    assert bank.ready(slots).all()


@pytest.mark.parametrize("name", ["normal", "laplace", "t3", "skewed"])
def test_p_values_are_uniform(name: str) -> None:
    p = np.sort(life(name)[3][WARM:].ravel())
    assert p[0] > 0
    assert p[-1] <= 1
    # Kolmogorov–Smirnov distance: pinned at ten points, straight lines between them, and a sharp edge is neared slowly.
    assert np.abs(p - (np.arange(len(p)) + 0.5) / len(p)).max() <= 0.04


def test_narrower_than_a_running_quantile_when_volatility_moves() -> None:
    errors = FEEDS["daily volatility"](np.random.default_rng(19), (STEPS, 10))
    lower, upper, _ = intervals(errors)
    windows = np.lib.stride_tricks.sliding_window_view(np.abs(errors), 1000, axis=0)[:-1]
    running = 2 * np.quantile(windows, 0.9, axis=-1)
    assert (upper - lower)[1000:, :, 0].mean() < 0.95 * running.mean()


def test_negated_feed_gives_negated_intervals() -> None:
    errors = FEEDS["skewed"](np.random.default_rng(20), (800, 5))
    levels = (0.5, 0.9, 0.99)
    lower, upper, p = intervals(errors, levels)
    lower_of_negated, upper_of_negated, p_of_negated = intervals(-errors, levels)
    np.testing.assert_array_equal(lower, -upper_of_negated)
    np.testing.assert_array_equal(upper, -lower_of_negated)
    np.testing.assert_allclose(p, p_of_negated, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("factor", [1000.0, 1e-6])
def test_scaled_feed_gives_scaled_intervals(factor: float) -> None:
    rng = np.random.default_rng(21)
    forecasts, errors = 5 + rng.normal(size=(2, 800, 5))
    errors -= 5

    def bounds(unit: float) -> Float:
        bank = Conformal(IntervalSettings(), 5)
        slots = np.arange(5)
        out = []
        for value, error in zip(forecasts, errors, strict=True):
            out.append(np.concatenate(bank.forecast(slots, unit * value), axis=1))
            bank.update(slots, unit * (value + error))
        return np.array(out)

    np.testing.assert_allclose(bounds(factor), factor * bounds(1.0), rtol=1e-5)


def test_without_a_waiting_forecast_nothing_is_judged_or_learned() -> None:
    bank = Conformal(IntervalSettings(), 3)
    slots = np.arange(3)
    before = bank.state_dict()
    judged = bank.update(slots, np.array([1.0, 2.0, 3.0]))
    assert np.isnan(judged.p).all()
    assert not judged.anomaly.any()
    for name, array in bank.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    bank.forecast(slots[:1], np.zeros(1))
    assert np.isnan(bank.update(slots, np.ones(3)).p).tolist() == [False, True, True]


def test_after_a_gap_the_waiting_forecast_and_the_burst_are_dropped() -> None:
    errors = FEEDS["normal"](np.random.default_rng(22), (500, 1))
    errors[-10:] *= 20
    bank = Conformal(IntervalSettings(), 1)
    slot = np.array([0])
    for row in errors:
        bank.forecast(slot, np.zeros(1))
        bank.update(slot, row)
    in_burst, _ = bank.forecast(slot, np.zeros(1))
    bank.reset_dynamics(slot)
    assert np.isnan(bank.update(slot, np.zeros(1)).p[0])
    after, _ = bank.forecast(slot, np.zeros(1))
    assert in_burst[0, 0] < 2 * after[0, 0] < 0
