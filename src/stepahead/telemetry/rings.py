"""Rings: the newest readings of watched series with the forecasts that had been made for them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.records import BoolArray, FloatArray, IntArray, SlotArray

__all__ = ["NOBODY", "Rings"]

NOBODY = -1
COLUMNS = ("observed", "forecast", "lower", "upper")


class Rings:
    """Bounded history of a bounded number of series.

    The first series have a ring from their birth, so that a page opened later shows the past. When all are taken, a
    series that is watched takes over the ring that has gone unwatched for the longest time.

    Args:
        rings: number of series with a history.
        length: readings of a history.

    Example:
        >>> rings = Rings(rings=1, length=4)
        >>> nothing = {name: np.full(3, np.nan) for name in ("lower", "upper")}
        >>> slots, times, no = np.array([7, 7, 7]), np.array([1, 2, 3]), np.zeros(3, bool)
        >>> rings.push(slots, times, np.arange(3.0), np.zeros(3), nothing, no)
        >>> since, history = rings.history(7, 1)
        >>> since, history["observed"].tolist(), rings.history(8, 0)
        (3, [1.0, 2.0], (0, None))
    """

    def __init__(self, rings: int = 128, length: int = 1800) -> None:
        self.length = length
        self._ring_of = np.full(64, NOBODY, np.int32)
        self._slot_of = np.full(rings, NOBODY, np.int64)
        self._watched = np.zeros(rings, np.int64)
        self._turn = 0
        self._count = np.zeros(rings, np.int64)
        self._time_ns = np.zeros((rings, length), np.int64)
        self._anomaly = np.zeros((rings, length), np.bool_)
        self._values = {name: np.zeros((rings, length)) for name in COLUMNS}

    @property
    def owners(self) -> IntArray:
        """int64[rings]: the slot that each ring belongs to, `NOBODY` for a free one."""
        return self._slot_of

    def of(self, slots: SlotArray) -> NDArray[np.int32]:
        """int32[n]: the ring of each slot, `NOBODY` where it has none."""
        known = slots < len(self._ring_of)
        return np.where(known, self._ring_of[np.where(known, slots, 0)], NOBODY).astype(np.int32)

    def watch(self, slot: int) -> None:
        """Keep the history of this series from now on, whoever else loses it; call it as long as it is looked at."""
        self._grow(slot)
        if self._ring_of[slot] == NOBODY:
            free = np.flatnonzero(self._slot_of == NOBODY)
            self._give(int(free[0]) if len(free) else int(np.argmin(self._watched)), slot)
        self._turn += 1
        self._watched[self._ring_of[slot]] = self._turn

    def _grow(self, slot: int) -> None:
        if slot >= len(self._ring_of):
            room = np.full((1 << slot.bit_length()) - len(self._ring_of), NOBODY, np.int32)
            self._ring_of = np.concatenate((self._ring_of, room))

    def _give(self, ring: int, slot: int) -> None:
        if self._slot_of[ring] != NOBODY:
            self._ring_of[self._slot_of[ring]] = NOBODY
        self._ring_of[slot], self._slot_of[ring], self._count[ring] = ring, slot, 0

    def push(
        self,
        slots: SlotArray,
        time_ns: IntArray,
        observed: FloatArray,
        error: FloatArray,
        before: Mapping[str, NDArray[Any]],
        anomaly: BoolArray,
    ) -> None:
        """Add readings.

        Args:
            slots: int32[n], sorted; rows of one series in order of time.
            time_ns: int64[n].
            observed: float64[n].
            error: float64[n], observed minus its forecast; NaN where there was none.
            before: "lower" and "upper", float64[n], of the interval that had been published for the reading.
            anomaly: bool[n].
        """
        self._grow(int(slots[-1]))
        free = np.flatnonzero(self._slot_of == NOBODY)
        if len(free):
            newborn = np.unique(slots[self._ring_of[slots] == NOBODY])[: len(free)]
            for ring, slot in zip(free.tolist(), newborn.tolist(), strict=False):
                self._give(ring, slot)
        rows = np.flatnonzero(self._ring_of[slots] != NOBODY)
        if not len(rows):
            return
        mine: NDArray[np.int32] = self._ring_of[slots[rows]]
        starts = np.flatnonzero(np.append(True, mine[1:] != mine[:-1]))
        counts = np.diff(np.append(starts, len(mine)))
        place = np.arange(len(mine)) - np.repeat(starts, counts)
        kept = place >= np.repeat(counts, counts) - self.length  # of more than a ringful, the newest
        at = (mine[kept], (self._count[mine] + place)[kept] % self.length)
        chosen = rows[kept]
        self._time_ns[at], self._anomaly[at] = time_ns[chosen], anomaly[chosen]
        columns = (observed, observed - error, before["lower"], before["upper"])
        for name, values in zip(COLUMNS, columns, strict=True):
            self._values[name][at] = values[chosen]
        self._count[mine[starts]] += counts

    def history(self, slot: int, since: int) -> tuple[int, dict[str, NDArray[Any]] | None]:
        """The readings after the first `since` of a series, oldest first, and the count to ask with next time.

        None when the series has no ring. A count that the ring never had, such as one from before it changed hands,
        gives all there is.
        """
        ring = int(self.of(np.array([slot]))[0])
        if ring == NOBODY:
            return 0, None
        count = int(self._count[ring])
        begin = max(count - self.length, since if 0 <= since <= count else 0)
        at = np.arange(begin, count) % self.length
        history: dict[str, NDArray[Any]] = {name: array[ring, at] for name, array in self._values.items()}
        history["time_ns"], history["anomaly"] = self._time_ns[ring, at], self._anomaly[ring, at]
        return count, history
