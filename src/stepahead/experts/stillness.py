"""Stand still or move: whether a small forecast move is worth making, learned per series."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column, Slots, indices
from stepahead.contract.compiled import compiled
from stepahead.contract.exponential import exp
from stepahead.contract.records import BoolArray

__all__ = ["THRESHOLDS", "Stillness"]

THRESHOLDS = (0.0, 0.5, 1.0, 2.0, np.inf)
"""Moves of at most so many units are not made; the last one never moves."""
RATE = 0.2
DISCOUNT = 0.998
SIZE_RATE = 1 / 200
LEAST_SIZE = 0.01
FAR = 8.0
"""Errors count up to so many usual ones."""
MOST_GAIN = 2.0
OFFSET_RATE = 0.002
"""So much of a usual error the offset moves by at each reading. On the early rows of five recordings the MAE against
the best other fell from 0.9761 to 0.9746, 0.9738, 0.9732 and 0.9732 for 0.0005, 0.001, 0.002 and 0.003."""


class Stillness(Bank):
    """Hard thresholds on the forecast move, weighed online by the error that each would have made.

    Many sensors repeat their value and then jump. The mean of what may come is then a value that never comes: an
    average of experts creeps towards it, pays a little at every reading that stands still, and has a larger absolute
    error than the last value. No convex combination of experts can say "exactly the same, unless it is going to
    move far"; a threshold can. Each of `THRESHOLDS` proposes the mixture's move where that is larger, and no move
    otherwise; they are weighed by exponential weights over their discounted losses, once for the moment after a
    repetition and once for the moment after a change. A feed without repetitions ends with threshold 0, which leaves
    the mixture as it is.

    The mixture heads for the mean; where errors are skewed, the median lies beside it. So a move is made with an
    offset, which follows the median of what is left: a step up after each error above it, one down after each below.

    The loss is `|e| / mean|e| + squared_share × e² / mean e²`, e in units: 0 aims at the median, much at the mean.

    Args:
        squared_share: weight of the squared against the absolute error.
        capacity: number of slots to start with.

    Source:
        Donoho & Johnstone, Ideal spatial adaptation by wavelet shrinkage, Biometrika 81 (1994), equation 5 (hard
        threshold); Cesa-Bianchi & Lugosi, Prediction, Learning, and Games (2006), sections 2.2 (exponential weights)
        and 2.11 (discounts); Robbins & Monro, A stochastic approximation method, Annals of Mathematical Statistics 22
        (1951), section 5 (a median by steps up and down).

    Example:
        >>> stillness, slots = Stillness(capacity=1), np.array([0])
        >>> for t in range(600):  # every tenth reading jumps by 5, none is foreseen
        ...     move = stillness.settle(slots, np.array([0.5], np.float32), np.array([True]))
        ...     target = np.array([5.0 if t % 10 == 0 else 0.0])
        ...     stillness.learn(slots, np.array([0.5], np.float32), target, np.array([True]))
        >>> bool(abs(move[0]) < 0.05)
        True
    """

    regret: NDArray[np.float32]
    size: NDArray[np.float32]
    square: NDArray[np.float32]
    offset: NDArray[np.float32]
    still: NDArray[np.bool_]

    def __init__(self, squared_share: float = 1.0, capacity: int = 0) -> None:
        # In arrays of single precision: a number written into a compiled loop would make it float64.
        self._thresholds = np.array(THRESHOLDS, np.float32)
        self._constants = np.array(
            [squared_share, RATE, DISCOUNT, SIZE_RATE, LEAST_SIZE, FAR, MOST_GAIN, OFFSET_RATE, 1.0, 0.0], np.float32
        )
        super().__init__(
            {
                "regret": Column(np.float32, (2, len(THRESHOLDS))),
                "size": Column(np.float32, (2,), 1.0),
                "square": Column(np.float32, (2,), 1.0),
                "offset": Column(np.float32),
                "still": Column(np.bool_),
            },
            capacity,
        )

    def settle(self, slots: Slots, move: NDArray[np.float32], still: BoolArray) -> NDArray[np.float32]:
        """The move that is published, float32[n].

        Args:
            slots: int[n], distinct.
            move: float32[n], the mixture's move, in units.
            still: bool[n], whether the newest reading repeated the one before it.
        """
        self.still[slots] = still
        settled, weight = np.empty_like(move), np.empty_like(self._thresholds)
        state = (self.regret, self.size, self.offset, self.still)
        _settle(indices(slots), *state, self._thresholds, self._constants, move, weight, settled)
        return settled

    def learn(self, slots: Slots, move: NDArray[np.float32], target: NDArray[Any], scored: BoolArray) -> None:
        """Score the thresholds by the move that came.

        Args:
            slots: int[n], distinct.
            move: float32[n], the mixture's move, as it was given to `settle`.
            target: float[n], the move that came, in units, bounded by the caller.
            scored: bool[n]; where false nothing is learned.
        """
        state = (self.regret, self.size, self.square, self.offset, self.still)
        came, work = target.astype(np.float32), np.empty((2, len(self._thresholds)), np.float32)
        _learn(indices(slots), *state, self._thresholds, self._constants, move, came, scored, work)


@compiled
def _weigh(regret: Any, rate: Any, weight: Any) -> None:
    """Weights of the thresholds of one series in one context."""
    best = regret[0]
    for j in range(1, len(weight)):
        best = max(best, regret[j])
    total = best - best
    for j in range(len(weight)):
        weight[j] = exp(rate * (regret[j] - best))
        total += weight[j]
    for j in range(len(weight)):
        weight[j] /= total


@compiled
def _kept(weight: Any, thresholds: Any, move: Any, zero: Any) -> Any:
    """Share of the move that the thresholds below it keep."""
    kept = zero
    for j in range(len(weight)):
        if abs(move) > thresholds[j]:
            kept += weight[j]
    return kept


@compiled
def _settle(
    slots: Any,
    regrets: Any,
    sizes: Any,
    offsets: Any,
    still: Any,
    thresholds: Any,
    constants: Any,
    move: Any,
    weight: Any,
    settled: Any,
) -> None:
    rate, zero = constants[1], constants[9]
    for i in range(len(slots)):
        slot = slots[i]
        context = 1 if still[slot] else 0
        _weigh(regrets[slot, context], rate, weight)
        offset = offsets[slot] * sizes[slot, context]
        settled[i] = (move[i] + offset) * _kept(weight, thresholds, move[i], zero)


@compiled
def _learn(
    slots: Any,
    regrets: Any,
    sizes: Any,
    squares: Any,
    offsets: Any,
    still: Any,
    thresholds: Any,
    constants: Any,
    move: Any,
    came: Any,
    scored: Any,
    work: Any,
) -> None:
    squared_share, rate, discount, size_rate, least_size, far, most_gain, offset_rate, one, zero = constants
    weight, losses = work[0], work[1]
    for i in range(len(slots)):
        if not scored[i]:
            continue
        slot = slots[i]
        context = 1 if still[slot] else 0
        regret, size, square = regrets[slot, context], sizes[slot, context], squares[slot, context]
        _weigh(regret, rate, weight)
        expected = zero
        for j in range(len(weight)):
            proposed = move[i] if abs(move[i]) > thresholds[j] else zero
            relative = min(abs(proposed - came[i]), far * size) / size
            losses[j] = relative + squared_share * relative * relative / square
            expected += weight[j] * losses[j]
        share = _kept(weight, thresholds, move[i], zero)
        kept = share * move[i]
        above = came[i] - (kept + share * offsets[slot] * size)
        step = share * offset_rate * (one if above > zero else -one if above < zero else zero)
        offsets[slot] = max(min(offsets[slot] + step, one), -one)
        for j in range(len(weight)):
            regret[j] = regret[j] * discount + max(min(expected - losses[j], most_gain), -most_gain)
        relative = min(abs(kept - came[i]), far * size) / size
        sizes[slot, context] = max(size + size_rate * (relative * size - size), least_size)
        squares[slot, context] = square + size_rate * (relative * relative - square)
