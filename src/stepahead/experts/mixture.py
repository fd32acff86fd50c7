"""The mixture: experts weighed online, per series, with a bound on how much worse than the best of them it can be."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column
from stepahead.contract.records import BoolArray, FloatArray
from stepahead.experts.rows import Rows

__all__ = ["Mixture", "turned"]

SPREAD_RATE = np.float32(0.01)
MIDDLE_UP = np.float32(1.015)
"""A running median by stochastic approximation: up by this factor when below, down by it when above."""


class Mixture(Bank):
    """Bernstein online aggregation of experts under Huber's loss, discounted so that it can change its mind.

    Each expert is weighed by `prior × rate × exp(rate × regret)`. Its regret is the loss of the mixture minus its own,
    linearised at the mixture (the gradient trick, so that the mixture competes with the best *convex combination*) and
    corrected by the second-order term of Bernstein aggregation. The rate falls as the regret varies, so an
    expert that differs little from the others is told apart as surely as one that differs much. Losses are measured
    in units of the mixture's own running error: an error below `bend` running *medians* of its size counts by
    its square, above by its size. The median and not the mean, since a feed that mostly repeats itself and jumps now
    and then has a median error near 0, and there persistence must win.

    With discount 1 the regret against every convex combination grows like the square root of its own variance, as in
    the papers; with a discount γ the same bound holds over the last 1/(1-γ) readings, whichever they are.

    Arrays are handed over experts first, [E, n]: one contiguous vector per expert.

    Args:
        experts: number of experts, E; the first is the one that is always ready.
        discount: γ, factor on past regrets and variances at each step.
        first_share: prior weight of the first expert; the others share the rest.
        bend: where Huber's loss turns from squared to absolute, in running medians of the absolute error.
        least_bend: the median is taken as no less than this share of the running mean: with 1 a feed that mostly stands
            still and jumps is forecast near its mean, with 0.01 near its median.
        capacity: number of slots to start with.

    Source:
        Wintenberger, Optimal learning with Bernstein online aggregation, Machine Learning 106 (2017), sections 2
        and 3 (adaptive rates, one per expert); Gaillard, Stoltz & van Erven, A second-order bound with excess losses,
        COLT 2014, for the bound; Cesa-Bianchi & Lugosi, Prediction, Learning, and Games (2006), sections 2.5
        (gradients) and 2.11 (discounts).

    Example:
        >>> mixture = Mixture(experts=2, capacity=1)
        >>> slots, ready = np.array([0]), np.array([[True], [True]])
        >>> moves = np.array([[0.0], [1.0]], dtype=np.float32)
        >>> for _ in range(200):
        ...     weights = mixture.weights(slots, ready)
        ...     mixture.update(slots, moves, ready, (weights * moves)[0] + (weights * moves)[1], np.array([1.0]))
        >>> bool(mixture.weights(slots, ready)[1, 0] > 0.9)
        True
    """

    regret: NDArray[np.float32]
    variance: NDArray[np.float32]
    spread: NDArray[np.float32]
    middle: NDArray[np.float32]

    MOST_RATE = 0.25
    FAR = 2.0
    """An expert's distance from the mixture counts up to so many errors; rate × regret ≤ 1/2, as the bound asks."""

    def __init__(
        self,
        experts: int,
        discount: float = 0.998,
        first_share: float = 0.3,
        bend: float = 1.2,
        least_bend: float = 0.02,
        capacity: int = 0,
    ) -> None:
        self.experts = experts
        self.discount = np.float32(discount)
        self.bend = np.float32(bend)
        self.least_bend = np.float32(least_bend)
        prior = np.full(experts, (1 - first_share) / max(experts - 1, 1))
        prior[0] = first_share if experts > 1 else 1.0
        self._log_prior = np.log(prior).astype(np.float32)[:, None]
        self._log_experts = np.float32(np.log(max(experts, 2)))
        super().__init__(
            {
                "regret": Column(np.float32, (experts,)),
                "variance": Column(np.float32, (experts,)),
                "spread": Column(np.float32, (), 1.0),
                "middle": Column(np.float32, (), 1.0),
            },
            capacity,
        )

    def weights(self, rows: Rows, ready: BoolArray) -> NDArray[np.float32]:
        """Weights float32[E, n], not negative, of sum 1; zero where an expert is not ready.

        Args:
            rows: distinct slots, [n].
            ready: bool[E, n]; the first expert is always ready.
        """
        rate = self._rates(turned(self.variance[rows]))
        score = turned(self.regret[rows])
        score *= rate
        score += self._log_prior
        score[~ready] = -np.inf
        score -= score.max(axis=0)
        weight: NDArray[np.float32] = np.exp(score)
        weight *= rate
        # Summed one by one: NumPy's own sum rounds differently for one series and for many.
        total = weight[0].copy()
        for row in weight[1:]:
            total += row
        weight /= total
        return weight

    def update(
        self,
        rows: Rows,
        moves: NDArray[np.float32],
        ready: BoolArray,
        mixed: NDArray[np.float32],
        target: FloatArray,
    ) -> None:
        """Score the experts' forecasts of one target a series.

        Args:
            rows: distinct slots, [n].
            moves: float32[E, n], the experts' forecasts, bounded.
            ready: bool[E, n]; an expert that was not ready neither gains nor loses.
            mixed: float32[n], what the mixture made of them.
            target: float64[n], bounded by the caller.
        """
        spread = self.spread[rows]
        error = mixed - target.astype(np.float32)
        size = np.abs(error)
        middle = self.middle[rows]
        bend = self.bend * np.maximum(middle, self.least_bend * spread)
        slope = np.clip(error / bend, -1, 1)
        variance = turned(self.variance[rows])
        gain = (mixed - moves) / spread
        np.clip(gain, -self.FAR, self.FAR, out=gain)
        gain *= slope
        gain *= ready
        square = gain * gain
        gain -= self._rates(variance) * square
        self.regret[rows] = self.regret[rows] * self.discount + gain.T
        variance *= self.discount
        variance += square
        self.variance[rows] = variance.T
        # Five errors at most, so that a spike does not blind the mixture to what comes after it.
        moved = spread + SPREAD_RATE * (np.minimum(size, 5 * spread) - spread)
        self.spread[rows] = np.where(ready[0], np.maximum(moved, np.float32(0.01)), spread)
        middle = middle * np.where(size > middle, MIDDLE_UP, 1 / MIDDLE_UP)
        self.middle[rows] = np.where(ready[0], np.clip(middle, np.float32(1e-4), np.float32(1e4)), self.middle[rows])

    def _rates(self, variance: NDArray[np.float32]) -> NDArray[np.float32]:
        rate: NDArray[np.float32] = np.sqrt(self._log_experts / (variance + np.float32(1e-3)))
        return np.minimum(rate, np.float32(self.MOST_RATE), out=rate)


def turned(array: NDArray[Any]) -> NDArray[Any]:
    """A transposed copy: experts first, and never a view of the bank, also for one series."""
    return np.array(array.T, order="C", copy=True)
