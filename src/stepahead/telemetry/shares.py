"""Shares: how the weights of the mixture went over time, for the series that have a ring."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.records import FloatArray, IntArray, SlotArray
from stepahead.telemetry.rings import NOBODY, Rings

__all__ = ["Shares"]


class Shares:
    """Bounded history of what each expert's share was in the forecasts of a series.

    Args:
        rings: which series have a history; one that loses its ring loses this one too.
        length: moments of a history.

    Example:
        >>> rings = Rings(rings=1, length=4)
        >>> rings.watch(7)
        >>> shares = Shares(rings, length=2)
        >>> for time_ns, share in [(10, 0.2), (20, 0.3), (20, 0.5), (30, 1.0)]:
        ...     shares.push(np.array([7]), np.array([time_ns]), np.array([[share, 1 - share]]))
        >>> times, weights = shares.history(7, 0)
        >>> times.tolist(), weights.tolist()
        ([20, 30], [[0.5, 0.5], [1.0, 0.0]])
    """

    def __init__(self, rings: Rings, length: int = 900) -> None:
        self._rings = rings
        self._length = length
        self._owner = np.full(len(rings.owners), NOBODY, np.int64)
        self._count = np.zeros(len(rings.owners), np.int64)
        self._time_ns = np.zeros((len(rings.owners), length), np.int64)
        self._weight: NDArray[np.float32] = np.zeros((len(rings.owners), length, 0), np.float32)

    def push(self, slots: SlotArray, time_ns: IntArray, weight: FloatArray) -> None:
        """Note the shares of this moment; where no reading has come since the moment before, in its place.

        Args:
            slots: int32[n], distinct; those without a ring are passed over.
            time_ns: int64[n], time of the newest reading of each.
            weight: float64[n, E], 0 to 1; E is the same each time.
        """
        if self._weight.shape[2] != weight.shape[1]:
            self._weight = np.zeros((*self._weight.shape[:2], weight.shape[1]), np.float32)
        self._follow()
        ring = self._rings.of(slots)
        before = np.where(self._count[ring] > 0, self._time_ns[ring, (self._count[ring] - 1) % self._length], -1)
        rows = np.flatnonzero(ring != NOBODY)
        ring, further = ring[rows], before[rows] != time_ns[rows]
        at = (ring, (self._count[ring] - ~further) % self._length)
        self._time_ns[at], self._weight[at] = time_ns[rows], weight[rows]
        self._count[ring] += further

    def history(self, slot: int, from_ns: int) -> tuple[IntArray, NDArray[np.float32]]:
        """The moments of a series from this reading on, oldest first: int64[n], float32[n, E]."""
        self._follow()
        ring = int(self._rings.of(np.array([slot]))[0])
        count = 0 if ring == NOBODY else int(self._count[ring])
        at: NDArray[Any] = np.arange(max(0, count - self._length), count) % self._length
        at = at[self._time_ns[ring, at] >= from_ns]
        return self._time_ns[ring, at], self._weight[ring, at]

    def _follow(self) -> None:
        """Forget what belonged to another series before a ring changed hands."""
        owners = self._rings.owners
        self._count[owners != self._owner] = 0
        self._owner[:] = owners
