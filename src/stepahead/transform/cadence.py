"""How time between readings is understood: period, duplicates, late readings and gaps of each series."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column, Slots, indices
from stepahead.contract.compiled import compiled
from stepahead.contract.records import BoolArray, FloatArray, IntArray
from stepahead.contract.settings import CadenceSettings

__all__ = ["Arrival", "Cadence"]

RING = 7
"""Intervals kept per series: their median bears three odd ones, and the bank stays below 100 bytes a series."""

SETTLED = 8
"""Intervals after which the period is trusted: no gap is found and no elapsed time told before."""

DOUBT_LIMIT = 16
"""Intervals off the period, less those on it, after which the period is taken anew."""

LATEST = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Arrival:
    """What became of a batch of readings; one row per reading.

    Attributes:
        accepted: bool[n], the reading is newer than the last accepted one of its series, or the first.
        duplicate: bool[n], same time and same value as the last accepted reading; not accepted.
        late: bool[n], not newer than the last accepted reading and no duplicate of it; not accepted.
        gap: bool[n], accepted after more than `gap_periods` periods.
        reset: bool[n], accepted after more than `reset_periods` periods (then `gap` holds too).
        elapsed: float64[n], periods since the previous accepted reading, > 0; 1.0 where not accepted or unknown.
        before: float64[n], value of the previous accepted reading; its own where there is none.
        first: bool[n], accepted, and nothing was before.
        period_ns: int64[n], as `Cadence.period_ns` says now.
        due_ns: int64[n], as `Cadence.valid_at` says now.
        span_ns: int64[n], as `Cadence.span_ns` says now.
    """

    accepted: BoolArray
    duplicate: BoolArray
    late: BoolArray
    gap: BoolArray
    reset: BoolArray
    elapsed: FloatArray
    before: FloatArray
    first: BoolArray
    period_ns: IntArray
    due_ns: IntArray
    span_ns: IntArray


class Cadence(Bank):
    """Sampling period of each series, and what each arrival means against it.

    The period is the lower median of the first seven intervals. From then on an interval within a quarter of the
    period moves it by a sixteenth of the difference (Robbins and Monro 1951, constant gain, which averages jitter
    away); others raise a doubt that makes the period the median of the last seven intervals once they outnumber
    the agreeing ones by 16; seven equal intervals in a row are the period, exactly. So missing readings, single
    gaps and a late start leave it, and a changed rate is followed after 7 readings, or 16 if it is not regular.

    Args:
        settings: `gap_periods` and `reset_periods`.
        capacity: number of slots to start with.

    Example:
        >>> bank = Cadence(CadenceSettings(), capacity=1)
        >>> for t in range(0, 100, 10):
        ...     arrival = bank.update(np.array([0]), np.array([t]), np.array([1.5]))
        >>> bank.period_ns(np.array([0])).tolist(), bank.valid_at(np.array([0])).tolist()
        ([10], [100])
        >>> bank.update(np.array([0]), np.array([1090]), np.array([1.5])).reset.tolist()
        [True]
    """

    last_ns: IntArray
    first_ns: IntArray
    last_value: FloatArray
    period: IntArray
    count: IntArray
    interval: IntArray
    run: NDArray[np.int8]
    doubt: NDArray[np.int8]

    def __init__(self, settings: CadenceSettings, capacity: int = 0) -> None:
        columns = {
            "last_ns": Column(np.int64),
            "first_ns": Column(np.int64),
            "last_value": Column(np.float64),
            "period": Column(np.int64),
            "count": Column(np.int64),
            "interval": Column(np.int64, (RING,)),
            "run": Column(np.int8),
            "doubt": Column(np.int8),
        }
        super().__init__(columns, capacity)
        self.settings = settings

    def update(self, slots: Slots, time_ns: IntArray, value: FloatArray) -> Arrival:
        """Judge one reading per series and learn from those that are accepted.

        Args:
            slots: int32[n], distinct.
            time_ns: int64[n], any; differences beyond int64 saturate.
            value: float64[n], finite; only compared with the last one.
        """
        n = len(slots)
        accepted, duplicate, late, gap, reset, first = np.empty((6, n), np.bool_)
        elapsed, before = np.empty((2, n))
        period_ns, due_ns, span_ns = np.empty((3, n), np.int64)
        _update(
            indices(slots),
            np.ascontiguousarray(time_ns),
            np.ascontiguousarray(value),
            *(self.last_ns, self.first_ns, self.last_value, self.period, self.count),
            *(self.interval, self.run, self.doubt),
            self.settings.gap_periods,
            self.settings.reset_periods,
            *(accepted, duplicate, late, gap, reset, elapsed, before, first, period_ns, due_ns, span_ns),
        )
        return Arrival(accepted, duplicate, late, gap, reset, elapsed, before, first, period_ns, due_ns, span_ns)

    def period_ns(self, slots: Slots) -> IntArray:
        """int64[n], ns between two readings of each series; 0 while fewer than two were accepted."""
        period: IntArray = self.period[slots]
        return period

    def valid_at(self, slots: Slots) -> IntArray:
        """int64[n], ns, when the next reading is due: last time + period, at most the latest int64."""
        last = self.last_ns[slots]
        due: IntArray = last + self.period[slots]
        due[due < last] = LATEST
        return due

    def span_ns(self, slots: Slots) -> IntArray:
        """int64[n], ns from the first accepted reading to the last, at most the latest int64."""
        span: IntArray = self.last_ns[slots] - self.first_ns[slots]
        span[span < 0] = LATEST
        return span

    def seen(self, slots: Slots) -> IntArray:
        """int64[n], readings accepted so far."""
        count: IntArray = self.count[slots]
        return count


@compiled
def _update(
    slots: Any,
    time_ns: Any,
    value: Any,
    last_ns: Any,
    first_ns: Any,
    last_value: Any,
    period: Any,
    count: Any,
    interval: Any,
    run: Any,
    doubt: Any,
    gap_periods: float,
    reset_periods: float,
    accepted: Any,
    duplicate: Any,
    late: Any,
    gap: Any,
    reset: Any,
    elapsed: Any,
    before: Any,
    first: Any,
    period_ns: Any,
    due_ns: Any,
    span_ns: Any,
) -> None:
    ordered = np.empty(RING, np.int64)
    for i in range(len(slots)):
        slot, now = slots[i], time_ns[i]
        known = count[slot] > 0
        accepted[i] = now > last_ns[slot] or not known
        first[i] = not known
        duplicate[i] = known and now == last_ns[slot] and value[i] == last_value[slot]
        late[i] = not (accepted[i] or duplicate[i])
        before[i] = last_value[slot] if known else value[i]
        since = now - last_ns[slot]
        if since < 0 and accepted[i]:
            since = LATEST  # wrapped around: the true difference is beyond int64
        measured = accepted[i] and count[slot] > SETTLED
        elapsed[i] = since / max(period[slot], 1) if measured else 1.0
        gap[i], reset[i] = elapsed[i] > gap_periods, elapsed[i] > reset_periods
        if accepted[i]:
            last_ns[slot], last_value[slot] = now, value[i]
            if known:
                _learn(slot, since, count[slot] - 1, period, interval, run, doubt, ordered)
            else:
                first_ns[slot] = now
            count[slot] += 1
        period_ns[i] = period[slot]
        due = last_ns[slot] + period[slot]
        due_ns[i] = due if due >= last_ns[slot] else LATEST
        span = last_ns[slot] - first_ns[slot]
        span_ns[i] = span if span >= 0 else LATEST


@compiled
def _learn(slot: Any, since: Any, stored: Any, period: Any, interval: Any, run: Any, doubt: Any, ordered: Any) -> None:
    """Take one interval into the period; `stored` intervals came before."""
    place = stored % RING
    repeated = stored > 0 and interval[slot, place - 1] == since
    interval[slot, place] = since
    run[slot] = min(run[slot] + 1, RING) if repeated else 1

    now = period[slot]
    off = since - now
    distance = abs(off)
    if distance <= now >> 2:
        # Rounded away from zero, or the period would stay up to 15 ns beside a regular feed's.
        step = (distance + 15) >> 4
        now += step if off >= 0 else -step
        doubt[slot] = max(doubt[slot] - 1, 0)
    else:
        doubt[slot] += 1
    if doubt[slot] >= DOUBT_LIMIT or stored < RING:
        now = _lower_median(interval[slot], min(stored + 1, RING), ordered)
        doubt[slot] = 0
    period[slot] = since if run[slot] >= RING else now


@compiled
def _lower_median(interval: Any, filled: Any, ordered: Any) -> Any:
    """Of the `filled` intervals; the lower, since a missing reading only lengthens one."""
    for i in range(filled):
        place = i
        while place > 0 and ordered[place - 1] > interval[i]:
            ordered[place] = ordered[place - 1]
            place -= 1
        ordered[place] = interval[i]
    return ordered[(filled - 1) // 2]
