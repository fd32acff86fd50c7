"""Where a series is: its latest value and its running levels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column, Slots, indices
from stepahead.contract.compiled import compiled
from stepahead.contract.records import BoolArray, FloatArray

__all__ = ["BOUND", "SPANS", "Track"]

SPANS = (4, 16, 64, 256)
"""Spans of the running levels; rate 2 / (span + 1)."""
BOUND = 8.0
"""What learns sees changes and distances clipped to ± so many units."""
RATES = np.array([2.0 / (span + 1) for span in SPANS])
MOST_SEEN = 30_000


class Track(Bank):
    """Latest value and running levels.

    Args:
        capacity: number of slots to start with.

    Example:
        >>> track = Track(capacity=1)
        >>> slots = np.array([0])
        >>> for x, first in ((1.0, True), (6.0, False)):
        ...     track.update(slots, np.array([x]), np.array([first]))
        >>> float(track.last[0]), track.level[0].round(3).tolist()
        (6.0, [3.0, 1.588, 1.154, 1.039])
    """

    last: FloatArray
    level: FloatArray
    seen: NDArray[np.int16]

    def __init__(self, capacity: int = 0) -> None:
        super().__init__(
            {"last": Column(np.float64), "level": Column(np.float64, (len(SPANS),)), "seen": Column(np.int16)}, capacity
        )

    def update(self, slots: Slots, value: FloatArray, anew: BoolArray) -> None:
        """Take in one value a series.

        Args:
            slots: int[n], distinct.
            value: float64[n], in the sensor's unit.
            anew: bool[n], the series begins here, or begins again after a long gap.
        """
        _update(indices(slots), self.last, self.level, self.seen, RATES, value, anew)


@compiled
def _update(slots: Any, last: Any, levels: Any, seen: Any, rates: Any, value: Any, anew: Any) -> None:
    for i in range(len(slots)):
        slot, now = slots[i], value[i]
        last[slot] = now
        if anew[i]:
            levels[slot, :] = now
            seen[slot] = 1
            continue
        for k in range(len(rates)):
            levels[slot, k] += rates[k] * (now - levels[slot, k])
        seen[slot] = min(seen[slot] + 1, MOST_SEEN)
