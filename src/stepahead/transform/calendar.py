"""Hour of day and day of week as features of a series that lives long enough to have them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.compiled import compiled
from stepahead.contract.records import IntArray

__all__ = ["CALENDAR_FEATURES", "DAY_NS", "WEEK_NS", "calendar_features", "write_calendar"]

CALENDAR_FEATURES = ("day_sin_1", "day_cos_1", "day_sin_2", "day_cos_2", "week_sin_1", "week_cos_1")
"""Names of the columns: sine and cosine of the hour in two harmonics, and of the weekday in one."""

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS
WEEK_NS = 7 * DAY_NS
MONDAY_NS = 3 * DAY_NS
"""1970-01-01 was a Thursday: so far into its week, which begins on Monday (ISO 8601)."""


def calendar_features(time_ns: IntArray, period_ns: IntArray, span_ns: IntArray) -> NDArray[np.float32]:
    """Sine and cosine of hour of day and day of week, zero where the series cannot have learnt them.

    Args:
        time_ns: int64[n], UTC nanoseconds since 1970, of any sign: usually the time that is forecast.
        period_ns: int64[n], the series' period; 0 = unknown, then all is zero.
        span_ns: int64[n], how long the series has been seen.

    Returns:
        float32[n, 6] in [−1, 1], columns `CALENDAR_FEATURES`. The day's are zero unless period ≤ 6 h and
        span ≥ 2 days, the week's unless period ≤ 1 day and span ≥ 14 days.

    Example:
        >>> noon = np.array([12 * HOUR_NS])
        >>> calendar_features(noon, np.array([HOUR_NS]), np.array([3 * DAY_NS])).round(3).tolist()
        [[0.0, -1.0, -0.0, 1.0, 0.0, 0.0]]
    """
    features = np.empty((len(time_ns), len(CALENDAR_FEATURES)), dtype=np.float32)
    time_ns, period_ns, span_ns = (np.ascontiguousarray(column, np.int64) for column in (time_ns, period_ns, span_ns))
    _features(time_ns, period_ns, span_ns, features)
    return features


@compiled
def _features(time_ns: Any, period_ns: Any, span_ns: Any, features: Any) -> None:
    for i in range(len(time_ns)):
        write_calendar(time_ns[i], period_ns[i], span_ns[i], features[i])


@compiled
def write_calendar(time_ns: Any, period_ns: Any, span_ns: Any, row: Any) -> None:
    """Write one row of `calendar_features`."""
    row[:] = 0.0
    # Taken in integers: a float64 of 1.8e18 ns would round to 256 ns, a float32 to two minutes.
    into_week = time_ns % WEEK_NS
    if 0 < period_ns <= 6 * HOUR_NS and span_ns >= 2 * DAY_NS:
        angle = into_week % DAY_NS * (2 * np.pi / DAY_NS)
        sine, cosine = np.sin(angle), np.cos(angle)
        row[0] = sine
        row[1] = cosine
        row[2] = 2 * sine * cosine
        row[3] = cosine * cosine - sine * sine
    if 0 < period_ns <= DAY_NS and span_ns >= 14 * DAY_NS:
        angle = (into_week + MONDAY_NS) % WEEK_NS * (2 * np.pi / WEEK_NS)
        row[4] = np.sin(angle)
        row[5] = np.cos(angle)
