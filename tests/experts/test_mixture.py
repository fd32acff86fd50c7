"""The mixture stays on the simplex, follows the best expert through its changes, and starts where it should."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stepahead.contract.records import FloatArray
from stepahead.experts.mixture import Mixture


def mix(mixture: Mixture, moves: FloatArray, target: FloatArray) -> FloatArray:
    """Mixed forecasts [T] of one series from experts [T, E]."""
    rows, ready = slice(0, 1), np.ones((moves.shape[1], 1), dtype=np.bool_)
    mixed = np.empty(len(moves))
    for t in range(len(moves)):
        now = moves[t][:, None].astype(np.float32)
        answer = (mixture.weights(rows, ready) * now).sum(axis=0)
        mixture.update(rows, now, ready, answer, target[t : t + 1])
        mixed[t] = answer[0]
    return mixed


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_weights_are_on_the_simplex_and_zero_where_not_ready(seed: int) -> None:
    random = np.random.default_rng(seed)
    experts, series = 6, 9
    mixture = Mixture(experts, capacity=series)
    rows = slice(0, series)
    for _ in range(30):
        ready = random.random((experts, series)) < 0.7
        ready[0] = True
        moves = (random.standard_cauchy((experts, series)) * ready).clip(-64, 64).astype(np.float32)
        weights = mixture.weights(rows, ready)
        assert (weights >= 0).all()
        assert (weights[~ready] == 0).all()
        np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=1e-5)
        mixture.update(rows, moves, ready, (weights * moves).sum(axis=0), random.standard_cauchy(series).clip(-8, 8))


def test_a_newborn_starts_from_the_prior() -> None:
    weights = Mixture(4, first_share=0.4, capacity=1).weights(slice(0, 1), np.ones((4, 1), dtype=np.bool_))
    np.testing.assert_allclose(weights[:, 0], [0.4, 0.2, 0.2, 0.2], rtol=1e-6)


def test_the_best_expert_is_followed_through_adversarial_switching() -> None:
    random = np.random.default_rng(5)
    steps, experts, block = 6000, 5, 1000
    target = random.normal(size=steps)
    best = (np.arange(steps) // block) % experts
    moves = target[:, None] + random.normal(size=(steps, experts)) * 2
    moves[np.arange(steps), best] = target + random.normal(size=steps) * 0.2
    mixed = mix(Mixture(experts, capacity=1), moves, target)
    error = np.abs(mixed - target)
    of_best = np.abs(moves[np.arange(steps), best] - target)
    # Within a block, once it has had a fifth of it to change its mind, it is as good as the best expert to 10%.
    settled = (np.arange(steps) % block) >= block // 5
    assert error[settled].mean() <= 1.1 * of_best[settled].mean()
    assert error.mean() < 0.5 * np.abs(moves - target[:, None]).mean(axis=0).min()


def test_the_regret_against_the_best_convex_combination_is_sublinear() -> None:
    random = np.random.default_rng(6)
    steps = 8000
    target = random.normal(size=steps)
    # Two experts with independent errors: their mean has half the squared error of either.
    moves = target[:, None] + random.normal(size=(steps, 2)) * 0.5
    mixed = mix(Mixture(2, discount=1.0, capacity=1), moves, target)
    combination = moves.mean(axis=1)
    regret = np.cumsum((mixed - target) ** 2 - (combination - target) ** 2)
    # The bound is of the order of sqrt(T log E) times the squared error of an expert, here 0.25.
    for horizon in (500, 2000, 8000):
        assert regret[horizon - 1] <= 0.25 * np.sqrt(horizon * np.log(2))


def test_what_mostly_repeats_itself_is_left_to_persistence() -> None:
    random = np.random.default_rng(8)
    jump = np.where(random.random(3000) < 0.1, random.normal(size=3000) * 5, 0.0)
    # The second expert is right on average after each jump and slightly off always.
    moves = np.stack([np.zeros(3000), random.normal(size=3000) * 0.3], axis=1)
    mixed = mix(Mixture(2, capacity=1), moves, jump.clip(-8, 8))
    assert np.abs(mixed - jump)[500:].mean() <= 1.005 * np.abs(jump)[500:].mean()


def test_least_bend_trades_the_median_for_the_mean_of_a_feed_that_jumps() -> None:
    random = np.random.default_rng(9)
    target = np.where(random.random(4000) < 0.2, 4.0, 0.0)
    # The median is 0, the mean 0.8; both experts are always right about theirs.
    moves = np.stack([np.zeros(4000), np.full(4000, 0.8)], axis=1)
    near_median, near_mean = (
        mix(Mixture(2, least_bend=least, capacity=1), moves, target)[1000:].mean() for least in (0.01, 1.0)
    )
    assert near_median < 0.1
    assert near_mean > 2 * near_median


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_series_together_equal_each_alone(seed: int) -> None:
    random = np.random.default_rng(seed)
    experts, series = 11, 6
    together = Mixture(experts, capacity=series)
    alone = [Mixture(experts, capacity=1) for _ in range(series)]
    for _ in range(20):
        slots = random.permutation(series)[: random.integers(1, series + 1)]
        moves = random.normal(size=(experts, len(slots))).astype(np.float32)
        ready = random.random(moves.shape) < 0.8
        ready[0] = True
        mixed, target = random.normal(size=len(slots)).astype(np.float32), random.normal(size=len(slots))
        weights = together.weights(slots, ready)
        together.update(slots, moves, ready, mixed, target)
        for i, slot in enumerate(slots):
            one = slice(i, i + 1)
            assert (alone[slot].weights(slice(0, 1), ready[:, one])[:, 0] == weights[:, i]).all()
            alone[slot].update(slice(0, 1), moves[:, one], ready[:, one], mixed[one], target[one])
