"""Levels, medians and the unit equal their batch twins after every step."""

import numpy as np

from stepahead.experts.track import SPANS, Track
from stepahead.experts.unit import Unit


def test_levels_and_medians_equal_their_batch_twins() -> None:
    values = np.random.default_rng(0).normal(size=80).cumsum()
    track, slot = Track(capacity=1), np.array([0])
    for t, value in enumerate(values):
        change = value - values[max(t - 1, 0)]
        track.update(slot, values[t : t + 1], np.array([1.0]), np.array([change]), np.array([t == 0]))
        for k, span in enumerate(SPANS):
            # Exponential smoothing in closed form: (1-a)^t x_0 + a Σ (1-a)^(t-i) x_i.
            rate = 2 / (span + 1)
            weights = rate * (1 - rate) ** np.arange(t, -1, -1)
            weights[0] = (1 - rate) ** t
            np.testing.assert_allclose(track.level[0, k], weights @ values[: t + 1], rtol=1e-12)
        if t >= 4:
            assert track.median(slot)[0] == np.median(values[t - 4 : t + 1])
        expected = np.diff(values[: t + 1])[::-1][: track.lags].clip(-8, 8).astype(np.float32)
        np.testing.assert_array_equal(track.changes[0, : len(expected)], expected)


def test_the_unit_is_the_mean_of_absolute_changes_while_young() -> None:
    changes = np.random.default_rng(1).uniform(0.5, 1.5, size=400)
    unit, slot, yes = Unit(capacity=1), np.array([0]), np.array([True])
    for k, change in enumerate(changes):
        unit.update(slot, np.array([change if k % 2 else -change]), yes)
        np.testing.assert_allclose(unit.size[0], changes[: k + 1].mean(), rtol=1e-12)


def test_a_jump_of_any_size_hardly_moves_the_unit() -> None:
    unit, slot, yes = Unit(capacity=1), np.array([0]), np.array([True])
    for _ in range(1000):
        unit.update(slot, np.array([1.0]), yes)
    unit.update(slot, np.array([1e300]), yes)
    assert unit.size[0] <= 1 + 8 / 500


def test_the_unit_follows_a_series_that_became_livelier() -> None:
    unit, slot, yes = Unit(capacity=1), np.array([0]), np.array([True])
    for t in range(3000):
        unit.update(slot, np.array([1.0 if t < 500 else 1000.0]), yes)
    assert 500 < unit.size[0] <= 1000


def test_no_change_has_no_unit() -> None:
    unit, slot = Unit(capacity=1), np.array([0])
    unit.update(slot, np.array([0.0]), np.array([True]))
    assert unit.inverse(slot)[0] == 0
