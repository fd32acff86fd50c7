"""What a series did, some hundred readings back: a ring of its changes in two bytes each."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column, Slots, indices
from stepahead.contract.compiled import compiled
from stepahead.contract.half import narrow, widen
from stepahead.contract.records import BoolArray, FloatArray

__all__ = ["Changes", "change_at", "scale_in"]

TOP = 4096.0
"""The largest change of the ring is brought to this; those a hundred million times smaller are still kept to 2^-11."""
ROOM = 32_768.0
SMALL = np.float32(16.0)
TIDY_EVERY = 64
LEAST, MOST = 1e-300, 1e300
"""Bounds of the scale: 65,504 of it must be finite."""


class Changes(Bank):
    """Ring of the last `length` changes of a series, from each value to the next, in half precision.

    A change is kept to one part in 2,000, whatever came beside it, and none at all exactly; a value is the latest one
    less the changes since then. The ring has a scale, a power of two that follows its largest change.

    Args:
        length: changes kept, at most 32,767.
        capacity: number of slots to start with.

    Example:
        >>> changes = Changes(length=3, capacity=1)
        >>> slots = np.array([0])
        >>> for change, first in ((0.0, True), (0.5, False), (-1.0, False), (1e-3, False), (1e6, False)):
        ...     changes.append(slots, np.array([change]), np.array([first]))
        >>> [round(change, 7) for change in changes.latest(0).tolist()], int(changes.count[0])
        ([-1.0, 0.0010071, 999936.0], 3)
    """

    ring: NDArray[np.float16]
    scale: FloatArray
    count: NDArray[np.int16]
    head: NDArray[np.int16]

    def __init__(self, length: int, capacity: int = 0) -> None:
        self.length = length
        super().__init__(
            {
                "ring": Column(np.float16, (length,)),
                "scale": Column(np.float64, (), 1.0),
                "count": Column(np.int16),
                "head": Column(np.int16),
            },
            capacity,
        )

    @property
    def state(self) -> tuple[NDArray[np.int16], FloatArray, NDArray[np.int16], NDArray[np.int16]]:
        """Ring, scale, count and head, as compiled loops take them."""
        return self.ring.view(np.int16), self.scale, self.count, self.head

    def append(self, slots: Slots, change: FloatArray, anew: BoolArray) -> None:
        """Append one change a series; where `anew`, forget all instead.

        Args:
            slots: int[n], distinct.
            change: float64[n], finite.
            anew: bool[n], there is no value that this one is a change from.
        """
        _append(indices(slots), change, anew, *self.state)

    def latest(self, slot: int) -> FloatArray:
        """Known changes of one series, float64[count], the newest last."""
        known = int(self.count[slot])
        places = (int(self.head[slot]) - np.arange(known)[::-1]) % self.length
        answer: FloatArray = self.ring[slot, places].astype(np.float64) * self.scale[slot]
        return answer


@compiled
def change_at(ring: Any, scale: Any, head: Any, lag: Any) -> Any:
    """The change `lag` readings before the newest, float64; valid while 0 <= lag < count."""
    place = head - lag
    return widen(ring[place if place >= 0 else place + len(ring)]) * scale


@compiled
def scale_in(scale: Any, inverse: Any) -> Any:
    """The scale in units of which one is 1 / `inverse`; bounded, since infinity times no change would be no number."""
    return min(scale * inverse, 1e9)


@compiled
def _append_one(slot: Any, change: Any, anew: Any, rings: Any, scales: Any, counts: Any, heads: Any) -> None:
    """Append one change to one ring, or empty it."""
    if anew:
        counts[slot] = 0
        return
    ring = rings[slot]
    head = heads[slot] + 1 if heads[slot] + 1 < len(ring) else 0
    if counts[slot] == 0:
        ring[:] = 0
    size = abs(change) / scales[slot]
    if not size < ROOM or head % TIDY_EVERY == 0 or counts[slot] < 8:
        _fit(slot, size, ring, scales)
    ring[head] = narrow(np.float32(change / scales[slot]))
    heads[slot] = head
    counts[slot] = min(counts[slot] + 1, len(ring))


@compiled
def _fit(slot: Any, size: Any, ring: Any, scales: Any) -> None:
    """Choose the scale anew if what is in the ring, or comes, is too small or too large for it."""
    largest = np.float32(0.0)
    for k in range(len(ring)):
        largest = max(largest, abs(widen(ring[k])))
    most = max(float(largest), size)
    if most == 0.0 or SMALL <= most < ROOM:
        return
    factor = math.ldexp(1.0, math.frexp(TOP / most)[1] - 1)
    if not LEAST < scales[slot] / factor < MOST:
        return
    scales[slot] /= factor
    for k in range(len(ring)):
        ring[k] = narrow(np.float32(widen(ring[k]) * factor))


@compiled
def _append(slots: Any, change: Any, anew: Any, rings: Any, scales: Any, counts: Any, heads: Any) -> None:
    for i in range(len(slots)):
        _append_one(slots[i], change[i], anew[i], rings, scales, counts, heads)
