"""How long the season of a series is: the calendar day or week where its period divides them, else what repeats."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column, Slots, indices
from stepahead.contract.changes import Changes, change_at
from stepahead.contract.compiled import compiled
from stepahead.contract.flags import some
from stepahead.contract.records import BoolArray, FloatArray, IntArray
from stepahead.contract.sums import product

__all__ = ["DAY_NS", "Season", "calendar", "repeating"]

DAY_NS = 86_400_000_000_000
UNKNOWN = -1
"""No period: the season is worked out at the next update."""
LEAST_STEPS = 4
"""Fewer readings than this are no season worth a memory: lags do as well."""
ZERO, MUCH, ABOVE, NEARLY = np.float32(0.0), np.float32(0.5), np.float32(0.4), np.float32(0.9)
LEAST_VARIANCE = np.float32(1e-12)
SCATTER = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: its product with a number scatters over the upper bits (Knuth, TAOCP 3, sec. 6.4)."""


class Season(Bank):
    """The season of each series in readings, and whether it is the calendar's day.

    A series whose period does not divide a day (or is unknown) is searched for a period of its own every
    half memory by autocorrelation; the answer counts when two searches in a row agree.

    Args:
        steps: season in readings, for all series; 0 = found as above.
        memory: changes that are remembered; no season may be longer.
        capacity: number of slots to start with.

    Example:
        >>> season = Season(steps=0, memory=340, capacity=1)
        >>> slots, hour = np.array([0]), np.array([3_600_000_000_000])
        >>> changed = season.update(slots, hour)
        >>> int(season.length[0]), bool(season.daily[0])
        (24, True)
    """

    period: NDArray[np.int64]
    length: NDArray[np.int16]
    daily: NDArray[np.bool_]
    found: NDArray[np.int16]
    candidate: NDArray[np.int16]
    wait: NDArray[np.int16]

    def __init__(self, steps: int, memory: int, capacity: int = 0) -> None:
        self.steps = steps
        self.memory = memory
        super().__init__(
            {
                "period": Column(np.int64, (), UNKNOWN),
                "length": Column(np.int16),
                "daily": Column(np.bool_),
                "found": Column(np.int16),
                "candidate": Column(np.int16),
                "wait": Column(np.int16),
            },
            capacity,
        )

    def update(self, slots: Slots, period_ns: IntArray) -> BoolArray:
        """Take in the usual time between readings; True where the season has changed by it.

        Args:
            slots: int[n], distinct.
            period_ns: int64[n]; 0 = unknown.
        """
        changed = np.empty(len(slots), np.bool_)
        state = (self.period, self.length, self.daily, self.found)
        _update(indices(slots), period_ns, *state, self.steps, self.memory - 2, changed)
        return changed

    def search(self, slots: Slots, changes: Changes, value: FloatArray, anew: BoolArray) -> None:
        """Look for a period of its own in each series whose turn it is and that has no season by calendar.

        Args:
            slots: int[n], distinct.
            changes: their past, the newest reading included.
            value: float64[n], the newest reading.
            anew: bool[n], the series begins here.
        """
        if self.steps:
            return
        turn = np.empty(len(slots), np.bool_)
        state = (self.length, self.found, self.wait)
        _take_turns(indices(slots), *state, changes.count, self.memory // 2, value, anew, turn)
        if not some(turn):
            return
        slots, length = slots[turn], np.empty(np.count_nonzero(turn), np.int64)
        _search(indices(slots), *changes.state, length)
        agreed = (length > 0) & (np.abs(length - self.candidate[slots]) <= np.maximum(1, length // 20))
        stays = np.abs(length - self.found[slots]) <= np.maximum(1, length // 20)
        self.found[slots] = np.where(agreed & ~stays, length, self.found[slots])
        self.candidate[slots] = length
        self.period[slots] = UNKNOWN


@compiled
def _take_turns(
    slots: Any, lengths: Any, found: Any, waits: Any, counts: Any, half: int, values: Any, anew: Any, turn: Any
) -> None:
    """Count down to each series' search; first values scatter those of series that began together."""
    for i in range(len(slots)):
        slot = slots[i]
        turn[i] = False
        if anew[i]:
            waits[slot] = half + (np.float64(values[i]).view(np.uint64) * SCATTER >> np.uint64(40)) % np.uint64(half)
        elif lengths[slot] == 0 or lengths[slot] == found[slot]:
            waits[slot] -= 1
            if waits[slot] <= 0:
                waits[slot] = half
                turn[i] = counts[slot] >= half


@compiled
def calendar(period_ns: Any, longest: Any) -> Any:
    """The day, or else the week, in readings, and whether it is the day; 0 where neither fits.

    A period fits when so many of it miss the day by less than a tenth of one.

    Args:
        period_ns: int64; 0 = unknown.
        longest: longest season, in readings.

    Example:
        >>> [calendar(seconds * 1_000_000_000, 338) for seconds in (300, 86400, 7, 0)]
        [(288, True), (7, False), (0, False), (0, False)]
    """
    for days in (1, 7):
        span = days * DAY_NS
        steps = (span + period_ns // 2) // max(period_ns, 1)
        if period_ns > 0 and LEAST_STEPS <= steps <= longest and abs(steps * period_ns - span) * 10 < period_ns:
            return steps, days == 1
    return 0, False


@compiled
def _update(
    slots: Any,
    period_ns: Any,
    periods: Any,
    lengths: Any,
    daily: Any,
    found: Any,
    given: int,
    longest: int,
    changed: Any,
) -> None:
    for i in range(len(slots)):
        slot, period = slots[i], period_ns[i]
        changed[i] = False
        if period == periods[slot]:
            continue
        periods[slot] = period
        length, is_day = given, False
        if not given:
            length, is_day = calendar(period, longest)
            if not length:
                length = found[slot]
        changed[i] = length != lengths[slot] or is_day != daily[slot]
        lengths[slot], daily[slot] = length, is_day


@compiled
def repeating(values: Any, correlation: Any) -> Any:
    """The shortest lag at which a series is much like itself again; 0 where there is none.

    The lag must be a local maximum of the autocorrelation of the detrended series, above 0.5 and 0.4 above the lowest
    value before it.

    Args:
        values: float32[T], the past in order of time; it is overwritten.
        correlation: float32[L], room for lags up to L - 2, at most T / 2.

    Example:
        >>> wave = np.sin(np.arange(340) * 2 * np.pi / 25).astype(np.float32)
        >>> repeating(wave, np.empty(172, np.float32))
        25
    """
    number = len(values)
    mean, slope, spread = 0.0, 0.0, 0.0
    for t in range(number):
        mean += values[t] / number
    for t in range(number):
        time = t - (number - 1) / 2
        slope += (values[t] - mean) * time
        spread += time * time
    slope /= max(spread, 1.0)
    for t in range(number):
        values[t] -= mean + slope * (t - (number - 1) / 2)
    longest = min(len(correlation) - 2, number // 2)
    for lag in range(longest + 2):
        correlation[lag] = product(values, values[lag:], number - lag, ZERO) / np.float32(max(number - lag, 1))
    scale = max(correlation[0], LEAST_VARIANCE)
    for lag in range(longest + 2):
        correlation[lag] /= scale
    best, lowest = ZERO, correlation[0]
    for lag in range(1, longest + 1):
        if _stands_out(correlation, lag, lowest):
            best = max(best, correlation[lag])
        lowest = min(lowest, correlation[lag])
    lowest = correlation[0]
    for lag in range(1, longest + 1):
        if _stands_out(correlation, lag, lowest) and correlation[lag] >= NEARLY * best:
            return lag
        lowest = min(lowest, correlation[lag])
    return 0


@compiled
def _stands_out(correlation: Any, lag: Any, lowest: Any) -> Any:
    """Whether a lag is a peak that counts; `lowest` is that of the lags before it."""
    here = correlation[lag]
    peak = here >= correlation[lag - 1] and here > correlation[lag + 1] and lag >= LEAST_STEPS
    return peak and here > MUCH and here - min(lowest, here) > ABOVE


@compiled
def _search(slots: Any, rings: Any, scales: Any, counts: Any, heads: Any, lengths: Any) -> None:
    memory = rings.shape[1]
    values, correlation = np.empty(memory + 1, np.float32), np.empty(memory // 2 + 2, np.float32)
    for i in range(len(slots)):
        slot, value = slots[i], 0.0
        number = counts[slot] + 1
        for back in range(number):
            values[number - 1 - back] = value  # in units of the ring's scale, which leaves correlations as they are
            if back < counts[slot]:
                value -= change_at(rings[slot], 1.0, heads[slot], back)
        lengths[i] = repeating(values[:number], correlation)
