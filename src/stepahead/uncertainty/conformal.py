"""Prediction intervals whose coverage is held by feedback, and the p-value of every reading."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column, Composite, Slots, indices
from stepahead.contract.compiled import compiled
from stepahead.contract.flags import every, some
from stepahead.contract.records import BoolArray, FloatArray
from stepahead.contract.settings import IntervalSettings
from stepahead.uncertainty.anomaly import MATURE, Anomaly
from stepahead.uncertainty.quantiles import Quantiles
from stepahead.uncertainty.scale import ENOUGH, ErrorScale

__all__ = ["Conformal", "Judgement"]

READY = 32
INTERIOR = (0.1, 0.2, 0.35)
"""Tail probabilities between the anomaly's anchor and the median at which p-values are pinned."""
GUESS_SLOPE, GUESS_FREE = 1.6, 0.165
"""How the tail goes on beyond its last quantiles: fitted to uniform, normal, Laplace and Student's t (3) tables."""
NARROWEST = np.float32(1e-6)
SMALLEST = 1e-280
LARGEST_SCORE = 1e6
YOUNG = 6.0
"""The size is taken larger by this share of one over the number of errors it was learned from."""
ZERO, ONE = np.float32(0.0), np.float32(1.0)


class Judgement(NamedTuple):
    """What a reading looked like, given the forecast made for it.

    Attributes:
        p: float64[n], two-sided conformal p-value in (0, 1]; NaN where no forecast was waiting.
        anomaly: bool[n], whether p fell below the asked rate.
        error: float64[n], the reading less the forecast that waited for it; NaN where none did.
    """

    p: FloatArray
    anomaly: BoolArray
    error: FloatArray


class Pending(Bank):
    """The forecast that waits for its reading, per series."""

    waiting: BoolArray
    value: FloatArray
    scale: FloatArray
    seen: NDArray[np.int32]

    def __init__(self, capacity: int) -> None:
        super().__init__(
            {
                "waiting": Column(np.bool_),
                "value": Column(np.float64),
                "scale": Column(np.float64),
                "seen": Column(np.int32),
            },
            capacity,
        )


class Conformal(Composite):
    """Intervals around one-step forecasts, distribution-free and online, and the anomaly flag.

    The score of a reading is its error over the running size of errors (`ErrorScale`). The interval of level c
    lies between the (1 - c) / 2 and (1 + c) / 2 quantiles of the scores, each tail tracked on its own
    (`Quantiles`), times the size; so its long-run coverage is c for any feed whose errors do not tie. The p-value
    interpolates the tracked quantiles; beyond the last it follows the tail of `Anomaly`.

    An interval always contains its point forecast: exact forecasts, as of a constant or coarsely quantised feed, are
    covered, and coverage is then above the level. A newborn series has no errors: its
    interval is the forecast ± its own magnitude (± 1 at 0), and shrinks to the scores' within about ten readings.

    Args:
        settings: levels and anomaly rate.
        capacity: number of slots to start with.

    Example:
        >>> bank = Conformal(IntervalSettings(), capacity=1)
        >>> slot = np.array([0])
        >>> for reading in np.random.default_rng(0).normal(size=1000):
        ...     lower, upper = bank.forecast(slot, np.array([0.0]))
        ...     judgement = bank.update(slot, np.array([reading]))
        >>> bool(-2 < lower[0, 0] < -1.3 and 1.3 < upper[0, 0] < 2)
        True
    """

    def __init__(self, settings: IntervalSettings, capacity: int = 0) -> None:
        self.levels = settings.levels
        self._scale = ErrorScale(capacity)
        self._anomaly = Anomaly(settings.anomaly_rate, capacity)
        self._pending = Pending(capacity)
        anchor = self._anomaly.anchor / 2.0
        wanted = [round((1.0 - level) / 2.0, 12) for level in settings.levels]
        tails = sorted({anchor, *wanted, *(tail for tail in INTERIOR if tail > anchor)})
        levels = [*tails, 0.5, *(1.0 - tail for tail in reversed(tails))]
        self._quantiles = Quantiles(levels, capacity)
        self._low = np.array([tails.index(tail) for tail in wanted])
        self._high = len(levels) - 1 - self._low
        self._median = len(tails)
        self._inside = slice(tails.index(anchor), len(levels) - tails.index(anchor))
        self._next = tails.index(INTERIOR[0]) - tails.index(anchor) if anchor < INTERIOR[0] else 1
        self._mass = np.diff(levels[self._inside]).astype(np.float32)
        self._outside = np.float32(anchor)
        super().__init__(
            {
                "scale": self._scale,
                "quantiles": self._quantiles,
                "anomaly": self._anomaly,
                "pending": self._pending,
            }
        )

    def forecast(self, slots: Slots, value: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Interval of the next reading of each series, and remember it for scoring.

        Args:
            slots: int[n], distinct.
            value: float64[n], point forecasts, finite, in the sensor's unit.

        Returns:
            lower, upper: float64[n, levels], lower ≤ value ≤ upper; a higher level is never narrower.
        """
        lower = np.empty((len(slots), len(self.levels)))
        upper = np.empty_like(lower)
        slots = indices(slots)
        pending = self._pending
        _bound(
            *(slots, value, self._scale.scale(slots), self._scale.sized, self._quantiles.ordered(slots)),
            *(pending.waiting, pending.value, pending.scale, pending.seen, self._low, self._high, lower, upper),
        )
        return lower, upper

    def update(self, slots: Slots, observed: FloatArray) -> Judgement:
        """Score the waiting intervals against readings float64[n] (finite, sensor's unit), then learn from them."""
        slots = indices(slots)
        waiting = self._pending.waiting[slots]
        if every(waiting):
            return self._update(slots, observed)
        answer = Judgement(np.full(len(slots), np.nan), np.zeros(len(slots), np.bool_), np.full(len(slots), np.nan))
        if some(waiting):
            for whole, part in zip(answer, self._update(slots[waiting], observed[waiting]), strict=True):
                whole[waiting] = part
        return answer

    def _update(self, slots: NDArray[np.intp], observed: FloatArray) -> Judgement:
        n, pending = len(slots), self._pending
        error, score, seen = np.empty(n), np.empty(n, np.float32), np.empty(n, np.int32)
        state = (pending.waiting, pending.value, pending.scale, pending.seen)
        _score(slots, observed, *state, error, score, seen)
        p, beyond, guess = np.empty(n), np.empty(n), np.empty(n)
        places = (self._inside.start, self._inside.stop, self._median, self._next)
        _judge(score, self._quantiles.ordered(slots), *places, self._mass, self._outside, p, beyond, guess)
        p_tail, anomaly = self._anomaly.update(slots, beyond, seen, guess)
        _join(p, p_tail, beyond, seen)
        self._quantiles.update(slots, score, seen)
        self._scale.update(slots, error)
        return Judgement(p, anomaly, error)

    def ready(self, slots: Slots) -> BoolArray:
        """Whether so many errors were seen that the interval is the scores' own, bool[n]."""
        return np.asarray(self._pending.seen[slots] >= READY)

    def rise(self, slots: Slots) -> FloatArray:
        """See `ErrorScale.rise`."""
        return self._scale.rise(slots)

    def reset_dynamics(self, slots: Slots) -> None:
        """After a gap: drop the waiting forecast and the burst of errors that may have been going on."""
        self._pending.waiting[slots] = False
        self._scale.reset_dynamics(slots)


@compiled
def _bound(
    slots: Any,
    values: Any,
    sizes: Any,
    sized: Any,
    quantiles: Any,
    waiting: Any,
    waiting_values: Any,
    waiting_sizes: Any,
    seen: Any,
    low: Any,
    high: Any,
    lower: Any,
    upper: Any,
) -> None:
    """Write the intervals, and what will be needed when their readings come."""
    for i in range(len(slots)):
        slot, value = slots[i], values[i]
        waiting[slot], waiting_values[slot], waiting_sizes[slot] = True, value, sizes[i]
        scale = sizes[i] * (1.0 + YOUNG / max(sized[slot], 1))
        newborn = 0.0
        if seen[slot] < MATURE:
            newborn = (abs(value) if value != 0.0 else 1.0) * 2.0 ** -seen[slot]
        for k in range(len(low)):
            lower[i, k] = value - max(-min(quantiles[i, low[k]], ZERO) * scale, newborn)
            upper[i, k] = value + max(max(quantiles[i, high[k]], ZERO) * scale, newborn)


@compiled
def _score(
    slots: Any,
    observed: Any,
    waiting: Any,
    values: Any,
    sizes: Any,
    counts: Any,
    error: Any,
    score: Any,
    seen: Any,
) -> None:
    """Errors, their sizes in units of what they were expected to be, and how many came before."""
    for i in range(len(slots)):
        slot = slots[i]
        waiting[slot] = False
        error[i] = observed[i] - values[slot]
        size = max(sizes[slot], SMALLEST)
        score[i] = min(max(error[i], -size * LARGEST_SCORE), size * LARGEST_SCORE) / size
        seen[i] = counts[slot]
        counts[slot] = min(counts[slot] + 1, ENOUGH)


@compiled
def _join(p: Any, p_tail: Any, beyond: Any, seen: Any) -> None:
    """The p-value of the tail where the score lies in it; none is surer than so many scores can make it."""
    for i in range(len(p)):
        if beyond[i] > 0.0:
            p[i] = p_tail[i]
        if seen[i] < MATURE:
            p[i] = max(p[i], 1.0 / (seen[i] + 1.0))


@compiled
def _judge(
    scores: Any,
    knots: Any,
    first: int,
    stop: int,
    median_at: int,
    step_in: int,
    mass: Any,
    outside: Any,
    p: Any,
    beyond: Any,
    guess: Any,
) -> None:
    """The p-value inside the outermost of the tracked quantiles, and how far beyond them the score lies."""
    for i in range(len(scores)):
        score, q = scores[i], knots[i]
        below = outside
        for j in range(first, stop - 1):
            share = (score - q[j]) / max(q[j + 1] - q[j], NARROWEST)
            below += min(max(share, ZERO), ONE) * mass[j - first]
        p[i] = min(2.0 * min(below, 1.0 - below), 1.0)
        far = score - q[median_at]
        edge = q[stop - 1] - q[median_at] if far > ZERO else q[median_at] - q[first]
        beyond[i] = np.log(max(abs(far), NARROWEST) / max(edge, NARROWEST))
        wide = max(q[stop - 1] - q[first], NARROWEST)
        narrow = max(q[stop - 1 - step_in] - q[first + step_in], NARROWEST)
        guess[i] = GUESS_SLOPE * (np.log(wide / narrow) - GUESS_FREE)
