"""The mixture: experts weighed online, per series, with a bound on how much worse than the best of them it can be."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column, Slots, indices
from stepahead.contract.compiled import compiled
from stepahead.contract.exponential import exp
from stepahead.contract.records import BoolArray, FloatArray

__all__ = ["Mixture"]

SPREAD_RATE = 0.01
LEAST_SPREAD = 0.01
MOST_SPREADS = 5.0
"""An error enters the spread as at most so many of it: a spike shall not blind the mixture to what comes after it."""


class Mixture(Bank):
    """Bernstein online aggregation of experts under Huber's loss, discounted so that it can change its mind.

    Each expert is weighed by `prior × rate × exp(rate × regret)`. Its regret is the loss of the mixture minus its own,
    linearised at the mixture (the gradient trick, so that the mixture competes with the best *convex combination*) and
    corrected by the second-order term of Bernstein aggregation. The rate falls as the regret varies, so an
    expert that differs little from the others is told apart as surely as one that differs much. Losses are measured
    in units of the mixture's own running error: an error below `bend` of them counts by its square, above by its size.
    So the mixture heads for the mean of what may come, without being led by single spikes; `Stillness` decides whether
    the move towards it is worth making.

    With discount 1 the regret against every convex combination grows like the square root of its own variance, as in
    the papers; with a discount γ the same bound holds over the last 1/(1-γ) readings, whichever they are.

    Experts write their forecasts of the next reading into `moves` and set their bits in `ready`; there they wait,
    mixed, for the reading.

    Args:
        experts: number of experts, E, at most 32; the first is the one that is always ready.
        discount: γ, factor on past regrets and variances at each step.
        first_share: prior weight of the first expert; the others share the rest.
        bend: where Huber's loss turns from squared to absolute, in running means of the absolute error.
        capacity: number of slots to start with.

    Source:
        Wintenberger, Optimal learning with Bernstein online aggregation, Machine Learning 106 (2017), sections 2
        and 3 (adaptive rates, one per expert); Gaillard, Stoltz & van Erven, A second-order bound with excess losses,
        COLT 2014, for the bound; Cesa-Bianchi & Lugosi, Prediction, Learning, and Games (2006), sections 2.5
        (gradients) and 2.11 (discounts).

    Example:
        >>> mixture = Mixture(experts=2, capacity=1)
        >>> slots, yes = np.array([0]), np.array([True])
        >>> mixture.moves[0], mixture.ready[0] = [0.0, 1.0], 0b11
        >>> for _ in range(200):
        ...     mixed = mixture.mix(slots)
        ...     scored = mixture.update(slots, np.array([1.0]), yes)
        >>> bool(mixture.weights(slots)[0, 1] > 0.9)
        True
    """

    regret: NDArray[np.float32]
    variance: NDArray[np.float32]
    spread: NDArray[np.float32]
    moves: NDArray[np.float32]
    ready: NDArray[np.uint32]
    mixed: NDArray[np.float32]
    issued: NDArray[np.bool_]

    MOST_RATE = 0.25
    FAR = 2.0
    """An expert's distance from the mixture counts up to so many errors; rate × regret ≤ 1/2, as the bound asks."""

    def __init__(
        self,
        experts: int,
        discount: float = 0.998,
        first_share: float = 0.1,
        bend: float = 3.5,
        capacity: int = 0,
    ) -> None:
        self.experts = experts
        prior = np.full(experts, (1 - first_share) / max(experts - 1, 1))
        prior[0] = first_share if experts > 1 else 1.0
        self._log_prior = np.log(prior).astype(np.float32)
        # In one array of single precision: a number written into a compiled loop would make it float64.
        self._rate = np.array([np.log(max(experts, 2)), 1e-3, self.MOST_RATE, 0.0], np.float32)
        self._learning = np.array(
            [discount, bend, self.FAR, SPREAD_RATE, LEAST_SPREAD, MOST_SPREADS, 1.0, 0.0], np.float32
        )
        super().__init__(
            {
                "regret": Column(np.float32, (experts,)),
                "variance": Column(np.float32, (experts,)),
                "spread": Column(np.float32, (), 1.0),
                "moves": Column(np.float32, (experts,)),
                "ready": Column(np.uint32),
                "mixed": Column(np.float32),
                "issued": Column(np.bool_),
            },
            capacity,
        )

    def weights(self, slots: Slots) -> NDArray[np.float32]:
        """Weights float32[n, E], not negative, of sum 1; zero where an expert is not ready; the first always is."""
        weight = np.empty((len(slots), self.experts), np.float32)
        _weigh_all(indices(slots), self.regret, self.variance, self.ready, self._log_prior, self._rate, weight)
        return weight

    def mix(self, slots: Slots) -> NDArray[np.float32]:
        """The weighted mean of the moves that wait, float32[n], within their bounds; it waits beside them."""
        mixed = np.empty(len(slots), np.float32)
        state = (self.regret, self.variance, self.moves, self.ready, self.mixed, self.issued)
        _mix_all(indices(slots), *state, self._log_prior, self._rate, mixed)
        return mixed

    def update(self, slots: Slots, target: FloatArray, learns: BoolArray) -> BoolArray:
        """Score what waits against one target a series; afterwards nothing waits.

        An expert that was not ready neither gains nor loses.

        Args:
            slots: int[n], distinct.
            target: float64[n], the move that came, bounded by the caller.
            learns: bool[n], false where there is no target.

        Returns:
            bool[n], where there was something to score.
        """
        scored = np.empty(len(slots), np.bool_)
        state = (self.regret, self.variance, self.spread, self.moves, self.ready, self.mixed, self.issued)
        _learn_all(indices(slots), *state, target, learns, self._rate, self._learning, scored)
        return scored


@compiled
def _weigh(regret: Any, variance: Any, ready: Any, log_prior: Any, rate: Any, weight: Any, own: Any) -> None:
    """Weights of one series, into `weight`; `own` is room for as many numbers."""
    log_experts, offset, most, zero = rate
    for e in range(len(weight)):  # all of them, ready or not: so several are worked out at a time
        own[e] = min(np.sqrt(log_experts / (variance[e] + offset)), most)
        weight[e] = log_prior[e] + regret[e] * own[e]
    best = weight[0]
    for e in range(1, len(weight)):
        if ready >> e & 1:
            best = max(best, weight[e])
    for e in range(len(weight)):
        weight[e] = exp(weight[e] - best) * own[e]
    total = weight[0]
    for e in range(1, len(weight)):
        if ready >> e & 1:
            total += weight[e]
        else:
            weight[e] = zero
    for e in range(len(weight)):
        weight[e] /= total


@compiled
def _weigh_all(slots: Any, regrets: Any, variances: Any, ready: Any, log_prior: Any, rate: Any, weights: Any) -> None:
    own = np.empty_like(log_prior)
    for i in range(len(slots)):
        slot = slots[i]
        _weigh(regrets[slot], variances[slot], ready[slot], log_prior, rate, weights[i], own)


@compiled
def _mix_all(
    slots: Any,
    regrets: Any,
    variances: Any,
    moves: Any,
    ready: Any,
    waiting: Any,
    issued: Any,
    log_prior: Any,
    rate: Any,
    mixed: Any,
) -> None:
    weight, own = np.empty_like(log_prior), np.empty_like(log_prior)
    for i in range(len(slots)):
        slot = slots[i]
        _weigh(regrets[slot], variances[slot], ready[slot], log_prior, rate, weight, own)
        total = weight[0] * moves[slot, 0]
        for e in range(1, len(weight)):
            total += weight[e] * moves[slot, e]
        mixed[i] = total
        waiting[slot] = total
        issued[slot] = True


@compiled
def _learn_all(
    slots: Any,
    regrets: Any,
    variances: Any,
    spreads: Any,
    moves: Any,
    ready: Any,
    waiting: Any,
    issued: Any,
    targets: Any,
    learns: Any,
    rate: Any,
    learning: Any,
    scored: Any,
) -> None:
    log_experts, offset, most, _ = rate
    discount, bend, far, spread_rate, least_spread, most_spreads, one, zero = learning
    for i in range(len(slots)):
        slot = slots[i]
        scored[i] = learns[i] and issued[slot]
        issued[slot] = False
        if not scored[i]:
            continue
        regret, variance, spread, mixed = regrets[slot], variances[slot], spreads[slot], waiting[slot]
        error = mixed - np.float32(targets[i])
        slope = max(min(error / (bend * spread), one), -one)
        for e in range(len(regret)):
            gain = zero
            if ready[slot] >> e & 1:
                gain = max(min((mixed - moves[slot, e]) / spread, far), -far) * slope
            square = gain * gain
            own = min(np.sqrt(log_experts / (variance[e] + offset)), most)
            regret[e] = regret[e] * discount + gain - own * square
            variance[e] = variance[e] * discount + square
        size = min(abs(error), most_spreads * spread)
        spreads[slot] = max(spread + spread_rate * (size - spread), least_spread)
