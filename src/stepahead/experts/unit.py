"""The unit that a series is measured in here: the running size of its own changes."""

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column
from stepahead.contract.records import BoolArray, FloatArray
from stepahead.experts.rows import Rows

__all__ = ["Unit"]

LEAST, MOST = 1e-290, 1e300
"""Sizes outside are taken as none and as `MOST`: 1/size and 64 × size must stay finite."""


class Unit(Bank):
    """Running mean of absolute changes, robust to single jumps.

    A change enters clipped to `clip` units, so that one jump of any size moves the unit by at most
    `clip / span`; a series that really became livelier multiplies its unit at that pace until it fits. The first
    `span` changes are averaged plainly, so that the unit is usable from the second reading on.

    Args:
        span: readings after which the plain average turns into an exponentially weighted one, rate 1/span.
        clip: largest change that counts, in units.
        capacity: number of slots to start with.

    Example:
        >>> unit = Unit(capacity=1)
        >>> slots = np.array([0])
        >>> for change in (2.0, -2.0, 4.0):
        ...     unit.update(slots, np.array([change]), np.array([True]))
        >>> round(float(unit.size[0]), 3), round(float(unit.inverse(slots)[0]), 3)
        (2.667, 0.375)
    """

    size: NDArray[np.float64]
    changes: NDArray[np.int32]

    def __init__(self, span: int = 500, clip: float = 8.0, capacity: int = 0) -> None:
        self.span = span
        self.clip = clip
        super().__init__({"size": Column(np.float64), "changes": Column(np.int32)}, capacity)

    def update(self, rows: Rows, change: FloatArray, valid: BoolArray) -> None:
        """Take in one change a series.

        Args:
            rows: distinct slots, [n].
            change: float64[n], in the sensor's unit.
            valid: bool[n], false where there is no change to speak of (first reading, after a gap).
        """
        size = self.size[rows]
        changes = np.minimum(self.changes[rows] + valid, self.span)
        step = np.abs(change)
        # The first change that is not zero is taken whole: there is nothing to clip it by.
        step = np.minimum(step, np.where(size > 0, np.minimum(size, MOST) * self.clip, np.inf))
        rate = valid / np.maximum(changes, 1)
        self.size[rows] = np.minimum(size + rate * (step - size), MOST)
        self.changes[rows] = changes

    def inverse(self, rows: Rows) -> FloatArray:
        """1 / size, float64[n]; 0 where nothing has changed yet, so that every scaled change is 0 there."""
        size = self.size[rows]
        there = size > LEAST
        answer: FloatArray = there / np.where(there, size, 1.0)
        return answer
