"""Every feed's best error is what the optimal predictor, written down by formula, really reaches."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from simulators.feeds import Feed, RandomWalk, Season, Sine, Sum, WhiteNoise
from simulators.regimes import Autoregression, Regime, RegimeChange
from simulators.scenarios import SCENARIOS, scenario
from stepahead.contract.errors import UsageError

N = 40_000
Array = NDArray[np.float64]
REGIMES = [Regime(700, (1.6, -0.8), 2.0, 0.5), Regime(300, (-0.4,), -5.0, 2.0)]

FEEDS: dict[str, Callable[[int], Feed]] = {
    "white": lambda seed: WhiteNoise(20.0, 0.5, seed),
    "walk": lambda seed: RandomWalk(3.0, 0.7, seed),
    "ar2": lambda seed: Autoregression((1.6, -0.8), 4.0, 0.3, seed),
    "ar1": lambda seed: Autoregression((-0.9,), 4.0, 0.3, seed),
    "regime": lambda seed: RegimeChange(REGIMES, seed),
    "sine": lambda seed: Sine(2.0, 33.3, 1.0, 0.2, 0.25, seed),
    "season": lambda seed: Season(24, 10.0, 0.5, 20.0, 0.4, seed),
    "sum": lambda seed: Sum(Sine(3.0, 40.0, sigma=0.0), Autoregression((0.8,), 0.0, 0.6, seed)),
}


def linear(x: Array, level: float, *phi: float) -> Array:
    """E[x_t | past] of an autoregression for t = 2, 3, …"""
    lags = [x[1:-1], x[:-2]]
    return level + np.sum([p * (lag - level) for p, lag in zip(phi, lags, strict=False)], axis=0)


def predict_regimes(x: Array) -> Array:
    t = np.arange(2, len(x)) % 1000
    first, second = REGIMES
    return np.where(t < 700, linear(x, first.level, *first.coefficients), linear(x, second.level, *second.coefficients))


def predict_sine(x: Array) -> Array:
    t = np.arange(2, len(x))
    return 1.0 + 2.0 * np.sin(2 * np.pi * t / 33.3 + np.pi / 2)


def predict_season(x: Array) -> Array:
    t = np.arange(2, len(x))
    weekend = (t // 24) % 7 >= 5
    return 20.0 + 10.0 * np.where(weekend, 0.5, 1.0) * np.sin(np.pi * (t % 24) / 24) ** 2


def predict_sum(x: Array) -> Array:
    wave = 3.0 * np.sin(2 * np.pi * np.arange(len(x)) / 40.0)
    return wave[2:] + 0.8 * (x - wave)[1:-1]


PREDICTORS: dict[str, Callable[[Array], Array]] = {
    "white": lambda x: np.full(len(x) - 2, 20.0),
    "walk": lambda x: x[1:-1],
    "ar2": lambda x: linear(x, 4.0, 1.6, -0.8),
    "ar1": lambda x: linear(x, 4.0, -0.9),
    "regime": predict_regimes,
    "sine": predict_sine,
    "season": predict_season,
    "sum": predict_sum,
}


@pytest.mark.parametrize("name", FEEDS)
def test_the_optimal_predictor_reaches_the_best_error_and_leaves_white_noise(name: str) -> None:
    feed = FEEDS[name](1)
    x = feed.sample(N)
    error = x[2:] - PREDICTORS[name](x)
    # The mean of N squared normals has the relative standard deviation sqrt(2 / N) (a mixture: at most twice that).
    assert np.mean(error**2) == pytest.approx(feed.best_mse, rel=5 * 2 * np.sqrt(2 / N))
    white = error / np.std(error)
    for lag in (1, 2, 3):
        assert abs(np.mean(white[lag:] * white[:-lag])) < 5 / np.sqrt(N)


@pytest.mark.parametrize("name", FEEDS)
def test_seeds_decide_everything(name: str) -> None:
    make = FEEDS[name]
    np.testing.assert_array_equal(make(5).sample(500), make(5).sample(500))
    assert np.any(make(5).sample(500) != make(6).sample(500))


@pytest.mark.parametrize("name", FEEDS)
@given(sizes=st.lists(st.integers(0, 400), min_size=1, max_size=8))
def test_a_feed_in_pieces_is_the_feed_in_one(name: str, sizes: list[int]) -> None:
    whole = FEEDS[name](3).sample(sum(sizes))
    feed = FEEDS[name](3)
    np.testing.assert_array_equal(np.concatenate([feed.sample(n) for n in sizes]), whole)


def test_a_regime_change_follows_its_recursion() -> None:
    x = RegimeChange(REGIMES, seed=2).sample(2500)
    noise = np.random.default_rng(2).standard_normal(2500)
    past = [2.0, 2.0]
    for t, value in enumerate(x):
        regime = REGIMES[0] if t % 1000 < 700 else REGIMES[1]
        lags = zip(regime.coefficients, past, strict=False)
        expected = regime.level + sum(p * (lag - regime.level) for p, lag in lags) + regime.sigma * noise[t]
        assert value == pytest.approx(expected, rel=1e-9, abs=1e-9)
        past = [value, past[0]]


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: WhiteNoise(sigma=-1.0), "sigma"),
        (lambda: Autoregression((1.01,)), "stationary"),
        (lambda: Autoregression((0.5, 0.5)), "stationary"),
        (lambda: Autoregression((0.1, 0.1, 0.1)), "coefficients"),
        (lambda: RegimeChange([]), "regime"),
        (lambda: RegimeChange([Regime(0, (0.1,), 0.0, 1.0)]), "length"),
        (lambda: Sine(period=1.0), "period"),
        (lambda: Season(steps_per_day=1), "steps_per_day"),
        (lambda: Sum(WhiteNoise(), WhiteNoise()), "at most one"),
        (lambda: scenario("nonsense"), "nonsense"),
        (lambda: scenario("plant", count=0), "0 series"),
    ],
)
def test_impossible_feeds_are_refused(make: Callable[[], object], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        make()


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenarios_are_reproducible_and_have_distinct_topics(name: str) -> None:
    time_ns = np.arange(300, dtype=np.int64)
    first, again = (scenario(name, seed=4, count=30) for _ in range(2))
    assert len({sensor.topic for sensor in first}) == 30
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.track(time_ns).value, b.track(time_ns).value)
    assert not np.array_equal(first[0].track(time_ns).value, first[-1].track(time_ns).value)


def test_the_plant_has_twelve_named_sensors_two_of_them_deterministic_with_noise() -> None:
    names = [sensor.topic for sensor in scenario("plant")]
    assert len(names) == 12
    assert {"plant/pump1/temperature", "plant/pump1/pressure", "plant/pump1/vibration"} <= set(names)
    assert sum(name.endswith(("vibration", "power")) for name in names) == 4
