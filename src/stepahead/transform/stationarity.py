"""The order of differencing of a series, chosen by unit-root and stationarity tests."""

import warnings
from dataclasses import dataclass

import numpy as np

from stepahead.contract.records import FloatArray

__all__ = ["DEFAULT_ORDER", "HIGHEST", "OrderDecision", "choose_order"]

MIN_VALUES = 24
NEWEST = 1024
"""At most so many values are tested, the newest: the tests' cost grows with length, their verdict hardly does."""

HIGHEST = 2
SIGNIFICANCE = 0.05
DEFAULT_ORDER = 1
"""Where the tests can say nothing: the forecast before anything is learnt is then the last value."""

CONSTANT = 1e-9
"""Standard deviation, relative to the largest magnitude of the values, below which they are constant: a difference
of values of magnitude 1 carries rounding noise of 2e-16 per operation, a 24-bit converter's step is 6e-8."""


@dataclass(frozen=True, slots=True)
class OrderDecision:
    """The order of differencing chosen, and why.

    Attributes:
        order: 0 to 2.
        adf_p: p-value of the augmented Dickey–Fuller test at order 0, 1, … as far as tried; 1.0 where the test
            could not be computed. Small speaks against a unit root.
        kpss_p: p-value of the KPSS test likewise, 0.0 where not computed; its table ends at 0.01 and 0.1. Small
            speaks against stationarity.
        reason: one sentence for people.
    """

    order: int
    adf_p: tuple[float, ...]
    kpss_p: tuple[float, ...]
    reason: str


def choose_order(values: FloatArray) -> OrderDecision:
    """Smallest order at which both tests call the difference stationary, over-differencing refused.

    At each order from 0: ADF must reject a unit root and KPSS must not reject stationarity, at 5%. The next order
    is tried only if it lowers the variance: a rise is the mark of over-differencing. ADF takes ⌊(n − 1)^⅓⌋ lags
    (Said and Dickey 1984; the choice by AIC costs ten times as much), KPSS the bandwidth of Hobijn et al. 1998.

    Args:
        values: float64[n], in order of time. What is not finite is left out; beyond 1024 the newest count. Values
            too few or constant get order 1. Never raises.

    Source: Dickey and Fuller 1979; Kwiatkowski, Phillips, Schmidt and Shin 1992; on the variance, Box, Jenkins and
    Reinsel, *Time Series Analysis*, sec. 6.2.

    Example:
        >>> walk = np.random.default_rng(7).normal(size=128).cumsum()
        >>> choose_order(walk).order, choose_order(np.diff(walk)).order
        (1, 0)
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)][-NEWEST:]
    if len(values) < MIN_VALUES:
        return OrderDecision(DEFAULT_ORDER, (), (), f"{len(values)} values, {MIN_VALUES} are needed for the tests")
    largest = float(np.abs(values).max())
    if largest > 0.0:
        values = values / largest  # squares of 1e300 would overflow inside the tests
    if np.std(values) <= CONSTANT:
        return OrderDecision(DEFAULT_ORDER, (), (), "constant so far")

    adf_p: tuple[float, ...] = ()
    kpss_p: tuple[float, ...] = ()
    for order in range(HIGHEST + 1):
        level = np.diff(values, n=order)
        if np.std(level) <= CONSTANT:
            return OrderDecision(order, adf_p, kpss_p, f"the difference of order {order} is constant")
        adf, kpss = p_values(level)
        adf_p, kpss_p = (*adf_p, adf), (*kpss_p, kpss)
        if adf < SIGNIFICANCE and kpss > SIGNIFICANCE:
            reason = f"order {order}: ADF rejects a unit root, KPSS does not reject stationarity"
            return OrderDecision(order, adf_p, kpss_p, reason)
        if order < HIGHEST and np.var(np.diff(level)) >= np.var(level):
            reason = f"order {order}: the tests are undecided, and one more difference would raise the variance"
            return OrderDecision(order, adf_p, kpss_p, reason)
    reason = f"order {HIGHEST}: the tests are undecided, and the variance fell at each difference"
    return OrderDecision(HIGHEST, adf_p, kpss_p, reason)


def p_values(level: FloatArray) -> tuple[float, float]:
    """p-values of ADF and KPSS; the undecided (1.0, 0.0) where they cannot be computed."""
    # 1.1 s to import (pandas and scipy with it): paid by the first decision and not at every start.
    from statsmodels.tsa.stattools import adfuller, kpss

    lags = int((len(level) - 1) ** (1 / 3))
    # Interpolation warnings say that a p-value is at the table's end, as documented above.
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            adf = float(adfuller(level, maxlag=lags, regression="c", autolag=None)[1])
            stationary = float(kpss(level, regression="c", nlags="auto")[1])
        except (ValueError, ArithmeticError, IndexError, np.linalg.LinAlgError):
            return 1.0, 0.0  # singular regressions, such as those of a ramp without noise
    return (1.0 if np.isnan(adf) else adf), (0.0 if np.isnan(stationary) else stationary)
