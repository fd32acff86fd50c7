"""The unit that a series is measured in here: the running size of its own changes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column
from stepahead.contract.records import BoolArray, FloatArray

__all__ = ["Unit"]


class Unit(Bank):
    """Running mean of absolute changes, robust to single jumps.

    A change enters clipped to `clip` units, so that one jump of any size moves the unit by at most
    `clip × rate`; a series that really became livelier multiplies its unit at that pace until it fits. The first
    changes are averaged plainly (rate 1/k), so that the unit is usable from the second reading on.

    Args:
        span: readings after which the plain average turns into an exponentially weighted one.
        clip: largest change that counts, in units.
        capacity: number of slots to start with.

    Example:
        >>> unit = Unit(capacity=1)
        >>> slots = np.array([0])
        >>> for change in (2.0, -2.0, 4.0):
        ...     unit.update(slots, np.array([change]), np.array([True]))
        >>> round(float(unit.size[0]), 3)
        2.667
    """

    size: NDArray[np.float64]
    count: NDArray[np.float32]

    def __init__(self, span: float = 500.0, clip: float = 8.0, capacity: int = 0) -> None:
        self.span = span
        self.clip = clip
        super().__init__({"size": Column(np.float64), "count": Column(np.float32)}, capacity)

    def update(self, slots: NDArray[np.integer[Any]] | slice, change: FloatArray, valid: BoolArray) -> None:
        """Take in one change a series.

        Args:
            slots: distinct slots, [n].
            change: float64[n], in the sensor's unit.
            valid: bool[n], false where there is no change to speak of (first reading, after a gap).
        """
        size = self.size[slots]
        count = np.minimum(self.count[slots] + valid, np.float32(self.span))
        step = np.abs(change)
        step = np.where(size > 0, np.minimum(step, self.clip * size), step)
        rate = valid / np.maximum(count, np.float32(1)).astype(np.float64)
        self.size[slots] = np.minimum(size + rate * (step - size), 1e300)
        self.count[slots] = count
