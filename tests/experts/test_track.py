"""Levels, medians and the unit equal their batch twins after every step."""

import numpy as np

from stepahead.contract.changes import Changes
from stepahead.experts.median import median_move
from stepahead.experts.track import SPANS, Track
from stepahead.experts.unit import Unit


def test_levels_equal_their_batch_twins() -> None:
    values = np.random.default_rng(0).normal(size=80).cumsum()
    track, slot = Track(capacity=1), np.array([0])
    for t, value in enumerate(values):
        track.update(slot, values[t : t + 1], np.array([t == 0]))
        assert (track.last[0], track.seen[0]) == (value, t + 1)
        for k, span in enumerate(SPANS):
            # Exponential smoothing in closed form: (1-a)^t x_0 + a Σ (1-a)^(t-i) x_i.
            rate = 2 / (span + 1)
            weights = rate * (1 - rate) ** np.arange(t, -1, -1)
            weights[0] = (1 - rate) ** t
            np.testing.assert_allclose(track.level[0, k], weights @ values[: t + 1], rtol=1e-12)


def test_the_median_is_that_of_the_last_five() -> None:
    values = np.random.default_rng(0).normal(size=80).cumsum()
    changes, slot = Changes(length=16, capacity=1), np.array([0])
    for t, value in enumerate(values):
        changes.append(slot, np.array([value - values[max(t - 1, 0)]]), np.array([t == 0]))
        ring, scale, count, head = changes.state
        five = np.concatenate((np.full(4, values[0]), values))[t : t + 5]
        # Each change is rounded to one part in 2,048.
        move = median_move(ring[0], scale[0], head[0], count[0])
        np.testing.assert_allclose(value + move, np.median(five), atol=np.ptp(five) * 4 / 2048)


def test_the_unit_is_the_mean_of_absolute_changes_while_young() -> None:
    changes = np.random.default_rng(1).uniform(0.5, 1.5, size=400)
    unit, slot, no = Unit(capacity=1), np.array([0]), np.array([False])
    for k, change in enumerate(changes):
        unit.update(slot, np.array([change if k % 2 else -change]), no)
        np.testing.assert_allclose(unit.size[0], changes[: k + 1].mean(), rtol=1e-12)


def test_a_jump_of_any_size_hardly_moves_the_unit() -> None:
    unit, slot, no = Unit(capacity=1), np.array([0]), np.array([False])
    for _ in range(1000):
        unit.update(slot, np.array([1.0]), no)
    unit.update(slot, np.array([1e300]), no)
    assert unit.size[0] <= 1 + 8 / 500


def test_the_unit_follows_a_series_that_became_livelier() -> None:
    unit, slot, no = Unit(capacity=1), np.array([0]), np.array([False])
    for t in range(3000):
        unit.update(slot, np.array([1.0 if t < 500 else 1000.0]), no)
    assert 500 < unit.size[0] <= 1000


def test_no_change_has_no_unit() -> None:
    unit, slot = Unit(capacity=1), np.array([0])
    assert unit.update(slot, np.array([0.0]), np.array([False]))[0] == 0
