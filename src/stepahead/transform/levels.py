"""Running levels of a series at several speeds, and how far it stands from them."""

from typing import Any

import numpy as np

from stepahead.contract.bank import Bank, Column, Slots, indices
from stepahead.contract.compiled import compiled
from stepahead.contract.records import FloatArray

__all__ = ["SPANS", "Levels"]

SPANS = (4, 16, 64)
"""Readings; alpha = 2 / (span + 1)."""


class Levels(Bank):
    """Exponential moving averages (simple exponential smoothing, Brown 1956), started at the first value.

    Args:
        capacity: number of slots to start with.

    Example:
        >>> levels = Levels(capacity=1)
        >>> slot = np.array([0])
        >>> for value in (1.0, 1.0, 6.0):
        ...     distance = levels.update(slot, np.array([value]))
        >>> distance.round(3).tolist()
        [[3.0, 4.412, 4.846]]
    """

    level: FloatArray
    started: FloatArray

    def __init__(self, capacity: int = 0) -> None:
        super().__init__({"level": Column(np.float64, (len(SPANS),)), "started": Column(np.bool_)}, capacity)
        self._alpha = 2.0 / (np.array(SPANS) + 1.0)

    def update(self, slots: Slots, x: FloatArray) -> FloatArray:
        """Take one value per series.

        Args:
            slots: int32[n], distinct.
            x: float64[n], finite; beyond ±1e300 it enters as ±1e300.

        Returns:
            float64[n, 3], the value's distance from each level after it was taken in, in the value's unit.
        """
        distance = np.empty((len(slots), len(SPANS)))
        _update(indices(slots), x, self.level, self.started, self._alpha, distance)
        return distance


@compiled
def _update(slots: Any, values: Any, levels: Any, started: Any, alpha: Any, distance: Any) -> None:
    for i in range(len(slots)):
        slot = slots[i]
        x = min(max(values[i], -1e300), 1e300)
        for k in range(len(alpha)):
            before = levels[slot, k] if started[slot] else x
            level = before + alpha[k] * (x - before)
            levels[slot, k] = level
            distance[i, k] = x - level
        started[slot] = True
