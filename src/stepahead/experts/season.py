"""How long the season of a series is: the calendar day or week where its period divides them, else what repeats."""

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column
from stepahead.contract.records import BoolArray, FloatArray, IntArray
from stepahead.experts.memory import Memory
from stepahead.experts.rows import Rows, as_slots

__all__ = ["DAY_NS", "Season", "calendar", "repeating"]

DAY_NS = 86_400_000_000_000
UNKNOWN = -1
"""No period: the season is worked out at the next update."""
LEAST_STEPS = 4
"""Fewer readings than this are no season worth a memory: lags do as well."""


class Season(Bank):
    """The season of each series in readings, and whether it is the calendar's day.

    A series whose period does not divide a day (or is unknown) is searched for a period of its own every
    half memory by autocorrelation; the answer counts when two searches in a row agree.

    Args:
        steps: season in readings, for all series; 0 = found as above.
        memory: length of the memory that is searched; no season may be longer.
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
            },
            capacity,
        )

    def update(self, rows: Rows, period_ns: IntArray) -> BoolArray:
        """Take in the usual time between readings; True where the season has changed by it.

        Args:
            rows: distinct slots, [n].
            period_ns: int64[n]; 0 = unknown.
        """
        known: BoolArray = period_ns == self.period[rows]
        if known.all():
            return ~known
        self.period[rows] = period_ns
        if self.steps:
            length, daily = np.full(len(period_ns), self.steps), np.zeros(len(period_ns), dtype=np.bool_)
        else:
            length, daily = calendar(period_ns, self.memory - 2)
            length = np.where(length > 0, length, self.found[rows])
        changed: BoolArray = (length != self.length[rows]) | (daily != self.daily[rows])
        self.length[rows] = length
        self.daily[rows] = daily
        return changed

    def search(self, rows: Rows, memory: Memory) -> None:
        """Look for a period of its own in each series whose turn it is and that has no season by calendar.

        Args:
            rows: distinct slots, [n].
            memory: their past.
        """
        if self.steps:
            return
        # Turns are spread by the series' own digits, so that series that started together do not all search at once.
        half = self.memory // 2
        digits = (memory.anchor[rows].view(np.uint64) % np.uint64(half)).astype(np.int64)
        turn = (memory.head[rows] + digits) % half == 0
        turn &= (memory.count[rows] >= half) & ((self.length[rows] == 0) | (self.length[rows] == self.found[rows]))
        if not turn.any():
            return
        slots = as_slots(rows)[turn]
        length = repeating(memory.history(slots), memory.count[slots])
        agreed = (length > 0) & (np.abs(length - self.candidate[slots]) <= np.maximum(1, length // 20))
        stays = np.abs(length - self.found[slots]) <= np.maximum(1, length // 20)
        self.found[slots] = np.where(agreed & ~stays, length, self.found[slots])
        self.candidate[slots] = length
        self.period[slots] = UNKNOWN


def calendar(period_ns: IntArray, longest: int) -> tuple[NDArray[np.int64], BoolArray]:
    """The day, or else the week, in readings, int64[n], and whether it is the day, bool[n]; 0 where neither fits.

    A period fits when so many of it miss the day by less than a tenth of one.

    Args:
        period_ns: int64[n]; 0 = unknown.
        longest: longest season, in readings.

    Example:
        >>> length, daily = calendar(np.array([300, 86400, 7, 0]) * 1_000_000_000, 338)
        >>> length.tolist(), daily.tolist()
        ([288, 7, 0, 0], [True, False, False, False])
    """
    period = np.maximum(period_ns, 1)
    answer = np.zeros(len(period), dtype=np.int64)
    daily = np.zeros(len(period), dtype=np.bool_)
    for span, is_day in ((DAY_NS, True), (7 * DAY_NS, False)):
        steps = (span + period // 2) // period
        fits = (period_ns > 0) & (steps >= LEAST_STEPS) & (steps <= longest) & (answer == 0)
        fits &= np.abs(np.minimum(steps, longest) * period - span) * 10 < period
        answer = np.where(fits, steps, answer)
        daily |= fits & is_day
    return answer, daily


def repeating(history: FloatArray, count: NDArray[np.int16]) -> NDArray[np.int64]:
    """The shortest lag at which each series is much like itself again, int64[n]; 0 where there is none.

    The lag must be a local maximum of the autocorrelation of the detrended series, above 0.5 and 0.4 above the lowest
    value before it.

    Args:
        history: float64[n, T], the latest value last.
        count: values that count, from the end.

    Example:
        >>> wave = np.sin(np.arange(340) * 2 * np.pi / 25)[None, :]
        >>> repeating(wave, np.array([340], dtype=np.int16)).tolist()
        [25]
    """
    steps = history.shape[1]
    age = np.arange(steps)[::-1]
    there = age[None, :] < count[:, None]
    number = count[:, None].astype(np.float64)
    x = np.where(there, history, 0.0)
    x = x - np.where(there, x.sum(axis=1, keepdims=True) / number, 0.0)
    time = np.where(there, (number - 1) / 2 - age, 0.0)
    x -= time * ((x * time).sum(axis=1, keepdims=True) / np.maximum((time * time).sum(axis=1, keepdims=True), 1.0))
    spectrum = np.fft.rfft(x, n=2 * steps, axis=1)
    longest = steps // 2
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, : longest + 2]
    covariance /= np.maximum(number - np.arange(longest + 2), 1.0)
    correlation = covariance / np.maximum(covariance[:, :1], 1e-12)
    lowest = np.minimum.accumulate(correlation, axis=1)
    peak = (correlation[:, 1:-1] >= correlation[:, :-2]) & (correlation[:, 1:-1] > correlation[:, 2:])
    lag = np.arange(1, longest + 1)
    peak &= (correlation[:, 1:-1] > 0.5) & (correlation[:, 1:-1] - lowest[:, 1:-1] > 0.4)
    peak &= (lag >= LEAST_STEPS) & (2 * lag <= number)
    best = np.where(peak, correlation[:, 1:-1], 0.0).max(axis=1, keepdims=True)
    peak &= correlation[:, 1:-1] >= 0.9 * best
    answer: NDArray[np.int64] = np.where(peak.any(axis=1), lag[peak.argmax(axis=1)], 0)
    return answer
