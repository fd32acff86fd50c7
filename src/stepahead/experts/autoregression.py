"""The autoregressions of a series: a compact and a quick one for all, a long one for the first series only."""

from typing import Any

import numpy as np

from stepahead.contract.bank import Bank, Slots, indices
from stepahead.contract.changes import Changes, change_at, scale_in
from stepahead.contract.compiled import compiled
from stepahead.contract.half import narrow
from stepahead.contract.records import BoolArray, FloatArray, IntArray
from stepahead.experts.median import median_move
from stepahead.experts.regression import RecursiveLeastSquares
from stepahead.experts.season import DAY_NS, Season
from stepahead.experts.seasonal import SEASONS, SeasonalView
from stepahead.experts.track import BOUND, SPANS, Track

__all__ = ["ORDER", "Autoregression"]

OWN_LAGS = 4
LEVELS = OWN_LAGS + len(SPANS)
SEASONAL = 10
"""Seasonal regressors: four of the season, two of the week, four of the time of day."""
ROOTS = np.sqrt(np.array(SPANS) / 4)
"""A random walk's distance from a running level grows like this with its span."""
ORDER = LEVELS + SEASONAL
QUICK_ORDER = 5
QUICK_FORGETTING = 0.985
"""A memory of 67 readings: after a change of regime five coefficients are learned anew in about a hundred, at the
price of (1 - 0.985) / 2 per coefficient, 4%, in a steady feed, where the compact regression is the better one."""
LONG_LAGS = 32
LONG_ORDER = LONG_LAGS + len(SPANS) + SEASONAL + 2

EVERY = 5
"""Covariances take in every fifth reading: no usual season is a multiple of five, so every phase is seen."""


class Autoregression:
    """Changes in units, regressed on what came before, by robust recursive least squares.

    The compact regression has 18 regressors: the last four changes; the distance from four running levels (which
    makes it an ARIMA(4, 1, 1) in effect, and lets it find a mean); and then, for a series with a season, the change and
    value one season ago, their mean over seven, those of one week ago and the time of day. What a series has not is
    replaced by more changes, so that no place is lost on a regressor that is always 0. The quick one has two changes,
    the distance from two running levels and a constant, and forgets fast. The long one has 32 changes.

    Args:
        long_series: slots below this number have the long regression too.
        capacity: number of slots to start with.

    Example:
        >>> Autoregression(long_series=1, capacity=4).banks["long_regression"].capacity
        1
    """

    def __init__(self, long_series: int, capacity: int = 0) -> None:
        self.long_series = long_series
        halved: dict[str, Any] = {"dtype": np.float32, "halved": True, "bound": BOUND, "capacity": capacity}
        self.short = RecursiveLeastSquares(ORDER, 0.998, robust=1.5, trace_cap=30.0, every=EVERY, **halved)
        self.quick = RecursiveLeastSquares(QUICK_ORDER, QUICK_FORGETTING, robust=2.5, trace_cap=30.0, **halved)
        self.long = RecursiveLeastSquares(
            LONG_ORDER, 0.9995, robust=1.0, trace_cap=1e2, every=EVERY, bound=BOUND, capacity=min(capacity, long_series)
        )

    @property
    def banks(self) -> dict[str, Bank]:
        """All banks by name; those that hold only the first series begin with `long`."""
        return {"regression": self.short, "quick_regression": self.quick, "long_regression": self.long}

    def learn(self, slots: Slots, target: FloatArray, learns: BoolArray) -> None:
        """Learn from the change that came.

        Args:
            slots: int[n], distinct.
            target: float64[n], the change in units, bounded.
            learns: bool[n], false where there is no target.
        """
        self.short.update(slots, target, learns)
        self.quick.update(slots, target, learns)
        self.long.update(slots, target, learns)

    def unsettle(self, slots: Slots) -> None:
        """The feed's law has changed: all regressions of these slots learn as fast as at the beginning."""
        self.short.unsettle(slots)
        self.quick.unsettle(slots)
        self.long.unsettle(slots[slots < self.long.capacity])

    def see(
        self,
        slots: Slots,
        track: Track,
        changes: Changes,
        season: Season,
        view: SeasonalView,
        inverse: FloatArray,
        target_ns: IntArray,
    ) -> None:
        """Make the regressors of the next forecast.

        Args:
            slots: int[n], distinct.
            track, changes, season: after the latest reading.
            view: of the seasons.
            inverse: float64[n], 1 / unit.
            target_ns: int64[n], when the next reading is due.
        """
        _make_regressors(
            indices(slots),
            *(track.last, track.level, *changes.state, season.length, season.daily),
            *(view.seasons, view.moves, inverse, target_ns),
            *(self.short.regressors.view(np.int16), self.quick.regressors.view(np.int16), self.long.regressors),
        )

    def forecast(self, slots: Slots) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Moves of the compact, quick and long regressions, float64[n] each; 0 where there is no long one."""
        return self.short.forecast(slots), self.quick.forecast(slots), self.long.forecast(slots)


@compiled
def _make_regressors(
    slots: Any,
    last: Any,
    levels: Any,
    rings: Any,
    scales: Any,
    counts: Any,
    heads: Any,
    lengths: Any,
    daily: Any,
    seasons: Any,
    moves: Any,
    inverses: Any,
    target_ns: Any,
    compact: Any,
    quick: Any,
    long: Any,
) -> None:
    """Write the regressors of all three regressions where they wait."""
    x, late = np.empty(ORDER, np.float32), np.empty(SEASONAL, np.float32)
    for i in range(len(slots)):
        slot, inverse = slots[i], inverses[i]
        ring, scale, head, count = rings[slot], scale_in(scales[slot], inverse), heads[slot], counts[slot]
        for k in range(OWN_LAGS):
            x[k] = _change(ring, scale, head, count, k)
        for k in range(len(ROOTS)):
            x[OWN_LAGS + k] = _bounded((last[slot] - levels[slot, k]) * inverse / ROOTS[k])
        has_season, weekly = lengths[slot] > 0, seasons[i] == SEASONS
        late[:] = 0
        if seasons[i] > 0:
            late[0] = _bounded(moves[i, 3])
            late[1] = _bounded(moves[i, 2] / 4)
            late[2] = _bounded(moves[i, 4])
            late[3] = _bounded(moves[i, 5] / 4)
        if weekly:
            late[4] = _bounded(moves[i, 1])
            late[5] = _bounded(moves[i, 0] / 4)
        if daily[slot]:
            angle = target_ns[i] % DAY_NS * (2 * np.pi / DAY_NS)
            sine, cosine = np.sin(angle), np.cos(angle)
            late[6], late[7] = sine, cosine
            late[8], late[9] = 2 * sine * cosine, cosine * cosine - sine * sine
        for k in range(SEASONAL):
            if (has_season and k < 4) or (weekly and 4 <= k < 6) or (daily[slot] and k >= 6):
                x[LEVELS + k] = late[k]
            else:  # what a series has not is replaced by its next changes
                x[LEVELS + k] = _change(ring, scale, head, count, k if has_season else OWN_LAGS + k)
        for k in range(ORDER):
            compact[slot, k] = narrow(x[k])
        quick[slot, 0], quick[slot, 1] = compact[slot, 0], compact[slot, 1]
        quick[slot, 2], quick[slot, 3] = compact[slot, OWN_LAGS + 1], compact[slot, OWN_LAGS + 2]
        quick[slot, 4] = narrow(np.float32(0.5))
        if slot < len(long):
            row = long[slot]
            for k in range(LONG_LAGS):
                row[k] = _change(ring, scale, head, count, k)
            for k in range(len(ROOTS)):
                row[LONG_LAGS + k] = x[OWN_LAGS + k]
            for k in range(SEASONAL):
                row[LONG_LAGS + len(ROOTS) + k] = late[k]
            row[LONG_ORDER - 2] = _bounded(-median_move(ring, scale, head, count) / 2)
            row[LONG_ORDER - 1] = 0.1


@compiled
def _bounded(x: Any) -> Any:
    return min(max(x, -BOUND), BOUND)


@compiled
def _change(ring: Any, scale: Any, head: Any, count: Any, lag: Any) -> Any:
    return _bounded(change_at(ring, scale, head, lag)) if lag < count else 0.0
