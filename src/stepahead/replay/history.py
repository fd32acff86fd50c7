"""The newest steps of each series: what seasonal inputs, windows and the recomputing of hidden states read."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column
from stepahead.contract.records import BoolArray, SlotArray

__all__ = ["PROFILE_DAYS", "History", "Windows"]

PROFILE_DAYS = 7
"""Days averaged to the profile of a day: as many as make every weekday count once."""

Slots = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class Windows:
    """N windows of T consecutive steps of G series that report together (G = 1 outside declared groups).

    Attributes:
        series: int32[N, G], slots.
        end_ns: int64[N], time of the last step.
        period_ns: int64[N], time between steps.
        span_ns: int64[N], time from the series' first reading to the last step.
        diff: float32[N, G, T], differenced value, raw: it is scaled when it is used.
        day: float32[N, G, T], the difference one day before the step's target; 0 where unknown.
        week: float32[N, G, T], likewise one week before.
        profile: float32[N, G, T], likewise the mean over the newest `PROFILE_DAYS` days.
        context: float16[N, G, T, C], what else the network was shown at each step, in model units.
    """

    series: SlotArray
    end_ns: NDArray[np.int64]
    period_ns: NDArray[np.int64]
    span_ns: NDArray[np.int64]
    diff: NDArray[np.float32]
    day: NDArray[np.float32]
    week: NDArray[np.float32]
    profile: NDArray[np.float32]
    context: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.series)

    def __getitem__(self, rows: slice | NDArray[Any]) -> "Windows":
        return Windows(*(getattr(self, field.name)[rows] for field in fields(self)))

    @staticmethod
    def columns(members: int, steps: int, context: int) -> dict[str, Column]:
        """Name -> dtype and shape per window: what a buffer of such windows allocates."""
        return {
            "series": Column(np.int32, (members,)),
            "end_ns": Column(np.int64),
            "period_ns": Column(np.int64),
            "span_ns": Column(np.int64),
            "diff": Column(np.float32, (members, steps)),
            "day": Column(np.float32, (members, steps)),
            "week": Column(np.float32, (members, steps)),
            "profile": Column(np.float32, (members, steps)),
            "context": Column(np.float16, (members, steps, context)),
        }

    @staticmethod
    def concatenate(parts: "list[Windows]") -> "Windows":
        """One set from several of equal G and T; the parts must not be empty."""
        return Windows(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Windows)))


class History(Bank):
    """Rings of the newest steps per series.

    Args:
        steps: T, length of a window.
        memory: steps of the difference that are kept; seasons longer than `memory` - T are out of its sight.
        context: C, further numbers kept for each step of a window.
        capacity: slots to start with.

    Example:
        >>> history = History(steps=3, memory=8, context=1, capacity=1)
        >>> slot = np.array([0])
        >>> for d in (1.0, 2.0, 3.0, 4.0):
        ...     history.push(slot, np.array([d]), np.zeros((1, 1)), connected=np.array([True]))
        >>> history.lagged(slot, np.array([2])).tolist(), int(history.run[0])
        ([2.0], 4)
    """

    diff: NDArray[np.float32]
    context: NDArray[np.float16]
    cursor: NDArray[np.int64]
    run: NDArray[np.int64]

    def __init__(self, steps: int, memory: int, context: int, capacity: int = 0) -> None:
        self.steps = steps
        self.memory = max(memory, steps)
        super().__init__(
            {
                "diff": Column(np.float32, (self.memory,)),
                "context": Column(np.float16, (steps, context)),
                "cursor": Column(np.int64),
                "run": Column(np.int64),
            },
            capacity,
        )

    def push(self, slots: Slots, diff: NDArray[Any], context: NDArray[Any], connected: BoolArray) -> None:
        """Append one step to each of these distinct series.

        Args:
            slots: int[n], distinct.
            diff: float[n], differenced value; magnitudes beyond float32 are clipped to its largest.
            context: float[n, C], bounded.
            connected: bool[n], whether the step follows the one before without a gap; if not, a new run starts.
        """
        cursor = self.cursor[slots]
        limit = np.finfo(np.float32).max
        self.diff[slots, cursor % self.memory] = np.clip(diff, -limit, limit)
        self.context[slots, cursor % self.steps] = context
        self.cursor[slots] = cursor + 1
        self.run[slots] = np.where(connected, self.run[slots] + 1, 1)

    def interrupt(self, slots: Slots) -> None:
        """End the run of these series: no window reaches across, or includes, their newest step."""
        self.run[slots] = 0

    def lagged(self, slots: Slots, lag: NDArray[np.int64]) -> NDArray[np.float32]:
        """The difference `lag` steps before the newest (0 = the newest); 0 where it is not known.

        Args:
            slots: int[n].
            lag: int64[n]; negative = there is none.
        """
        cursor = self.cursor[slots]
        known = (lag >= 0) & (lag < np.minimum(cursor, self.memory))
        return np.where(known, self.diff[slots, (cursor - 1 - lag) % self.memory], np.float32(0))

    def profile(self, slots: Slots, day_steps: NDArray[np.int64]) -> NDArray[np.float32]:
        """Mean difference at the time of day of the next reading, over the newest days that are known; else 0.

        Args:
            slots: int[n].
            day_steps: int64[n], steps of a day; 0 = none.
        """
        mean = np.zeros(len(slots), np.float32)
        has = np.flatnonzero(day_steps > 0)
        if len(has):
            cursor = self.cursor[slots[has]][:, None]
            sources = cursor - day_steps[has, None] * np.arange(1, PROFILE_DAYS + 1)  # absolute step numbers
            mean[has] = self._mean_of(slots[has, None], sources, cursor)
        return mean

    def _mean_of(self, slots: Slots, sources: NDArray[np.int64], cursor: NDArray[np.int64]) -> NDArray[np.float32]:
        """Mean over the last axis of the differences at these steps, of those that are still known."""
        known = sources >= np.maximum(cursor - self.memory, 0)
        values = np.where(known, self.diff[slots, sources % self.memory], np.float32(0))
        total = values[..., 0].astype(np.float64)
        for k in range(1, PROFILE_DAYS):  # one by one: NumPy's own sum may round by the number of rows
            total += values[..., k]
        return np.asarray(total / np.maximum(known.sum(axis=-1), 1)).astype(np.float32)

    def windows(
        self,
        units: Slots,
        end_ns: NDArray[np.int64],
        period_ns: NDArray[np.int64],
        span_ns: NDArray[np.int64],
        day_steps: NDArray[np.int64],
        week_steps: NDArray[np.int64],
    ) -> Windows:
        """Cut out the newest T steps of each of N units.

        Args:
            units: int[N, G], slots of the G series of each unit, each with a run of at least T.
            end_ns: int64[N], time of the newest step.
            period_ns: int64[N], time between steps.
            span_ns: int64[N], time since the first reading.
            day_steps: int64[N], steps of a day; 0 = none.
            week_steps: int64[N], steps of a week; 0 = none.
        """
        back = np.arange(self.steps - 1, -1, -1)  # [T], steps before the newest
        cursor = self.cursor[units][..., None]  # [N, G, 1]
        at = cursor - 1 - back  # [N, G, T], absolute step numbers

        def season(steps: NDArray[np.int64]) -> NDArray[np.float32]:
            source = at + 1 - steps[:, None, None]  # the target is one step on
            known = (steps[:, None, None] > 0) & (source >= np.maximum(cursor - self.memory, 0))
            return np.where(known, self.diff[units[..., None], source % self.memory], np.float32(0))

        days = day_steps[:, None, None, None] * np.arange(1, PROFILE_DAYS + 1)
        profile = self._mean_of(units[..., None, None], at[..., None] + 1 - days, cursor[..., None])
        return Windows(
            series=units.astype(np.int32),
            end_ns=end_ns,
            period_ns=period_ns,
            span_ns=span_ns,
            diff=self.diff[units[..., None], at % self.memory],
            day=season(day_steps),
            week=season(week_steps),
            profile=np.where(day_steps[:, None, None] > 0, profile, np.float32(0)),
            context=self.context[units[..., None], at % self.steps],
        )
