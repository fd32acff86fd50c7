"""Times as programs hold them, to UTC nanoseconds."""

from datetime import UTC, datetime
from typing import Any, TypeAlias

import numpy as np

from stepahead.contract.errors import UsageError
from stepahead.contract.records import IntArray

__all__ = ["Moment", "moment_ns", "moments_ns"]

Moment: TypeAlias = int | str | datetime | np.datetime64
"""A point in time: whole nanoseconds since 1970 UTC, ISO 8601 text, `datetime` (also pandas' `Timestamp`), or
`numpy.datetime64`. What names no zone is UTC."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST_NS = 2**63 - 1


def moment_ns(time: Moment) -> int:
    """Nanoseconds since 1970 UTC.

    Raises:
        UsageError: of another type, unreadable, not a time (NaT), or outside the years 1678 to 2261.

    Example:
        >>> moment_ns("2026-01-01T01:00:00+01:00") == moment_ns(datetime(2026, 1, 1)) == 1767225600 * 10**9
        True
        >>> moment_ns(1767225600.0)
        Traceback (most recent call last):
        stepahead.contract.errors.UsageError: time 1767225600.0: a float has no unit; give whole nanoseconds, \
text, datetime or datetime64
    """
    if isinstance(time, (int, np.integer)) and not isinstance(time, bool):
        ns = int(time)
    elif hasattr(time, "as_unit"):  # pandas' Timestamp: a datetime that also counts nanoseconds
        ns = int(moments_ns([time])[0])
    elif isinstance(time, datetime):
        since = (time.replace(tzinfo=UTC) if time.tzinfo is None else time) - EPOCH
        ns = ((since.days * 86400 + since.seconds) * 10**6 + since.microseconds) * 1000
    elif isinstance(time, np.datetime64) and np.isnat(time):
        raise UsageError(f"time {time!r} is not a time")
    elif isinstance(time, (str, np.datetime64)):
        ns = int(moments_ns([time])[0])
    else:
        raise _not_a_time(time)
    if not -LONGEST_NS <= ns <= LONGEST_NS:
        raise UsageError(f"time {time!r}: outside the years 1678 to 2261")
    return ns


def moments_ns(times: Any) -> IntArray:
    """Nanoseconds since 1970 UTC of many times.

    Args:
        times: sequence, NumPy array, or pandas Series or Index, all of one kind of `Moment`.

    Raises:
        UsageError: of another kind, unreadable, or with a gap (NaT); the first bad row is named where there is one.

    Example:
        >>> moments_ns(np.array(["1970-01-01T00:00:01"], "datetime64[s]")).tolist(), moments_ns([5, 7]).tolist()
        ([1000000000], [5, 7])
    """
    array = np.asarray(times.array if hasattr(times, "array") else times)
    if array.ndim != 1:
        raise UsageError(f"times have {array.ndim} dimensions, allowed is one")
    if len(array) == 0:
        return np.empty(0, np.int64)
    if array.dtype.kind == "i":
        return array.astype(np.int64)
    if array.dtype.kind == "u" and array.max() <= LONGEST_NS:
        return array.astype(np.int64)
    if array.dtype.kind not in "MOUT":
        raise _not_a_time(array[0])
    if array.dtype.kind == "O" and not all(isinstance(time, (str, datetime, np.datetime64)) for time in array):
        wrong = next(time for time in array if not isinstance(time, (str, datetime, np.datetime64)))
        raise _not_a_time(wrong)
    import pandas  # most of a second, and only these need it

    try:
        index = pandas.DatetimeIndex(pandas.to_datetime(array, utc=True, format="ISO8601")).as_unit("ns")
    except (ValueError, OverflowError) as error:  # pandas' own errors are ValueErrors, and name the value
        raise UsageError(f"times: {error}") from error
    gaps = np.flatnonzero(index.isna())
    if len(gaps):
        raise UsageError(f"times: row {gaps[0]} is not a time")
    return np.asarray(index.asi8, dtype=np.int64)


def _not_a_time(time: object) -> UsageError:
    why = "a float has no unit" if isinstance(time, (float, np.floating)) else f"a {type(time).__name__} is not a time"
    return UsageError(f"time {time!r}: {why}; give whole nanoseconds, text, datetime or datetime64")
