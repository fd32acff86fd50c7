"""What a series just did: its last values, its running levels and its last changes in units of their size."""

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column
from stepahead.contract.records import BoolArray, FloatArray
from stepahead.experts.rows import Rows

__all__ = ["BOUND", "SPANS", "Track"]

SPANS = (4, 16, 64, 256)
"""Spans of the running levels; rate 2 / (span + 1)."""
BOUND = 8.0
"""What learns sees changes and distances clipped to ± so many units."""
RECENT = 5


class Track(Bank):
    """Last values, running levels, last changes.

    Args:
        lags: changes kept.
        capacity: number of slots to start with.

    Example:
        >>> track = Track(lags=2, capacity=1)
        >>> slots, one = np.array([0]), np.array([1.0])
        >>> for x, first in ((1.0, True), (9.0, False), (2.0, False), (3.0, False), (2.5, False)):
        ...     track.update(slots, np.array([x]), one, np.array([0.0]), np.array([first]))
        >>> float(track.median(slots)[0]), float(track.last[0])
        (2.5, 2.5)
    """

    recent: NDArray[np.float64]
    level: NDArray[np.float64]
    changes: NDArray[np.float32]
    seen: NDArray[np.int16]

    def __init__(self, lags: int = 14, capacity: int = 0) -> None:
        self.lags = lags
        super().__init__(
            {
                "recent": Column(np.float64, (RECENT,)),
                "level": Column(np.float64, (len(SPANS),)),
                "changes": Column(np.float32, (lags,)),
                "seen": Column(np.int16),
            },
            capacity,
        )

    @property
    def last(self) -> NDArray[np.float64]:
        """The latest value of every slot."""
        return self.recent[:, 0]

    def update(self, rows: Rows, value: FloatArray, inverse: FloatArray, change: FloatArray, anew: BoolArray) -> None:
        """Take in one value a series.

        Args:
            rows: distinct slots, [n].
            value: float64[n], in the sensor's unit.
            inverse: float64[n], 1 / unit; 0 = nothing has changed so far.
            change: float64[n], value minus the one before it; 0 where `anew`.
            anew: bool[n], the series begins here, or begins again after a long gap.
        """
        recent = self.recent[rows]
        moved = np.empty_like(recent)
        moved[:, 1:] = recent[:, :-1]
        moved[:, 0] = value
        level = self.level[rows].copy()
        changes = self.changes[rows]
        shifted = np.empty_like(changes)
        shifted[:, 1:] = changes[:, :-1]
        shifted[:, 0] = np.clip(change * inverse, -BOUND, BOUND)
        seen = np.minimum(self.seen[rows] + 1, 30_000)
        if anew.any():
            moved[anew] = value[anew, None]
            level[anew] = value[anew, None]
            shifted[anew] = 0
            seen[anew] = 1
        for k, span in enumerate(SPANS):
            level[:, k] += 2.0 / (span + 1) * (value - level[:, k])
        self.recent[rows] = moved
        self.level[rows] = level
        self.changes[rows] = shifted
        self.seen[rows] = seen

    def median(self, rows: Rows) -> FloatArray:
        """Median of the last five values, float64[n].

        Source: a network of minima and maxima; the median of five is that of e, the larger of the two smaller and
        the smaller of the two larger of the pairs (a, b), (c, d).
        """
        a, b, c, d, e = self.recent[rows].T
        low = np.maximum(np.minimum(a, b), np.minimum(c, d))
        high = np.minimum(np.maximum(a, b), np.maximum(c, d))
        answer: FloatArray = np.maximum(np.minimum(low, high), np.minimum(e, np.maximum(low, high)))
        return answer
