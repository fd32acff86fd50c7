"""Prediction intervals whose coverage is held by feedback, and the p-value of every reading."""

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column, Composite
from stepahead.contract.records import BoolArray, FloatArray, IntArray, SlotArray
from stepahead.contract.settings import IntervalSettings
from stepahead.uncertainty.anomaly import LEARNING, MATURE, Anomaly
from stepahead.uncertainty.quantiles import Quantiles
from stepahead.uncertainty.scale import ErrorScale

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
BLOCK = 2048
"""Rows handled at once: the working arrays stay in the cache, and with the allocator (10,000 at once cost 3× more)."""

Single: TypeAlias = NDArray[np.float32]


def blocks(n: int) -> list[slice]:
    """Slices that cut n rows into blocks."""
    return [slice(start, start + BLOCK) for start in range(0, n, BLOCK)]


class Judgement(NamedTuple):
    """What a reading looked like, given the forecast made for it.

    Attributes:
        p: float64[n], two-sided conformal p-value in (0, 1]; NaN where no forecast was waiting.
        anomaly: bool[n], whether p fell below the asked rate.
    """

    p: FloatArray
    anomaly: BoolArray


class Pending(Bank):
    """The forecast that waits for its reading, per series."""

    waiting: BoolArray
    value: FloatArray
    scale: FloatArray
    seen: IntArray

    def __init__(self, capacity: int) -> None:
        super().__init__(
            {
                "waiting": Column(np.bool_),
                "value": Column(np.float64),
                "scale": Column(np.float64),
                "seen": Column(np.int64),
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
        self._mass = np.diff(levels[self._inside]).astype(np.float32)[:, None]
        self._outside = np.float32(anchor)
        super().__init__(
            {
                "scale": self._scale,
                "quantiles": self._quantiles,
                "anomaly": self._anomaly,
                "pending": self._pending,
            }
        )

    def forecast(self, slots: SlotArray, value: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Interval of the next reading of each series, and remember it for scoring.

        Args:
            slots: int[n], distinct.
            value: float64[n], point forecasts, finite, in the sensor's unit.

        Returns:
            lower, upper: float64[n, levels], lower ≤ value ≤ upper; a higher level is never narrower.
        """
        lower = np.empty((len(slots), len(self.levels)))
        upper = np.empty_like(lower)
        slots = slots.astype(np.intp)
        for rows in blocks(len(slots)):
            lower[rows], upper[rows] = self._forecast(slots[rows], value[rows])
        return lower, upper

    def _forecast(self, slots: SlotArray, value: FloatArray) -> tuple[FloatArray, FloatArray]:
        scale = self._scale.scale(slots)
        pending = self._pending
        pending.waiting[slots] = True
        pending.value[slots] = value
        pending.scale[slots] = scale
        quantiles = self._quantiles.ordered(self._quantiles.tracked(slots))
        seen = pending.seen[slots]
        scale = scale * (1.0 + YOUNG / np.maximum(self._scale.sized[slots], 1))
        below = np.minimum(quantiles[self._low], 0.0) * -scale
        above = np.maximum(quantiles[self._high], 0.0) * scale
        if seen.min() < MATURE:
            newborn = np.where(value == 0.0, 1.0, np.abs(value)) * np.exp2(-np.minimum(seen, MATURE))
            newborn *= seen < MATURE
            np.maximum(below, newborn, out=below)
            np.maximum(above, newborn, out=above)
        return (value - below).T, (value + above).T

    def update(self, slots: SlotArray, observed: FloatArray) -> Judgement:
        """Score the waiting intervals against readings float64[n] (finite, sensor's unit), then learn from them."""
        slots = slots.astype(np.intp)
        p = np.full(len(slots), np.nan)
        anomaly = np.zeros(len(slots), dtype=np.bool_)
        waiting = self._pending.waiting[slots]
        if waiting.all():
            for rows in blocks(len(slots)):
                p[rows], anomaly[rows] = self._update(slots[rows], observed[rows])
        elif waiting.any():
            p[waiting], anomaly[waiting] = self.update(slots[waiting], observed[waiting])
        return Judgement(p, anomaly)

    def _update(self, slots: SlotArray, observed: FloatArray) -> Judgement:
        self._pending.waiting[slots] = False
        error = observed - self._pending.value[slots]
        scale = np.maximum(self._pending.scale[slots], SMALLEST)
        most = scale * LARGEST_SCORE
        score = np.clip(error, -most, most) / scale
        seen = self._pending.seen[slots]
        self._pending.seen[slots] = seen + 1
        tracked = self._quantiles.tracked(slots)
        single = score.astype(np.float32)
        p, anomaly = self._judge(slots, single, self._quantiles.ordered(tracked), seen)
        self._quantiles.update(slots, single, seen, tracked)
        self._scale.update(slots, error)
        return Judgement(p, anomaly)

    def _judge(self, slots: SlotArray, score: Single, knots: Single, seen: IntArray) -> tuple[FloatArray, BoolArray]:
        inside = knots[self._inside]
        share = score - inside[:-1]
        share /= np.maximum(inside[1:] - inside[:-1], NARROWEST)
        np.clip(share, 0.0, 1.0, out=share)
        share *= self._mass
        # Summed row after row: the sum of a series must not depend on how many are summed beside it.
        below = share[0] + self._outside
        for part in share[1:]:
            below += part
        p = 2.0 * np.minimum(below, 1.0 - below)

        median = knots[self._median]
        far = score - median
        edge = np.where(far > 0.0, inside[-1] - median, median - inside[0])
        beyond = np.log(np.maximum(np.abs(far), NARROWEST) / np.maximum(edge, NARROWEST)).astype(np.float64)
        youngest = seen.min()
        guess = None
        if youngest < LEARNING:
            wide = np.maximum(inside[-1] - inside[0], NARROWEST)
            narrow = np.maximum(inside[-1 - self._next] - inside[self._next], NARROWEST)
            guess = GUESS_SLOPE * (np.log(wide / narrow).astype(np.float64) - GUESS_FREE)
        p_tail, anomaly = self._anomaly.update(slots, beyond, seen, guess)
        p = np.where(beyond > 0.0, p_tail, np.minimum(p, 1.0))
        if youngest < MATURE:
            p = np.maximum(p, np.where(seen < MATURE, 1.0 / (seen + 1.0), 0.0))
        return p, anomaly

    def ready(self, slots: SlotArray) -> BoolArray:
        """Whether so many errors were seen that the interval is the scores' own, bool[n]."""
        return np.asarray(self._pending.seen[slots] >= READY)

    def reset_dynamics(self, slots: SlotArray) -> None:
        """After a gap: drop the waiting forecast and the burst of errors that may have been going on."""
        self._pending.waiting[slots] = False
        self._scale.reset_dynamics(slots)
