"""Quantiles of a stream of scores, each held at its level by feedback."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column, Slots, indices
from stepahead.contract.compiled import compiled

__all__ = ["Quantiles"]

MEMORY = 500.0
"""Readings over which a quantile follows its feed; 300 to 2,000 gave widths within 0.3% of one another."""
MEMORY_OF_TAIL = 20.0
"""A quantile at tail probability t follows over at least this many readings beyond it."""
PRIOR = 30.0
"""How many readings the starting values are worth."""
SHORTEST = 0.2
"""Least step beside the one that suits Laplace's density, so that a tracker stuck to another gets away."""
LAPLACE = math.gamma(1.5) ** 2
"""(E √|x|)² of the standard Laplace distribution: the size of its errors as `ErrorScale` measures it."""


class Quantiles(Bank):
    """Quantile trackers per series, at levels shared by all series.

    Each score moves the tracker q of level a by `step * (a - [score < q])`, a tie counting half. Summed up, the
    share of scores below q differs from a by no more than (distance q has moved) / (step × readings), whatever
    the feed does. This is the guarantee of Gibbs and Candès (2021), "Adaptive conformal inference under
    distribution shift", Proposition 4.1, in the form of the quantile tracker of Angelopoulos, Candès and
    Tibshirani (2023), "Conformal PID control for time series prediction", section 2.1. The step falls as 1/n at
    first and stays at a floor later, as in Angelopoulos, Barber and Bates (2024), "Online conformal prediction
    with decaying step sizes"; it is best when in proportion to one over the density at q (Robbins and Monro
    1951), which is read off the distance to the next tracker inward.

    Args:
        levels: increasing, at least three, symmetric about the one in the middle, which is 0.5.
        capacity: number of slots to start with.

    Example:
        >>> bank = Quantiles([0.05, 0.5, 0.95], capacity=1)
        >>> np.sign(bank.ordered(np.array([0]))[0]).tolist()
        [-1.0, 0.0, 1.0]
    """

    knots: NDArray[np.float32]

    def __init__(self, levels: Sequence[float], capacity: int = 0) -> None:
        super().__init__({"knots": Column(np.float32, (len(levels),))}, capacity)
        self._middle = len(levels) // 2
        half = np.array(levels[: self._middle])
        # Built from one half: a negated feed is to give negated quantiles to the bit.
        tail = np.array([*half, 0.5, *half[::-1]])[:, None]
        side = np.sign(np.arange(len(levels)) - self._middle)[:, None]
        self._pull = side * (0.5 - tail)
        # A newborn series is given the quantiles of the Laplace distribution, heavier than the normal's; the
        # column holds the distance from them, because a column is filled with one number.
        self._start = side * -np.log(2.0 * tail) / LAPLACE
        self._least = 1.0 / np.maximum(MEMORY, MEMORY_OF_TAIL / tail)
        # An exponential tail through q and a tracker further inward has density tail · log(tail ratio) / gap at q.
        inner = [min(i for i in range(self._middle + 1) if tail[i, 0] >= 1.4 * t or i == self._middle) for t in half]
        rows = np.arange(len(levels))
        self._right = np.array([*inner, self._middle + 1, *rows[self._middle + 1 :]])
        self._left = len(levels) - 1 - self._right[::-1]
        with_inner = np.log(tail[inner] / half[:, None]) * half[:, None]
        spread = 1.0 - 2.0 * tail[self._middle - 1 : self._middle]
        self._per_gap = 1.0 / np.concatenate([with_inner, spread, with_inner[::-1]])
        self._shortest = SHORTEST / (LAPLACE * tail)
        # In single precision, and doubled where the step is halved, to spare a pass over all trackers.
        for name in ("_pull", "_start", "_least", "_per_gap", "_shortest"):
            setattr(self, name, getattr(self, name).astype(np.float32).ravel())
        self._pull *= 2
        self._per_gap /= 2
        self._shortest /= 2

    def ordered(self, slots: Slots) -> NDArray[np.float32]:
        """Quantiles float32[n, levels], each at least as far out as those within it."""
        knots = np.empty((len(slots), len(self._start)), np.float32)
        _order(indices(slots), self.knots, self._start, knots)
        return knots

    def update(self, slots: Slots, score: NDArray[np.float32], seen: NDArray[np.int32]) -> None:
        """Learn from scores.

        Args:
            slots: int[n], distinct.
            score: float32[n].
            seen: int32[n], how many scores came before in each series.
        """
        places = (self._left, self._right)
        rates = (self._start, self._pull, self._per_gap, self._shortest, self._least)
        _update(indices(slots), score, seen, self.knots, *places, *rates)


@compiled
def _order(slots: Any, knots: Any, start: Any, ordered: Any) -> None:
    middle = len(start) // 2
    for i in range(len(slots)):
        row, q = knots[slots[i]], ordered[i]
        for j in range(len(start)):
            q[j] = row[j] + start[j]
        for j in range(middle + 1, len(start)):  # two trackers may have stepped past each other
            q[j] = max(q[j], q[j - 1])
        for j in range(middle - 1, -1, -1):
            q[j] = min(q[j], q[j + 1])


@compiled
def _update(
    slots: Any,
    scores: Any,
    seen: Any,
    knots: Any,
    left: Any,
    right: Any,
    start: Any,
    pull: Any,
    per_gap: Any,
    shortest: Any,
    least: Any,
) -> None:
    tracked = np.empty_like(start)
    for i in range(len(slots)):
        row, score = knots[slots[i]], scores[i]
        young = np.float32(1.0 / (seen[i] + PRIOR))
        for j in range(len(start)):
            tracked[j] = row[j] + start[j]
        for j in range(len(start)):
            step = max((tracked[right[j]] - tracked[left[j]]) * per_gap[j], shortest[j]) * max(least[j], young)
            push = (np.sign(score - tracked[j]) + pull[j]) * step
            row[j] = push + tracked[j] - start[j]
