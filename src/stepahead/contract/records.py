"""Columns that travel between the rooms: readings in, forecasts out. No object per reading anywhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "REFUSED",
    "STATUS_NAMES",
    "BoolArray",
    "FloatArray",
    "Forecasts",
    "IntArray",
    "Intern",
    "Readings",
    "SlotArray",
    "Status",
]

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
SlotArray: TypeAlias = NDArray[np.int32]
BoolArray: TypeAlias = NDArray[np.bool_]

REFUSED = -1
"""What `Intern` returns for a key that would be one series too many."""

Intern: TypeAlias = Callable[[str], int]
"""Series key -> slot, making the series if it is new; `REFUSED` when `max_series` is reached."""


class Status:
    """Codes of `Forecasts.status`; the words on the wire are in `STATUS_NAMES`."""

    WARMING = 0
    OK = 1
    STALE = 2


STATUS_NAMES = ("warming", "ok", "stale")


@dataclass(frozen=True, slots=True)
class Readings:
    """A batch of readings, in order of arrival.

    Attributes:
        series: int32[n], slots.
        time_ns: int64[n], UTC nanoseconds since 1970.
        value: float64[n], in the sensor's unit, finite.

    Example:
        >>> batch = Readings.of([0, 1], [10, 10], [20.5, 3.0])
        >>> len(batch), batch.value.dtype
        (2, dtype('float64'))
    """

    series: SlotArray
    time_ns: IntArray
    value: FloatArray

    @classmethod
    def of(cls, series: Sequence[int], time_ns: Sequence[int], value: Sequence[float]) -> "Readings":
        """Build a batch from plain sequences of equal length."""
        return cls(
            np.asarray(series, dtype=np.int32),
            np.asarray(time_ns, dtype=np.int64),
            np.asarray(value, dtype=np.float64),
        )

    def __post_init__(self) -> None:
        if not len(self.series) == len(self.time_ns) == len(self.value):
            lengths = (len(self.series), len(self.time_ns), len(self.value))
            raise ValueError(f"columns differ in length: {lengths}")

    def __len__(self) -> int:
        return len(self.series)

    def __getitem__(self, rows: slice | NDArray[np.intp]) -> "Readings":
        return Readings(self.series[rows], self.time_ns[rows], self.value[rows])

    @staticmethod
    def concatenate(parts: "Sequence[Readings]") -> "Readings":
        """One batch from several, in order."""
        return Readings(
            np.concatenate([p.series for p in parts]) if parts else np.empty(0, np.int32),
            np.concatenate([p.time_ns for p in parts]) if parts else np.empty(0, np.int64),
            np.concatenate([p.value for p in parts]) if parts else np.empty(0, np.float64),
        )


@dataclass(frozen=True, slots=True)
class Forecasts:
    """What the engine answers: one row per accepted reading, in order of arrival.

    Attributes:
        reading: int64[n], row of the reading within the batch it came in.
        series: int32[n], slot.
        issued_at_ns: int64[n], time of the reading that the forecast was made from.
        valid_at_ns: int64[n], time of the reading that is forecast: issued + the series' period.
        value: float64[n, K], forecast for the next reading (K = horizon, K > 1 by a setting), sensor's unit.
        mean: float64[n], what the next reading is expected to be on average, for sums and squared errors; `value` lies
            nearer to the median and stands still where most readings do.
        lower, upper: float64[n, L], bounds of the next reading (step one) per level, L = number of levels.
        observed: float64[n], the reading itself.
        error: float64[n], observed minus the forecast made for it earlier; NaN inside when there was none,
            left out on the wire.
        anomaly: bool[n], whether the reading was improbable given the forecast made for it.
        score: float64[n], conformal p-value of the reading in (0, 1]; NaN when there was no forecast.
        status: int8[n], a `Status`.
        model: int64[n], version of the weights.
        id: uint64[n], a function of series key, time and value alone.
    """

    reading: IntArray
    series: SlotArray
    issued_at_ns: IntArray
    valid_at_ns: IntArray
    value: FloatArray
    mean: FloatArray
    lower: FloatArray
    upper: FloatArray
    observed: FloatArray
    error: FloatArray
    anomaly: BoolArray
    score: FloatArray
    status: NDArray[np.int8]
    model: IntArray
    id: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.series)

    def __getitem__(self, rows: slice | NDArray[np.intp] | BoolArray) -> "Forecasts":
        return Forecasts(*(getattr(self, f.name)[rows] for f in fields(self)))

    @staticmethod
    def concatenate(parts: "Sequence[Forecasts]") -> "Forecasts":
        """One table from several, in order; the parts must not be empty and share their levels."""
        return Forecasts(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Forecasts)))
