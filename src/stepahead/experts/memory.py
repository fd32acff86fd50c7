"""What a series was, some hundred readings back: a ring of its values in two bytes each."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column
from stepahead.contract.records import BoolArray, FloatArray, IntArray
from stepahead.experts.rows import Rows, as_slots

__all__ = ["Memory"]

FINENESS = 5
"""A step of the ring is at most 2^-5 of the series' usual change: rounding adds 0.01% to its variance."""
REACH = 32_000
TIDY_EVERY = 64


class Memory(Bank):
    """Ring of the last `length` values of a series, as int16 steps from an anchor.

    The step is a power of two near 1/32 of the series' usual change. When a value lies out of reach, anchor and step
    are chosen anew so that the whole ring fits and its values are rounded to the new step: rare, and only for the
    series concerned. Two bytes a value keep a week of half-hourly readings in 680 bytes.

    Args:
        length: values kept.
        capacity: number of slots to start with.

    Example:
        >>> memory = Memory(length=4, capacity=1)
        >>> slots, no = np.array([0]), np.array([False])
        >>> for x in (5.0, 6.0, 7.0, 5.5, 8.0):
        ...     memory.append(slots, np.array([x]), np.array([1.0]), no)
        >>> [float(memory.at(slots, np.array([lag]))[0]) for lag in range(4)]
        [8.0, 5.5, 7.0, 6.0]
    """

    ring: NDArray[np.int16]
    anchor: NDArray[np.float64]
    step: NDArray[np.float64]
    count: NDArray[np.int16]
    head: NDArray[np.int16]

    def __init__(self, length: int, capacity: int = 0) -> None:
        self.length = length
        super().__init__(
            {
                "ring": Column(np.int16, (length,)),
                "anchor": Column(np.float64),
                "step": Column(np.float64, (), 1.0),
                "count": Column(np.int16),
                "head": Column(np.int16),
            },
            capacity,
        )

    def append(self, rows: Rows, value: FloatArray, size: FloatArray, reset: BoolArray) -> None:
        """Append one value a series; where `reset`, forget those before it.

        Args:
            rows: distinct slots, [n].
            value: float64[n], in the sensor's unit, at most 1e300 in size.
            size: float64[n], the usual change of the series; 0 = none so far.
            reset: bool[n].
        """
        count = self.count[rows].astype(np.int64)
        count[reset] = 0
        head = (self.head[rows].astype(np.int64) + 1) % self.length
        first = count == 0
        if first.any():
            begun = as_slots(rows)[first]
            self.ring[begun] = 0
            self.anchor[begun] = value[first]
        steps = (value - self.anchor[rows]) / self.step[rows]
        wrong = ~(np.abs(steps) < REACH)
        # While the ring is young its step follows the size at once, later it is looked at now and then.
        looked_at = (head % TIDY_EVERY == 0) | (count < 8)
        if looked_at.any():
            fine, step = finest(size), self.step[rows]
            wrong |= looked_at & (((step > 4 * fine) & (size > 0)) | (step < fine / 64))
        if wrong.any():
            self._requantise(as_slots(rows)[wrong], value[wrong], size[wrong])
            steps = (value - self.anchor[rows]) / self.step[rows]
        self.ring.reshape(-1)[self._base(rows) + head] = np.rint(np.clip(steps, -REACH, REACH))
        self.head[rows] = head
        self.count[rows] = np.minimum(count + 1, self.length)

    def at(self, rows: Rows, lag: IntArray) -> FloatArray:
        """The value that came `lag` readings before the latest, float64[n]; valid while `0 <= lag < count`."""
        values: FloatArray = self.anchor[rows] + self.step[rows] * self.steps_at(rows, lag)
        return values

    def steps_at(self, rows: Rows, lag: IntArray) -> NDArray[np.float64]:
        """As `at`, in steps from the anchor."""
        where = (self.head[rows].astype(np.int64) - lag) % self.length
        return self.ring.reshape(-1)[self._base(rows) + where].astype(np.float64)

    def history(self, slots: NDArray[np.integer[Any]]) -> FloatArray:
        """All values in order of time, in steps from the anchor, float64[n, length]; the latest is last."""
        order = (self.head[slots].astype(np.int64)[:, None] + 1 + np.arange(self.length)) % self.length
        return np.take_along_axis(self.ring[slots], order, axis=1).astype(np.float64)

    def _requantise(self, slots: NDArray[np.integer[Any]], value: FloatArray, size: FloatArray) -> None:
        values = self.anchor[slots, None] + self.step[slots, None] * self.ring[slots].astype(np.float64)
        low = np.minimum(values.min(axis=1), value) / 2
        high = np.maximum(values.max(axis=1), value) / 2
        least = finest(np.maximum((high - low) / (REACH // 2) * 2.0 ** (FINENESS + 1), 1e-280))
        step = np.maximum(least, finest(size))
        anchor = low + high
        self.ring[slots] = np.rint((values - anchor[:, None]) / step[:, None])
        self.anchor[slots] = anchor
        self.step[slots] = step

    def _base(self, rows: Rows) -> NDArray[np.integer[Any]]:
        return as_slots(rows).astype(np.int64) * self.length


def finest(size: FloatArray) -> FloatArray:
    """The power of two between 2^-6 and 2^-5 of `size`; 0 for 0."""
    exponent = np.frexp(size)[1] - 1 - FINENESS
    answer: FloatArray = np.where(size > 0, np.ldexp(1.0, exponent), 0.0)
    return answer
