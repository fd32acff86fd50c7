"""The unit that a series is measured in here: the running size of its own changes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column, Slots, indices
from stepahead.contract.compiled import compiled
from stepahead.contract.records import BoolArray, FloatArray

__all__ = ["Unit", "inverse_of"]

LEAST, MOST = 1e-290, 1e300
"""Sizes outside are taken as none and as `MOST`: 1/size and 16 × size must stay finite."""


class Unit(Bank):
    """Running mean of absolute changes, robust to single jumps.

    A change enters clipped to `clip` units, so that one jump of any size moves the unit by at most
    `clip / span`; a series that really became livelier multiplies its unit at that pace until it fits. The first
    `span` changes are averaged plainly, so that the unit is usable from the second reading on.

    Args:
        span: readings, at most 32,767, after which the plain average turns into an exponentially weighted one, of rate
            1/span.
        clip: largest change that counts, in units.
        capacity: number of slots to start with.

    Example:
        >>> unit = Unit(capacity=1)
        >>> slots = np.array([0])
        >>> for change in (2.0, -2.0, 4.0):
        ...     inverse = unit.update(slots, np.array([change]), np.array([False]))
        >>> round(float(unit.size[0]), 3), round(float(inverse[0]), 3)
        (2.667, 0.375)
    """

    size: NDArray[np.float64]
    changes: NDArray[np.int16]

    def __init__(self, span: int = 2000, clip: float = 16.0, capacity: int = 0) -> None:
        self.span = span
        self.clip = clip
        super().__init__({"size": Column(np.float64), "changes": Column(np.int16)}, capacity)

    def update(self, slots: Slots, change: FloatArray, anew: BoolArray) -> FloatArray:
        """Take in one change a series.

        Args:
            slots: int[n], distinct.
            change: float64[n], in the sensor's unit.
            anew: bool[n], true where there is no change to speak of (first reading, after a gap).

        Returns:
            1 / size, float64[n]; 0 where nothing has changed yet, so that every scaled change is 0 there.
        """
        inverse = np.empty(len(slots))
        _update(indices(slots), self.size, self.changes, change, anew, self.span, self.clip, inverse)
        return inverse


@compiled
def inverse_of(size: Any) -> Any:
    """1 / size; 0 where nothing has changed yet."""
    return 1.0 / size if size > LEAST else 0.0


@compiled
def _update(slots: Any, sizes: Any, changes: Any, change: Any, anew: Any, span: int, clip: float, inverse: Any) -> None:
    for i in range(len(slots)):
        slot = slots[i]
        size, step = sizes[slot], abs(change[i])
        if not anew[i]:
            if size > 0:  # the first change that is not zero is taken whole: there is nothing to clip it by
                step = min(step, min(size, MOST) * clip)
            changes[slot] = min(changes[slot] + 1, span)
            size = min(size + 1.0 / changes[slot] * (step - size), MOST)
            sizes[slot] = size
        inverse[i] = inverse_of(size)
