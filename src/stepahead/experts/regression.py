"""Recursive least squares: a linear regression per series that is never refit and forgets slowly."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from stepahead.contract.bank import Bank, Column, Slots, indices
from stepahead.contract.compiled import compiled_freely
from stepahead.contract.half import narrow, widen
from stepahead.contract.records import BoolArray, FloatArray
from stepahead.contract.sums import product

__all__ = ["RecursiveLeastSquares"]

SPREAD_RATE = 0.01
LEAST_SPREAD = 1e-3
LEAST_WEIGHT = 1e-3
WARM = 12
"""Readings per regressor before `every` counts."""
NO_HALVES = np.empty((0, 0), np.int16)


class RecursiveLeastSquares(Bank):
    """Exponentially forgetting, optionally robust, least squares; one regression per series.

    After every step T the coefficients equal the weighted ridge answer
    `argmin_w Σ_t λ^(T-t) ρ_t (y_t - w·x_t)² + λ^T ridge |w|²` as long as the trace of the covariance stays below its
    cap. The weight ρ_t is 1, or with `robust` Huber's `min(1, robust × spread / |error|)` of the error made when
    the target came, so that the fit leans towards the median and a spike does not bend it.

    The covariance is kept as U D Uᵀ, U upper triangular with ones on its diagonal and D diagonal and positive: whatever
    is rounded, it stays positive definite. So U may be kept in two bytes a number.

    What the next forecast is made from is written into `regressors`, and is still there when its target comes. Slots
    beyond the capacity are passed over: they have no regression, and their forecast is 0.

    Args:
        order: number of regressors, p. State is `itemsize × (2p + 1) + half × p(p+1)/2 + 4` bytes a series; `half` is
            2 with `halved`, and itemsize without.
        forgetting: λ in (0, 1]; the past weighs 1/(1-λ) readings.
        ridge: weight of the prior that all coefficients are zero, in units of squared regressors.
        robust: Huber's threshold in units of the running mean absolute error; 0 = plain least squares.
        every: once warm, the covariance takes in only every so-many-th reading, at that multiple of its weight; the
            coefficients learn from all. Measured: with 3 the error grows by 0.1% and the cost falls by half.
        trace_cap: while the trace of the covariance exceeds it, nothing is forgotten: a series that stands still
            brings no information, and forgetting would let the covariance grow without bound.
        dtype: of coefficients and covariance.
        bound: errors count up to ± this.
        halved: keep U and the regressors in two bytes a number.
        capacity: number of slots to start with.

    Source:
        Haykin, Adaptive Filter Theory, 4th ed., table 9.1 (RLS); Bierman, Factorization Methods for Discrete
        Sequential Estimation (1977), section V.3 (U-D); Huber & Ronchetti, Robust Statistics, 2nd ed., section 7.8
        (weights).

    Example:
        >>> bank = RecursiveLeastSquares(order=1, forgetting=1.0, ridge=1e-9, capacity=1)
        >>> slots = np.array([0])
        >>> for x in (1.0, 2.0, 3.0):
        ...     bank.regressors[slots] = x
        ...     bank.update(slots, np.array([5.0 * x]), np.array([True]))
        >>> round(float(bank.coefficients[0, 0]), 6)
        5.0
    """

    regressors: NDArray[Any]
    coefficients: NDArray[Any]
    factor: NDArray[Any]
    variances: NDArray[Any]
    spread: NDArray[Any]
    updates: NDArray[np.int32]

    def __init__(
        self,
        order: int,
        forgetting: float = 0.998,
        ridge: float = 1.0,
        robust: float = 0.0,
        trace_cap: float = 1e3,
        every: int = 1,
        dtype: DTypeLike = np.float64,
        bound: float = np.inf,
        halved: bool = False,
        capacity: int = 0,
    ) -> None:
        self.order = order
        self.forgetting = forgetting
        self.ridge = ridge
        self.robust = robust
        self.trace_cap = trace_cap
        self.every = every
        self.halved = halved
        self._none = np.empty((0, 0), dtype)
        self._constants = np.array(
            [
                *(robust, forgetting, forgetting**every, every, trace_cap),
                *(1e-9, LEAST_WEIGHT, SPREAD_RATE, 5.0, LEAST_SPREAD, 1.0, bound),
            ],
            dtype,
        )
        super().__init__(
            {
                "regressors": Column(np.float16 if halved else dtype, (order,)),
                "coefficients": Column(dtype, (order,)),
                "factor": Column(np.float16 if halved else dtype, (order * (order - 1) // 2,)),
                "variances": Column(dtype, (order,), 1 / ridge),
                "spread": Column(dtype, (), 1.0),
                "updates": Column(np.int32),
            },
            capacity,
        )

    def covariance(self, slots: Slots) -> FloatArray:
        """Covariances of the coefficients, float64[n, p, p], in units of the variance of the error."""
        upper = np.tile(np.eye(self.order), (len(slots), 1, 1))
        column, row = np.tril_indices(self.order, -1)
        upper[:, row, column] = self.factor[slots]
        answer: FloatArray = (upper * self.variances[slots, None, :]) @ upper.swapaxes(1, 2)
        return answer

    def forecast(self, slots: Slots) -> FloatArray:
        """Answer of the regression for the regressors that are there, float64[n]; changes nothing."""
        answer = np.empty(len(slots))
        _forecast(indices(slots), *self._stored[:2], self.coefficients, answer)
        return answer

    def update(self, slots: Slots, target: FloatArray, learns: BoolArray) -> None:
        """Learn from one observed target a series, given the regressors that are there.

        Args:
            slots: int[n], distinct.
            target: float64[n], bounded.
            learns: bool[n], false where there was no target.
        """
        state = (self.coefficients, self.variances, self.spread, self.updates)
        constants = (self._constants, self.every, WARM * self.order)
        _update(indices(slots), target, learns, *self._stored, *state, *constants)

    def unsettle(self, slots: Slots) -> None:
        """Forget how sure the coefficients are, not what they are: they follow the next readings as at the beginning.

        Args:
            slots: int[n], distinct.
        """
        for name in ("factor", "variances", "updates"):
            getattr(self, name)[slots] = self._columns[name].fill

    @property
    def _stored(self) -> tuple[NDArray[np.int16], NDArray[Any], NDArray[np.int16], NDArray[Any]]:
        """Regressors and U as compiled loops take them: each in half precision or not, and the other one empty."""
        if self.halved:
            return self.regressors.view(np.int16), self._none, self.factor.view(np.int16), self._none
        return NO_HALVES, self.regressors, NO_HALVES, self.factor


@compiled_freely
def _forecast(slots: Any, halves: Any, wholes: Any, coefficients: Any, answer: Any) -> None:
    x = np.empty(coefficients.shape[1], coefficients.dtype)
    for i in range(len(slots)):
        slot = slots[i]
        if slot >= len(coefficients):
            answer[i] = 0.0
            continue
        w = coefficients[slot]
        if len(halves):
            for a in range(len(w)):
                x[a] = widen(halves[slot, a])
        else:
            x[:] = wholes[slot]
        answer[i] = product(x, w, len(w), w[0] - w[0])


@compiled_freely
def _project(U: Any, x: Any, f: Any) -> None:
    """Write Uᵀ x."""
    k = 0
    for j in range(len(x)):
        f[j] = product(U[k:], x, j, x[j])
        k += j


@compiled_freely
def _gain(U: Any, D: Any, f: Any, gain: Any, leverage: Any) -> Any:
    """Write U D f, and give D f · f added to `leverage`."""
    k = 0
    for j in range(len(f)):
        v = D[j] * f[j]
        leverage += v * f[j]
        for i in range(j):
            gain[i] += U[k + i] * v
        gain[j] = v
        k += j
    return leverage


@compiled_freely
def _take_in(U: Any, D: Any, f: Any, gain: Any, noise: Any) -> Any:
    """As `_gain`, and take a reading of this noise into U and D: Bierman's algorithm."""
    total = noise
    k = 0
    for j in range(len(f)):
        v, before = D[j] * f[j], total
        total += v * f[j]
        D[j] *= before / total
        pull = f[j] / before
        for i in range(j):
            u = U[k + i]
            U[k + i] = u - gain[i] * pull
            gain[i] += u * v
        gain[j] = v
        k += j
    return total - noise


@compiled_freely
def _trace(U: Any, D: Any) -> Any:
    total = D[0]
    k = 0
    for j in range(1, len(D)):
        total += D[j] + D[j] * product(U[k:], U[k:], j, D[0] - D[0])
        k += j
    return total


@compiled_freely
def _update(
    slots: Any,
    targets: Any,
    learns: Any,
    half_inputs: Any,
    inputs: Any,
    halves: Any,
    wholes: Any,
    coefficients: Any,
    variances: Any,
    spreads: Any,
    updates: Any,
    constants: Any,
    every: int,
    warm: int,
) -> None:
    """One row after the other, its covariance read and written once: 5 to 8 times as fast as NumPy's passes.

    It is always a copy that is worked on: a name that is now a copy and now a row of the bank took twice as long.
    The constants come as an array of the regression's dtype, for a number written here would make it float64.
    """
    robust, once, many, multiple, trace_cap, tiny, least_weight, rate, clip, least_spread, one, bound = constants
    x, f, gain = np.empty_like(variances[0]), np.empty_like(variances[0]), np.empty_like(variances[0])
    U = np.empty(len(x) * (len(x) - 1) // 2, x.dtype)
    for i in range(len(slots)):
        slot = slots[i]
        if not learns[i] or slot >= len(coefficients):
            continue
        D, w = variances[slot], coefficients[slot]
        if len(halves):
            for a in range(len(x)):
                x[a] = widen(half_inputs[slot, a])
            for k in range(len(U)):
                U[k] = widen(halves[slot, k])
        else:
            for a in range(len(x)):
                x[a] = inputs[slot, a]
            for k in range(len(U)):
                U[k] = wholes[slot, k]
        error = max(min(x.dtype.type(targets[i]) - product(x, w, len(w), one - one), bound), -bound)
        _project(U, x, f)
        weight = one
        if robust > 0:
            size, spread = abs(error), spreads[slot]
            weight = max(min(robust * spread / max(size, tiny), one), least_weight)
            # A spike enters the spread clipped; the floor keeps a perfect fit from weighing the first surprise as 0.
            spreads[slot] = max(spread + rate * (min(size, clip * spread) - spread), least_spread)
        count = updates[slot]
        # Counts on for ever: beyond the warm-up only its remainder matters.
        updates[slot] = count % every + warm * every if count >= 2**30 else count + 1
        if count >= warm and count % every:
            leverage = _gain(U, D, f, gain, one - one)
        else:
            forgetting = once if count < warm else many
            noise = forgetting / (weight if count < warm else weight * multiple)
            leverage = _take_in(U, D, f, gain, noise)
            if _trace(U, D) < trace_cap:
                for a in range(len(D)):
                    D[a] /= forgetting
            if len(halves):
                for k in range(len(U)):
                    halves[slot, k] = narrow(U[k])
            else:
                for k in range(len(U)):
                    wholes[slot, k] = U[k]
        step = weight * error / (weight * leverage + once)
        for a in range(len(gain)):
            w[a] += gain[a] * step
