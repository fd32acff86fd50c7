"""What a series did one season ago: a ring of its past values, and the length of its season."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column
from stepahead.contract.records import BoolArray, FloatArray, IntArray

__all__ = ["Season"]

DAY_NS = 86_400_000_000_000
LEAST_STEPS = 4
"""A day of fewer readings than this is no season worth a memory."""


class Season(Bank):
    """Ring of the last `memory` values of a series, in float32 relative to its first value.

    Args:
        steps: season in readings; 0 = the calendar day and week where the series' period divides them.
        memory: values kept; 4 bytes each.
        capacity: number of slots to start with.

    Example:
        >>> season = Season(steps=3, capacity=1)
        >>> slots, no = np.array([0]), np.array([False])
        >>> for x in (5.0, 6.0, 7.0, 5.5):
        ...     season.update(slots, np.array([x]), no)
        >>> season.at(slots, np.array([3])).tolist()
        [5.0]
    """

    ring: NDArray[np.float32]
    anchor: NDArray[np.float64]
    factor: NDArray[np.float64]
    count: NDArray[np.int32]
    head: NDArray[np.int32]

    def __init__(self, steps: int = 0, memory: int = 340, capacity: int = 0) -> None:
        self.steps = steps
        self.memory = max(memory, steps + 3) if steps else memory
        super().__init__(
            {
                "ring": Column(np.float32, (self.memory,)),
                "anchor": Column(np.float64),
                "factor": Column(np.float64, (), 1.0),
                "count": Column(np.int32),
                "head": Column(np.int32),
            },
            capacity,
        )

    def update(self, slots: NDArray[np.integer[Any]], value: FloatArray, reset: BoolArray) -> None:
        """Append one value a series; where `reset`, forget those before it.

        Args:
            slots: distinct slots, [n].
            value: float64[n], in the sensor's unit.
            reset: bool[n].
        """
        count = np.where(reset, 0, self.count[slots])
        anchor = np.where(count == 0, value, self.anchor[slots])
        factor = np.where(count == 0, 1.0, self.factor[slots])
        away = value - anchor
        # The first value that differs fixes the unit: float32 then reaches from 1e-38 to 1e38 of it.
        fresh = (factor == 1.0) & (away != 0)
        if fresh.any():
            factor = np.where(fresh, np.ldexp(1.0, np.frexp(away)[1].clip(-1000, 1000)), factor)
        head = (self.head[slots] + 1) % self.memory
        limit = np.minimum(factor, 1e262) * 1e38
        self.ring[slots, head] = np.clip(away, -limit, limit) / factor
        self.head[slots] = head
        self.anchor[slots] = anchor
        self.factor[slots] = factor
        self.count[slots] = np.minimum(count + 1, self.memory)

    def at(self, slots: NDArray[np.integer[Any]], lag: IntArray) -> FloatArray:
        """The value that came `lag` readings before the latest, float64[n]; valid while `lag < count`."""
        values: FloatArray = self.anchor[slots] + self.factor[slots] * self.ring[
            slots, (self.head[slots] - lag) % self.memory
        ].astype(np.float64)
        return values

    def lengths(self, period_ns: IntArray) -> tuple[IntArray, IntArray]:
        """Short and long season in readings, int64[n] each; 0 where there is none.

        Args:
            period_ns: int64[n], the usual time between readings; 0 = unknown.
        """
        if self.steps:
            return np.full(len(period_ns), self.steps, dtype=np.int64), np.zeros(len(period_ns), dtype=np.int64)
        period = np.maximum(period_ns, 1)
        day = DAY_NS // period
        known = (period_ns > 0) & (day * period == DAY_NS) & (day >= LEAST_STEPS)
        day = np.where(known, day, 0)
        week = 7 * day
        return (
            np.where(day < self.memory - 2, day, 0),
            np.where(week < self.memory - 2, week, 0),
        )
