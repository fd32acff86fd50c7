"""The anomaly flag: the asked rate on clean feeds, at once at a spike, not for ever after a shift."""

import numpy as np
import pytest
from numpy.typing import NDArray

from stepahead.contract.settings import IntervalSettings
from stepahead.uncertainty.conformal import Conformal

Float = NDArray[np.float64]


def flags(errors: Float, rate: float = 0.001) -> NDArray[np.bool_]:
    series = errors.shape[1]
    bank = Conformal(IntervalSettings(anomaly_rate=rate), series)
    slots = np.arange(series)
    out = np.empty(errors.shape, dtype=np.bool_)
    for t, row in enumerate(errors):
        bank.forecast(slots, np.zeros(series))
        out[t] = bank.update(slots, row).anomaly
    return out


def clean(name: str, rng: np.random.Generator, shape: tuple[int, int]) -> Float:
    if name == "daily volatility":
        phase = 2 * np.pi * np.arange(shape[0]) / 144
        return np.asarray(rng.normal(size=shape) * np.exp(0.7 * np.sin(phase))[:, None])
    if name == "autoregressive":
        errors = rng.normal(size=shape)
        for t in range(1, shape[0]):
            errors[t] += 0.5 * errors[t - 1]
        return errors
    draw = {
        "normal": rng.standard_normal,
        "laplace": lambda size: rng.laplace(size=size),
        "t3": lambda size: rng.standard_t(3, size=size),
        "uniform": rng.random,
        "skewed": rng.standard_exponential,
    }[name]
    return np.asarray(draw(size=shape))


@pytest.mark.parametrize("name", ["normal", "laplace", "t3", "uniform", "skewed", "daily volatility", "autoregressive"])
def test_false_alarms_come_at_the_asked_rate(name: str) -> None:
    # 1,200,000 readings after the warm-up: 1,200 flags expected, standard deviation 35 (2.9%).
    errors = clean(name, np.random.default_rng(31), (6000, 300))
    assert flags(errors)[2000:].mean() == pytest.approx(0.001, rel=0.2)


@pytest.mark.parametrize("rate", [0.003, 0.01, 0.05])
def test_other_rates_are_held_too(rate: float) -> None:
    errors = clean("laplace", np.random.default_rng(32), (6000, 60))
    assert flags(errors, rate)[2000:].mean() == pytest.approx(rate, rel=0.2)


def test_a_newborn_series_is_never_flagged() -> None:
    errors = clean("t3", np.random.default_rng(33), (60, 5000))
    assert not flags(errors).any()


def test_a_spike_is_flagged_at_once_even_after_a_long_quiet() -> None:
    errors = clean("normal", np.random.default_rng(34), (4000, 50))
    errors[-1] = 20.0
    assert flags(errors)[-1].all()


def test_the_first_move_of_a_constant_feed_is_flagged() -> None:
    errors = np.zeros((5000, 1))
    errors[-1] = 1.0
    found = flags(errors)
    assert found[-1].all()
    assert not found[:-1].any()


@pytest.mark.parametrize("memory", [1, 5, 30], ids=lambda memory: f"forecaster forgets in {memory}")
def test_a_change_of_level_is_flagged_at_its_start_and_not_for_ever(memory: int) -> None:
    shift_at, series = 3000, 50
    feed = clean("normal", np.random.default_rng(35), (shift_at + 300, series))
    feed[shift_at:] += 20.0
    level = np.zeros(series)
    errors = np.empty_like(feed)
    for t, row in enumerate(feed):
        errors[t] = row - level
        level += errors[t] / memory
    found = flags(errors)
    assert found[shift_at : shift_at + 2].any(axis=0).all()
    assert found[shift_at + 50 :].mean() <= 0.003


def test_an_outage_does_not_leave_the_series_deaf() -> None:
    errors = clean("normal", np.random.default_rng(36), (6000, 50))
    errors[3000:3100] *= 30.0
    errors[-1] = 25.0
    assert flags(errors)[-1].mean() >= 0.95


def test_the_flag_is_the_p_value_below_the_rate() -> None:
    errors = clean("t3", np.random.default_rng(37), (4000, 50))
    bank = Conformal(IntervalSettings(), 50)
    slots = np.arange(50)
    for row in errors:
        bank.forecast(slots, np.zeros(50))
        p, anomaly, _ = bank.update(slots, row)
        assert (p[anomaly] <= 0.001 * (1 + 1e-9)).all()
        assert (p[~anomaly] > 0.001 * (1 - 1e-9)).all()
