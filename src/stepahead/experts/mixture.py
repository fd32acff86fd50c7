"""The mixture: experts weighed online, per series, with a bound on how much worse than the best of them it can be."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column
from stepahead.contract.records import BoolArray, FloatArray

__all__ = ["Mixture"]


class Mixture(Bank):
    """Bernstein online aggregation with the gradient trick, discounted so that it can change its mind.

    Args:
        experts: number of experts, E; the first is the one that a newborn series starts from.
        forgetting: factor on past regrets and variances at each step.
        first_share: prior weight of the first expert; the others share the rest.
        capacity: number of slots to start with.

    Source:
        Wintenberger, Optimal learning with Bernstein online aggregation, Machine Learning 106 (2017), eq. (2.6) and
        the adaptive rates of its section 3; Gaillard, Stoltz & van Erven, COLT 2014, for the second-order bound.

    Example:
        >>> mixture = Mixture(experts=2, capacity=1)
        >>> slots, there = np.array([0]), np.array([[True, True]])
        >>> for _ in range(200):
        ...     mixture.update(slots, np.array([[0.0, 1.0]]), there, np.array([1.0]))
        >>> bool(mixture.weights(slots, there)[0, 1] > 0.9)
        True
    """

    regret: NDArray[np.float32]
    variance: NDArray[np.float32]

    def __init__(self, experts: int, forgetting: float = 0.998, first_share: float = 0.5, capacity: int = 0) -> None:
        self.experts = experts
        self.forgetting = forgetting
        prior = np.full(experts, (1 - first_share) / max(experts - 1, 1))
        prior[0] = first_share if experts > 1 else 1.0
        self.log_prior = np.log(prior)
        super().__init__(
            {"regret": Column(np.float32, (experts,)), "variance": Column(np.float32, (experts,))}, capacity
        )

    def weights(self, slots: NDArray[np.integer[Any]] | slice, ready: BoolArray) -> FloatArray:
        """Weights float64[n, E] on the simplex; zero where an expert is not ready.

        Args:
            slots: distinct slots, [n].
            ready: bool[n, E]; the first expert is always ready.
        """
        regret = self.regret[slots].astype(np.float64)
        variance = self.variance[slots].astype(np.float64)
        rate = np.minimum(0.5, np.sqrt(np.log(self.experts) / (variance + 1e-3)))
        score = self.log_prior + rate * regret - 0.5 * rate * rate * variance + np.log(rate)
        score = np.where(ready, score, -np.inf)
        score -= score.max(axis=1, keepdims=True)
        weight: FloatArray = np.exp(score)
        weight /= np.einsum("ne->n", weight)[:, None]
        return weight

    def update(
        self, slots: NDArray[np.integer[Any]] | slice, forecasts: FloatArray, ready: BoolArray, target: FloatArray
    ) -> None:
        """Score the experts' forecasts of one target a series.

        Args:
            slots: distinct slots, [n].
            forecasts: float64[n, E], in units of the series' own changes.
            ready: bool[n, E]; an expert that was not ready neither gains nor loses.
            target: float64[n], same unit, bounded by the caller.
        """
        weight = self.weights(slots, ready)
        mixed = np.einsum("ne,ne->n", weight, forecasts)
        slope = np.clip(mixed - target, -4, 4)
        gain = np.where(ready, slope[:, None] * np.clip(mixed[:, None] - forecasts, -8, 8), 0.0)
        self.regret[slots] = self.regret[slots] * self.forgetting + gain
        self.variance[slots] = self.variance[slots] * self.forgetting + gain * gain
