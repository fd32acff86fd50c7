"""How time between readings is understood: period, duplicates, late readings and gaps of each series."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column
from stepahead.contract.records import BoolArray, FloatArray, IntArray, SlotArray
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
    """

    accepted: BoolArray
    duplicate: BoolArray
    late: BoolArray
    gap: BoolArray
    reset: BoolArray
    elapsed: FloatArray


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

    def update(self, slots: SlotArray, time_ns: IntArray, value: FloatArray) -> Arrival:
        """Judge one reading per series and learn from those that are accepted.

        Args:
            slots: int32[n], distinct.
            time_ns: int64[n], any; differences beyond int64 saturate.
            value: float64[n], finite; only compared with the last one.
        """
        last = self.last_ns[slots]
        count = self.count[slots]
        known = count > 0
        accepted = (time_ns > last) | ~known
        duplicate = known & (time_ns == last) & (value == self.last_value[slots])
        late = ~(accepted | duplicate)

        since = time_ns - last
        since[(since < 0) & accepted] = LATEST  # wrapped around: the true difference is beyond int64
        measured = accepted & (count > SETTLED)
        elapsed = np.where(measured, since / np.maximum(self.period[slots], 1), 1.0)
        gap = elapsed > self.settings.gap_periods
        reset = elapsed > self.settings.reset_periods

        if not accepted.all():
            slots, time_ns, value = slots[accepted], time_ns[accepted], value[accepted]
            since, count, known = since[accepted], count[accepted], known[accepted]
        self.last_ns[slots] = time_ns
        self.last_value[slots] = value
        self.count[slots] = count + 1
        if known.all():
            self._learn(slots, since, count - 1)
        else:
            newborn = slots[~known]
            self.first_ns[newborn] = time_ns[~known]
            self._learn(slots[known], since[known], count[known] - 1)
        return Arrival(accepted, duplicate, late, gap, reset, elapsed)

    def _learn(self, slots: SlotArray, since: IntArray, stored: IntArray) -> None:
        """Take one interval per slot into the period; `stored` intervals came before."""
        place = stored % RING
        repeated = (self.interval[slots, place - 1] == since) & (stored > 0)
        self.interval[slots, place] = since
        run = np.where(repeated, np.minimum(self.run[slots] + 1, RING), 1)
        self.run[slots] = run

        period = self.period[slots]
        off = since - period
        distance = np.abs(off)
        agrees = distance <= period >> 2
        # Rounded away from zero, or the period would stay up to 15 ns beside a regular feed's.
        step = np.copysign((distance + 15) >> 4, off).astype(np.int64)
        period += np.where(agrees, step, 0)
        doubt = np.maximum(self.doubt[slots] + np.where(agrees, -1, 1), 0)

        anew = np.flatnonzero((doubt >= DOUBT_LIMIT) | (stored < RING))
        if anew.size:
            period[anew] = self._median(slots[anew], np.minimum(stored[anew] + 1, RING))
            doubt[anew] = 0
        self.period[slots] = np.where(run >= RING, since, period)
        self.doubt[slots] = doubt

    def _median(self, slots: SlotArray, filled: IntArray) -> IntArray:
        """Lower median of the `filled` intervals; the lower, since a missing reading only lengthens one."""
        intervals = self.interval[slots]
        intervals[np.arange(RING) >= filled[:, None]] = LATEST
        intervals.sort(axis=1)
        median: IntArray = intervals[np.arange(len(slots)), (filled - 1) // 2]
        return median

    def period_ns(self, slots: SlotArray) -> IntArray:
        """int64[n], ns between two readings of each series; 0 while fewer than two were accepted."""
        period: IntArray = self.period[slots]
        return period

    def valid_at(self, slots: SlotArray) -> IntArray:
        """int64[n], ns, when the next reading is due: last time + period, at most the latest int64."""
        last = self.last_ns[slots]
        due: IntArray = last + self.period[slots]
        due[due < last] = LATEST
        return due

    def span_ns(self, slots: SlotArray) -> IntArray:
        """int64[n], ns from the first accepted reading to the last, at most the latest int64."""
        span: IntArray = self.last_ns[slots] - self.first_ns[slots]
        span[span < 0] = LATEST
        return span

    def seen(self, slots: SlotArray) -> IntArray:
        """int64[n], readings accepted so far."""
        count: IntArray = self.count[slots]
        return count
