"""How large a series' errors usually are, over a long time: what a rise of them stands out against."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column, Slots, indices
from stepahead.contract.compiled import compiled
from stepahead.contract.records import FloatArray

__all__ = ["UsualError"]

MEMORY = 1000
"""Readings over which the size is averaged: long, so that a rise stands out for a while."""
ENOUGH = 24
LARGEST_RATIO = 8.0
LEAST, MOST = 1e-150, 1e150


class UsualError(Bank):
    """Running mean of absolute errors, each counted up to 8 of it.

    Args:
        capacity: number of slots to start with.

    Example:
        >>> usual, slot = UsualError(capacity=1), np.array([0])
        >>> ratios = [float(usual.update(slot, np.array([error]))[0]) for error in [2.0] * 24 + [-5.0, 100.0]]
        >>> [round(ratio, 2) for ratio in ratios[22:]]
        [nan, nan, 2.5, 8.0]
    """

    size: FloatArray
    seen: NDArray[np.int16]

    def __init__(self, capacity: int = 0) -> None:
        super().__init__({"size": Column(np.float64), "seen": Column(np.int16)}, capacity)

    def update(self, slots: Slots, error: FloatArray) -> FloatArray:
        """Learn from errors.

        Args:
            slots: int[n], distinct.
            error: float64[n], in the sensor's unit; NaN where there is none.

        Returns:
            float64[n], their sizes in units of the usual one, at most 8; NaN while that is not known.
        """
        ratio = np.empty(len(slots))
        _update(indices(slots), error, self.size, self.seen, ratio)
        return ratio


@compiled
def _update(slots: Any, errors: Any, sizes: Any, seen: Any, ratio: Any) -> None:
    for i in range(len(slots)):
        slot, size = slots[i], min(abs(errors[i]), MOST)
        ratio[i] = np.nan
        if np.isnan(errors[i]):
            continue
        usual = sizes[slot]
        if seen[slot] >= ENOUGH and usual > LEAST:
            size = min(size, LARGEST_RATIO * usual)
            ratio[i] = size / usual
        sizes[slot] = usual + max(1.0 / (seen[slot] + 1), 1.0 / MEMORY) * (size - usual)
        seen[slot] = min(seen[slot] + 1, MEMORY)
