"""The mixture stays on the simplex, follows the best expert through its changes, and starts where it should."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stepahead.contract.records import BoolArray, FloatArray
from stepahead.experts.mixture import Mixture


def mix(mixture: Mixture, moves: FloatArray, target: FloatArray) -> FloatArray:
    """Mixed forecasts [T] of one series from experts [T, E]."""
    slot, yes = np.array([0]), np.array([True])
    mixture.ready[0] = bits(np.ones((1, moves.shape[1]), np.bool_))[0]
    mixed = np.empty(len(moves))
    for t in range(len(moves)):
        mixture.moves[0] = moves[t]
        mixed[t] = mixture.mix(slot)[0]
        assert mixture.update(slot, target[t : t + 1], yes).all()
    return mixed


def bits(ready: BoolArray) -> NDArray[np.uint32]:
    """Flags of experts [n, E] as the mixture has them, uint32[n]."""
    flags: NDArray[np.uint32] = (ready << np.arange(ready.shape[1])).sum(axis=1).astype(np.uint32)
    return flags


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_weights_are_on_the_simplex_and_zero_where_not_ready(seed: int) -> None:
    random = np.random.default_rng(seed)
    experts, series = 6, 9
    mixture = Mixture(experts, capacity=series)
    slots, yes = np.arange(series), np.ones(series, np.bool_)
    for _ in range(30):
        ready = random.random((series, experts)) < 0.7
        ready[:, 0] = True
        moves = (random.standard_cauchy((series, experts)) * ready).clip(-64, 64).astype(np.float32)
        mixture.moves[:], mixture.ready[:] = moves, bits(ready)
        weights = mixture.weights(slots)
        assert (weights >= 0).all()
        assert (weights[~ready] == 0).all()
        np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
        mixed = mixture.mix(slots)
        np.testing.assert_allclose(mixed, (weights * moves).sum(axis=1), rtol=1e-5, atol=1e-5)
        mixture.update(slots, random.standard_cauchy(series).clip(-8, 8), yes)


def test_a_newborn_starts_from_the_prior() -> None:
    mixture = Mixture(4, first_share=0.4, capacity=1)
    mixture.ready[0] = 0b1111
    weights = mixture.weights(np.array([0]))
    np.testing.assert_allclose(weights[0], [0.4, 0.2, 0.2, 0.2], rtol=1e-6)


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
    mixed = mix(Mixture(2, discount=1.0, first_share=0.5, capacity=1), moves, target)
    combination = moves.mean(axis=1)
    regret = np.cumsum((mixed - target) ** 2 - (combination - target) ** 2)
    # With equal priors, as the bound has them, it is of the order of sqrt(T log E) times the squared error of an
    # expert, here 0.25.
    for horizon in (500, 2000, 8000):
        assert regret[horizon - 1] <= 0.25 * np.sqrt(horizon * np.log(2))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_series_together_equal_each_alone(seed: int) -> None:
    random = np.random.default_rng(seed)
    experts, series = 11, 6
    together = Mixture(experts, capacity=series)
    alone = [Mixture(experts, capacity=1) for _ in range(series)]
    for _ in range(20):
        slots = random.permutation(series)[: random.integers(1, series + 1)]
        moves = random.normal(size=(len(slots), experts)).astype(np.float32)
        ready = random.random(moves.shape) < 0.8
        ready[:, 0] = True
        target, learns = random.normal(size=len(slots)), random.random(len(slots)) < 0.9
        together.moves[slots], together.ready[slots] = moves, bits(ready)
        weights, mixed = together.weights(slots), together.mix(slots)
        scored = together.update(slots, target, learns)
        for i, slot in enumerate(slots):
            one, mine = slice(i, i + 1), alone[slot]
            mine.moves[0], mine.ready[0] = moves[i], bits(ready[one])[0]
            assert (mine.weights(np.array([0]))[0] == weights[i]).all()
            assert mine.mix(np.array([0]))[0] == mixed[i]
            assert mine.update(np.array([0]), target[one], learns[one])[0] == scored[i]
    for slot in range(series):
        np.testing.assert_array_equal(together.regret[slot], alone[slot].regret[0])


def test_what_was_not_mixed_or_has_no_target_is_not_scored() -> None:
    mixture, slots = Mixture(2, capacity=3), np.arange(3)
    mixture.moves[:], mixture.ready[:] = [0.0, 1.0], 0b11
    mixture.mix(slots[:2])
    assert mixture.update(slots, np.ones(3), np.array([True, False, True])).tolist() == [True, False, False]
    assert (mixture.regret[0] != 0).any()
    assert (mixture.regret[1:] == 0).all()
    assert not mixture.update(slots, np.ones(3), np.ones(3, np.bool_)).any()
