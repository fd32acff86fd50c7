"""The panel: laws of a bank, bars on feeds with a known best answer, and nothing that is not finite."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepahead.contract.records import FloatArray
from stepahead.contract.settings import ExpertSettings
from stepahead.experts.panel import Panel

HOUR_NS = 3_600_000_000_000


def run(values: FloatArray, period_ns: int = 0) -> FloatArray:
    """Forecast of each row [T, S] from the rows before it; the first row is forecast by itself."""
    steps, series = values.shape
    panel = Panel(ExpertSettings(), network_members=0, capacity=series)
    slots = np.arange(series, dtype=np.int32)
    no = np.zeros(series, dtype=np.bool_)
    forecasts = values.copy()
    for t in range(steps):
        panel.update(slots, values[t], np.full(series, t * period_ns), np.full(series, period_ns), no)
        answer = panel.forecast(slots, None, no)
        assert np.isfinite(answer).all()
        if t + 1 < steps:
            forecasts[t + 1] = answer
    return forecasts


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_series_fed_together_in_any_interleaving_equal_each_alone(seed: int) -> None:
    random = np.random.default_rng(seed)
    series, steps = 5, 60
    values = random.normal(size=(steps, series)).cumsum(axis=0) * 10.0 ** random.integers(-3, 6, size=series)
    gaps = random.random((steps, series)) < 0.03
    period = np.full(series, 6 * HOUR_NS)

    alone = np.empty((steps, series))
    for s in range(series):
        panel = Panel(ExpertSettings(), network_members=1, capacity=1)
        zero = np.array([0], dtype=np.int32)
        for t in range(steps):
            panel.update(zero, values[t, [s]], np.array([t]), period[[s]], gaps[t, [s]])
            alone[t, s] = panel.forecast(zero, values[t, [s], None] * 1.01, np.array([t > 9]))[0]

    together = Panel(ExpertSettings(), network_members=1, capacity=series)
    position = np.zeros(series, dtype=np.int64)
    while (position < steps).any():
        open_slots = np.flatnonzero(position < steps)
        slots = random.permutation(open_slots)[: random.integers(1, len(open_slots) + 1)].astype(np.int32)
        at = position[slots]
        value = values[at, slots]
        together.update(slots, value, at, period[slots], gaps[at, slots])
        answer = together.forecast(slots, value[:, None] * 1.01, at > 9)
        assert (answer == alone[at, slots]).all()
        position[slots] += 1


def test_state_goes_on_bit_for_bit_after_saving_and_loading() -> None:
    random = np.random.default_rng(1)
    values = random.normal(size=(200, 3)).cumsum(axis=0)
    slots, no = np.arange(3, dtype=np.int32), np.zeros(3, dtype=np.bool_)
    first, second = Panel(ExpertSettings(), 0, 3), Panel(ExpertSettings(), 0)
    for t, row in enumerate(values):
        if t == 100:
            second.load_state_dict(first.state_dict())
        first.update(slots, row, np.full(3, t), np.full(3, HOUR_NS), no)
        expected = first.forecast(slots, None, no)
        if t >= 100:
            second.update(slots, row, np.full(3, t), np.full(3, HOUR_NS), no)
            assert (second.forecast(slots, None, no) == expected).all()


@pytest.mark.parametrize("kind", ["white noise", "random walk"])
def test_noise_is_forecast_within_two_percent_of_the_best_possible(kind: str) -> None:
    noise = np.random.default_rng(7).normal(size=(4000, 40))
    values = noise if kind == "white noise" else noise.cumsum(axis=0)
    best = 0.0 if kind == "white noise" else values[399:-1]
    forecasts = run(values)[400:]
    assert ((forecasts - values[400:]) ** 2).mean() <= 1.02 * ((best - values[400:]) ** 2).mean()


@pytest.mark.parametrize(
    "values",
    [
        np.zeros(300),
        np.full(300, 1e300),
        np.where(np.arange(300) % 7 == 0, 1e300, -1e300),
        np.where(np.arange(300) == 150, 1e6, 0.0),
        np.where(np.arange(300) % 50 == 0, 1e-300, 0.0),
        np.random.default_rng(0).normal(size=300) * 10.0 ** np.linspace(-300, 300, 300),
    ],
    ids=["zero", "huge", "swinging", "one jump", "tiny", "growing"],
)
def test_extremes_stay_finite(values: FloatArray) -> None:
    run(values[:, None], HOUR_NS)
