"""The autoregressions of a series: a compact and a quick one for all, a long one for the first series only."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column
from stepahead.contract.records import BoolArray, FloatArray, IntArray
from stepahead.experts.regression import RecursiveLeastSquares
from stepahead.experts.rows import Rows, as_slots
from stepahead.experts.season import DAY_NS
from stepahead.experts.seasonal import SeasonalView, clock
from stepahead.experts.track import BOUND, SPANS, Track

__all__ = ["ORDER", "Autoregression", "Inputs"]

OWN_LAGS = 4
LEVELS = OWN_LAGS + len(SPANS)
SEASON, WEEK, CLOCK = slice(0, 4), slice(4, 6), slice(6, 10)
"""Places of the seasonal regressors among themselves."""
SEASONAL = 10
ORDER = LEVELS + SEASONAL
QUICK_ORDER = 5
QUICK_FORGETTING = 0.985
"""A memory of 67 readings: after a change of regime five coefficients are learned anew in about a hundred, at the
price of (1 - 0.985) / 2 per coefficient, 4%, in a steady feed, where the compact regression is the better one."""
LONG_LAGS = 32
LONG_ORDER = LONG_LAGS + len(SPANS) + SEASONAL + 2

EVERY = 5
"""Covariances take in every fifth reading: no usual season is a multiple of five, so every phase is seen."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the regressors of n series are made from, after their latest reading."""

    track: Track
    rows: Rows
    value: FloatArray
    inverse: FloatArray
    has_season: BoolArray
    daily: BoolArray
    view: SeasonalView | None
    target_ns: IntArray


class Waiting(Bank):
    """Regressors of the pending forecast."""

    regressors: NDArray[np.float32]

    def __init__(self, order: int, capacity: int) -> None:
        super().__init__({"regressors": Column(np.float32, (order,))}, capacity)


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
        self.short = RecursiveLeastSquares(
            ORDER, forgetting=0.998, robust=1.5, trace_cap=30.0, every=EVERY, dtype=np.float32, capacity=capacity
        )
        self.waiting = Waiting(ORDER, capacity)
        self.quick = RecursiveLeastSquares(
            QUICK_ORDER, forgetting=QUICK_FORGETTING, robust=2.5, trace_cap=30.0, dtype=np.float32, capacity=capacity
        )
        self.quick_waiting = Waiting(QUICK_ORDER, capacity)
        few = min(capacity, long_series)
        self.long = RecursiveLeastSquares(
            LONG_ORDER, forgetting=0.9995, robust=1.0, trace_cap=1e2, every=EVERY, capacity=few
        )
        self.long_waiting = Waiting(LONG_ORDER, few)

    @property
    def banks(self) -> dict[str, Bank]:
        """All banks by name; those that hold only the first series begin with `long`."""
        return {
            "regression": self.short,
            "waiting": self.waiting,
            "quick_regression": self.quick,
            "quick_waiting": self.quick_waiting,
            "long_regression": self.long,
            "long_waiting": self.long_waiting,
        }

    def learn(
        self,
        rows: Rows,
        learns: BoolArray,
        target: FloatArray,
        short_move: NDArray[np.float32],
        quick_move: NDArray[np.float32],
        long_move: NDArray[np.float32],
    ) -> None:
        """Learn from the change that came.

        Args:
            rows: distinct slots, [n].
            learns: bool[n], false where there is no target.
            target: float64[n], the change in units, bounded.
            short_move: float32[n], what the compact regression had forecast.
            quick_move: float32[n], what the quick one had.
            long_move: float32[n], what the long one had.
        """
        of_all = ((self.short, self.waiting, short_move), (self.quick, self.quick_waiting, quick_move))
        for regression, waiting, move in of_all:
            if learns.all():
                regression.update(rows, waiting.regressors[rows], bounded(target - move))
            else:
                slots = as_slots(rows)[learns]
                regression.update(slots, waiting.regressors[slots], bounded(target[learns] - move[learns]))
        chosen, where = self._long(rows, learns)
        if len(where):
            regressors = self.long_waiting.regressors[chosen]
            self.long.update(chosen, regressors, bounded(target[where] - long_move[where]))

    def see(self, rows: Rows, inputs: Inputs, changed: BoolArray) -> None:
        """Make the regressors of the next forecast.

        Args:
            rows: distinct slots, [n].
            inputs: their state after the latest reading.
            changed: bool[n], the season is another than before: the compact regression starts anew.
        """
        if changed.any():
            self.short.reset(as_slots(rows)[changed])
        changes = inputs.track.changes[rows]
        distances = (inputs.value[:, None] - inputs.track.level[rows]) * inputs.inverse[:, None]
        distances = np.clip(distances / np.sqrt(np.array(SPANS) / 4), -BOUND, BOUND)
        x = np.empty((len(changes), ORDER), dtype=np.float32)
        x[:, :OWN_LAGS] = changes[:, :OWN_LAGS]
        x[:, OWN_LAGS:LEVELS] = distances
        x[:, LEVELS:] = changes[:, OWN_LAGS : OWN_LAGS + SEASONAL]
        seasonal = np.zeros((len(changes), SEASONAL), dtype=np.float32)
        if inputs.view is not None:
            self._see_season(inputs, inputs.view, seasonal)
            tail, has = x[:, LEVELS:], inputs.has_season[:, None]
            lags = changes[:, OWN_LAGS:]
            tail[:, CLOCK] = np.where(has, lags[:, 2:6], tail[:, CLOCK])
            tail[:, CLOCK] = np.where(inputs.daily[:, None], seasonal[:, CLOCK], tail[:, CLOCK])
            tail[:, WEEK] = np.where(has, lags[:, :2], tail[:, WEEK])
            tail[:, WEEK] = np.where(inputs.view.weekly[:, None], seasonal[:, WEEK], tail[:, WEEK])
            tail[:, SEASON] = np.where(has, seasonal[:, SEASON], tail[:, SEASON])
        self.waiting.regressors[rows] = x
        quick = np.empty((len(changes), QUICK_ORDER), dtype=np.float32)
        quick[:, :2] = changes[:, :2]
        quick[:, 2:4] = distances[:, 1:3]
        quick[:, 4] = 0.5
        self.quick_waiting.regressors[rows] = quick
        self._see_long(rows, inputs, changes, distances, seasonal)

    def _see_season(self, inputs: Inputs, view: SeasonalView, seasonal: NDArray[np.float32]) -> None:
        seasonal[:, 0] = bounded(view.day_change)
        seasonal[:, 1] = bounded(view.day_naive / 4)
        seasonal[:, 2] = bounded(view.profile)
        seasonal[:, 3] = bounded(view.profile_naive / 4)
        if view.weekly.any():
            seasonal[:, 4] = np.where(view.weekly, bounded(view.change), 0.0)
            seasonal[:, 5] = np.where(view.weekly, bounded(view.naive / 4), 0.0)
        if inputs.daily.any():
            for k, wave in enumerate(clock(inputs.target_ns, DAY_NS)):
                seasonal[:, CLOCK.start + k] = np.where(inputs.daily, wave, 0.0)

    def _see_long(
        self,
        rows: Rows,
        inputs: Inputs,
        changes: NDArray[np.float32],
        distances: FloatArray,
        seasonal: NDArray[np.float32],
    ) -> None:
        chosen, where = self._long(rows, np.ones(len(changes), dtype=np.bool_))
        if not len(where):
            return
        x = np.empty((len(where), LONG_ORDER), dtype=np.float32)
        before = self.long_waiting.regressors[chosen]
        x[:, 0] = changes[where, 0]
        x[:, 1:LONG_LAGS] = before[:, : LONG_LAGS - 1]
        x[inputs.track.seen[rows][where] <= 1, :LONG_LAGS] = 0
        at = LONG_LAGS + len(SPANS)
        x[:, LONG_LAGS:at] = distances[where]
        x[:, at : at + SEASONAL] = seasonal[where]
        median = (inputs.value - inputs.track.median(rows)) * inputs.inverse
        x[:, -2] = bounded(median[where] / 2)
        x[:, -1] = 0.1
        self.long_waiting.regressors[chosen] = x

    def forecast(self, rows: Rows) -> tuple[FloatArray, FloatArray, FloatArray, BoolArray]:
        """Moves of the compact, quick and long regressions, float64[n] each, and where there is a long one, bool[n]."""
        short = self.short.forecast(rows, self.waiting.regressors[rows])
        quick = self.quick.forecast(rows, self.quick_waiting.regressors[rows])
        long = np.zeros(len(short))
        there = np.zeros(len(short), dtype=np.bool_)
        chosen, where = self._long(rows, np.ones(len(short), dtype=np.bool_))
        if len(where):
            long[where] = self.long.forecast(chosen, self.long_waiting.regressors[chosen].astype(np.float64))
            there[where] = True
        return short, quick, long, there

    def _long(self, rows: Rows, mask: BoolArray) -> tuple[NDArray[np.integer[Any]], NDArray[np.intp]]:
        """Slots with a long regression among these rows, and where they stand."""
        if isinstance(rows, slice) and rows.start >= self.long_series:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.intp)
        slots = as_slots(rows)
        where = np.flatnonzero((slots < self.long_series) & mask)
        return slots[where], where


def bounded(x: NDArray[Any]) -> NDArray[Any]:
    """Clipped to what may enter something that learns."""
    clipped: NDArray[Any] = np.clip(x, -BOUND, BOUND)
    return clipped
