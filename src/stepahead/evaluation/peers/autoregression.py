"""Statsmodels' AutoReg on first differences, refit every so many readings."""

from collections import deque

import numpy as np
from statsmodels.tsa.ar_model import AutoReg

__all__ = ["RefitAutoregression", "make"]

LAGS = 48
REFIT = 500
LONGEST = 20_000


class RefitAutoregression:
    """`AutoReg` with 48 lags on differences: least squares on all that was seen, again every 500 readings.

    Args:
        lags: number of lagged differences.
        refit: readings between two fits; the first comes as soon as there are four times as many as lags.
    """

    def __init__(self, lags: int = LAGS, refit: int = REFIT) -> None:
        self._lags = lags
        self._refit = refit
        self._history: deque[float] = deque(maxlen=LONGEST)
        self._since = 0
        self._intercept = 0.0
        self._coefficients: np.ndarray[tuple[int], np.dtype[np.float64]] | None = None

    def forecast(self) -> float:
        """The next value; NaN before the first fit."""
        if self._coefficients is None:
            return float("nan")
        recent = np.array([self._history[-i] for i in range(1, self._lags + 2)])
        # -diff of newest-first values: the newest change first, as the coefficients are ordered.
        return float(recent[0] + self._intercept + self._coefficients @ -np.diff(recent))

    def learn(self, value: float, time_ns: int) -> None:
        """Take in one reading, and refit when it is time."""
        self._history.append(value)
        self._since += 1
        first = self._coefficients is None and len(self._history) >= 4 * self._lags
        if first or self._since >= self._refit:
            self._since = 0
            changes = np.diff(np.array(self._history))
            if np.ptp(changes) > 0:
                parameters = np.asarray(AutoReg(changes, lags=self._lags).fit().params)
                self._intercept, self._coefficients = float(parameters[0]), parameters[1:]


def make(season: int | None, seed: int) -> RefitAutoregression:
    """One peer for one column."""
    return RefitAutoregression()
