"""Standing still is learned where a feed repeats itself, and given up where it does not."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stepahead.contract.records import FloatArray
from stepahead.experts.stillness import Stillness


def settle_all(stillness: Stillness, moves: FloatArray, targets: FloatArray) -> FloatArray:
    """Published moves [T] of one series, each made before its target is shown."""
    slots, one = np.array([0]), np.array([True])
    published = np.empty(len(moves))
    still = np.array([False])
    for t in range(len(moves)):
        move = moves[t : t + 1].astype(np.float32)
        published[t] = stillness.settle(slots, move, still)[0]
        stillness.learn(slots, move, targets[t : t + 1].clip(-8, 8), one)
        still = targets[t : t + 1] == 0
    return published


def test_a_feed_that_repeats_itself_is_forecast_to_repeat_itself() -> None:
    random = np.random.default_rng(1)
    target = np.where(random.random(4000) < 0.2, 4.0, 0.0)
    mean = np.full(4000, 0.8)  # the best forecast in squared error
    late = slice(500, None)
    median = settle_all(Stillness(squared_share=0.0, capacity=1), mean, target)
    assert (
        np.abs(median - target)[late].mean() <= 1.01 * np.abs(target)[late].mean() < np.abs(mean - target)[late].mean()
    )


def test_large_moves_are_made_where_small_ones_are_not_worth_it() -> None:
    random = np.random.default_rng(2)
    spikes = random.random(6000) < 0.1
    # A spike returns at the next reading, which is foreseen; that a spike comes is not, only how often.
    target = np.where(spikes, 5.0, np.where(np.roll(spikes, 1), -5.0, 0.0))
    moves = np.where(np.roll(spikes, 1), -5.0, 0.45)
    published = settle_all(Stillness(capacity=1), moves, target)
    error, of_moves, of_none = (np.abs(x - target)[1000:].mean() for x in (published, moves, np.zeros(6000)))
    foreseen = np.roll(spikes, 1) & ~spikes
    np.testing.assert_allclose(published[1000:][foreseen[1000:]], -5.0, atol=0.25)
    assert error < 0.75 * min(of_moves, of_none)


def test_what_never_repeats_is_left_as_it_is() -> None:
    random = np.random.default_rng(3)
    moves = random.normal(size=4000)
    target = moves + random.normal(size=4000) * 0.5
    published = settle_all(Stillness(capacity=1), moves, target)
    best, ours = ((x - target)[500:] for x in (moves, published))
    assert (ours**2).mean() <= 1.005 * (best**2).mean()
    assert np.abs(ours).mean() <= 1.005 * np.abs(best).mean()


def test_skewed_errors_are_halved_by_the_forecast_and_not_balanced() -> None:
    random = np.random.default_rng(5)
    moves = random.normal(size=8000)
    target = moves + random.exponential(size=8000) - 1.0  # their mean is 0, their median log 2 - 1
    published = settle_all(Stillness(squared_share=0.25, capacity=1), moves, target)
    error = (target - published)[2000:]
    assert abs((error > 0).mean() - 0.5) < 0.02
    # The least possible mean absolute error is log 2, that around the mean is 2 / e.
    assert np.abs(error).mean() / np.abs(target - moves)[2000:].mean() < 1.01 * np.log(2) / (2 / np.e)


def test_the_context_tells_a_moment_of_rest_from_a_moment_of_change() -> None:
    random = np.random.default_rng(4)
    busy = (np.arange(8000) // 40) % 2 == 1
    moves = np.full(8000, 0.8)
    target = np.where(busy, moves + random.normal(size=8000) * 0.1, np.where(random.random(8000) < 0.02, 1.0, 0.0))
    published = settle_all(Stillness(squared_share=0.0, capacity=1), moves, target)
    settled = np.arange(8000) % 40 > 3
    settled[:2000] = False
    assert np.abs(published[settled & busy] - 0.8).mean() < 0.1
    assert np.abs(published[settled & ~busy]).mean() < 0.1


def test_a_change_of_habit_is_followed() -> None:
    moves = np.full(4000, 0.6)
    target = np.where(np.arange(4000) < 2000, 0.0, 0.6)
    published = settle_all(Stillness(capacity=1), moves, target)
    assert np.abs(published[1500:2000]).max() < 0.05
    np.testing.assert_allclose(published[3500:], 0.6, atol=0.05)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_series_together_equal_each_alone_and_stay_finite(seed: int) -> None:
    random = np.random.default_rng(seed)
    series = 7
    together = Stillness(capacity=series)
    alone = [Stillness(capacity=1) for _ in range(series)]
    for _ in range(30):
        slots = random.permutation(series)[: random.integers(1, series + 1)]
        move = (random.standard_cauchy(len(slots)) * (random.random(len(slots)) < 0.8)).clip(-64, 64).astype(np.float32)
        target = (random.standard_cauchy(len(slots)) * (random.random(len(slots)) < 0.5)).clip(-8, 8)
        still, scored = random.random(len(slots)) < 0.5, random.random(len(slots)) < 0.9
        published = together.settle(slots, move, still)
        together.learn(slots, move, target, scored)
        assert np.isfinite(published).all()
        assert (np.abs(published) <= np.abs(move) + 0.002 * 30 * together.size[slots].max(axis=1)).all()
        assert (published[move == 0] == 0).all()
        for i, slot in enumerate(slots):
            one, cut = np.array([0]), slice(i, i + 1)
            assert alone[slot].settle(one, move[cut], still[cut])[0] == published[i]
            alone[slot].learn(one, move[cut], target[cut], scored[cut])
    for slot in range(series):
        np.testing.assert_array_equal(together.regret[slot], alone[slot].regret[0])
        np.testing.assert_array_equal(together.square[slot], alone[slot].square[0])
