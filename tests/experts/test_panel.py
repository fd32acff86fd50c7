"""The panel: laws of a bank, bars on feeds with a known best answer, and nothing that is not finite."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepahead.contract.records import FloatArray
from stepahead.contract.settings import ExpertSettings
from stepahead.experts.panel import Panel

HOUR_NS = 3_600_000_000_000


def run(values: FloatArray, period_ns: int = 0, long_series: int = 256) -> FloatArray:
    """Forecast of each row [T, S] from the rows before it; the first row is forecast by itself."""
    steps, series = values.shape
    panel = Panel(ExpertSettings(long_series=long_series), network_members=0, capacity=series)
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


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_series_fed_together_in_any_interleaving_equal_each_alone(seed: int) -> None:
    random = np.random.default_rng(seed)
    series, steps = 4, 45
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


@pytest.mark.parametrize("long_series", [0, 256])
@pytest.mark.parametrize("kind", ["white noise", "random walk"])
def test_noise_is_forecast_within_two_percent_of_the_best_possible(kind: str, long_series: int) -> None:
    noise = np.random.default_rng(7).normal(size=(2500, 40))
    values = noise if kind == "white noise" else noise.cumsum(axis=0)
    best = 0.0 if kind == "white noise" else values[399:-1]
    forecasts = run(values, long_series=long_series)[400:]
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


def test_an_autoregression_is_forecast_within_five_percent_of_its_innovations() -> None:
    noise = np.random.default_rng(11).normal(size=(3000, 30))
    values = np.zeros_like(noise)
    for t in range(2, len(values)):
        values[t] = 1.2 * values[t - 1] - 0.5 * values[t - 2] + noise[t]
    assert ((run(values) - values)[400:] ** 2).mean() <= 1.05


@pytest.mark.parametrize("kind", ["quantised", "heavy tails", "on and off", "slow counter"])
def test_persistence_is_not_lost_to_in_absolute_error(kind: str) -> None:
    random = np.random.default_rng(13)
    steps, series = 3000, 24
    noise = random.normal(size=(steps, series))
    values = {
        "quantised": np.round((noise * 0.15).cumsum(axis=0)),
        "heavy tails": random.standard_t(2.2, size=(steps, series)).cumsum(axis=0),
        "on and off": np.where((random.random((steps, series)) < 0.02).cumsum(axis=0) % 2 == 1, 30.0, 0.0),
        "slow counter": np.floor(np.arange(steps)[:, None] / 7 + random.random((1, series)) * 7),
    }[kind]
    error = np.abs(run(values) - values)[400:].mean()
    assert error <= 1.005 * np.abs(np.diff(values, axis=0))[399:].mean()


def test_a_daily_season_beats_persistence_by_far() -> None:
    random = np.random.default_rng(17)
    hours = np.arange(24 * 60)[:, None]
    values = 10 * np.sin(2 * np.pi * hours / 24) + random.normal(size=(24 * 60, 8)) + 100
    error = np.abs(run(values, HOUR_NS) - values)[500:].mean()
    assert error < 0.5 * np.abs(np.diff(values, axis=0))[499:].mean()
    # The best possible error is that of the noise, √(2/π).
    assert error < 1.12 * np.sqrt(2 / np.pi)


def test_the_future_does_not_leak() -> None:
    values = np.random.default_rng(19).normal(size=(300, 4)).cumsum(axis=0)
    other = values.copy()
    other[200:] = 1e6
    np.testing.assert_array_equal(run(values, HOUR_NS)[:200], run(other, HOUR_NS)[:200])
    # The forecast of row 200 is made from the rows before it too.
    np.testing.assert_array_equal(run(values, HOUR_NS)[200], run(other, HOUR_NS)[200])


def test_a_newborn_series_starts_from_persistence() -> None:
    panel = Panel(ExpertSettings(), network_members=2, capacity=1)
    slot, no = np.array([0]), np.array([False])
    panel.update(slot, np.array([7.5]), slot, slot, no)
    assert panel.forecast(slot, np.array([[1.0, 9.0]]), no)[0] == 7.5
    forecasts, weights = panel.outlook(slot)
    assert weights[0].tolist() == [1.0] + [0.0] * (len(panel.names) - 1)
    assert forecasts[0].tolist() == [7.5] * len(panel.names)


def test_a_good_network_is_given_the_weight() -> None:
    random = np.random.default_rng(23)
    values = random.normal(size=(600, 1)).cumsum(axis=0)
    panel = Panel(ExpertSettings(), network_members=1, capacity=1)
    slot, no, yes = np.array([0]), np.array([False]), np.array([True])
    for t in range(599):
        panel.update(slot, values[t], np.array([t]), np.array([0]), no)
        panel.forecast(slot, values[t + 1][:, None] + random.normal() * 0.1, yes)
    assert panel.outlook(slot)[1][0, panel.names.index("lstm0")] > 0.9


def test_an_expert_that_is_switched_off_is_not_there() -> None:
    off = ExpertSettings(drift=False, seasonal=False, autoregression=False)
    panel = Panel(off, network_members=1, capacity=1)
    assert panel.names == ("persistence", "level", "median", "lstm0")
    assert panel.bytes_per_series() < Panel(ExpertSettings(), network_members=1).bytes_per_series()
    slot, no = np.array([0]), np.array([False])
    for t in range(50):
        panel.update(slot, np.array([float(t)]), slot + t, slot, no)
        assert np.isfinite(panel.forecast(slot, None, no)).all()


def test_a_reset_slot_is_a_newborn() -> None:
    values = np.random.default_rng(29).normal(size=(100, 1)).cumsum(axis=0)
    slot, no = np.array([1]), np.array([False])
    used, fresh = Panel(ExpertSettings(), 0, 2), Panel(ExpertSettings(), 0, 2)
    for t in range(100):
        used.update(slot, values[t] * 3 + 5, slot + t, slot, no)
        used.forecast(slot, None, no)
    used.reset(slot)
    for t in range(100):
        for panel in (used, fresh):
            panel.update(slot, values[t], slot + t, slot, no)
        assert used.forecast(slot, None, no) == fresh.forecast(slot, None, no)


def test_growing_changes_nothing() -> None:
    values = np.random.default_rng(31).normal(size=(60, 1)).cumsum(axis=0)
    slot, no = np.array([0]), np.array([False])
    small, large = Panel(ExpertSettings(long_series=3), 0, 1), Panel(ExpertSettings(long_series=3), 0, 8)
    for t in range(60):
        if t == 30:
            small.grow(8)
            assert small.capacity == 8
        for panel in (small, large):
            panel.update(slot, values[t], slot + t, slot, no)
        assert small.forecast(slot, None, no) == large.forecast(slot, None, no)
