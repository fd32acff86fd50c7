"""Running levels of a series at several speeds, and how far it stands from them."""

import numpy as np

from stepahead.contract.bank import Bank, Column
from stepahead.contract.records import FloatArray, SlotArray

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

    def update(self, slots: SlotArray, x: FloatArray) -> FloatArray:
        """Take one value per series.

        Args:
            slots: int32[n], distinct.
            x: float64[n], finite; beyond ±1e300 it enters as ±1e300.

        Returns:
            float64[n, 3], the value's distance from each level after it was taken in, in the value's unit.
        """
        x = np.clip(x, -1e300, 1e300)[:, None]
        before = np.where(self.started[slots, None], self.level[slots], x)
        level = before + self._alpha * (x - before)
        self.level[slots] = level
        self.started[slots] = True
        return np.asarray(x - level)
