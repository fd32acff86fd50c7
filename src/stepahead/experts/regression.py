"""Recursive least squares: a linear regression per series that is never refit and forgets slowly."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from stepahead.contract.bank import Bank, Column
from stepahead.contract.records import FloatArray
from stepahead.experts.rows import Rows, as_slots, part

__all__ = ["RecursiveLeastSquares"]

BLOCK_BYTES = 2**19
"""Covariances worked on at once: with the scratch of the same size they stay in or near the L2 cache."""

SPREAD_RATE = 0.01
LEAST_WEIGHT = 1e-3
WARM = 12
"""Readings per regressor before `every` counts."""


class RecursiveLeastSquares(Bank):
    """Exponentially forgetting, optionally robust, least squares; one regression per series.

    After every step T the coefficients equal the weighted ridge answer
    `argmin_w Σ_t λ^(T-t) ρ_t (y_t - w·x_t)² + λ^T ridge |w|²` as long as the trace of the covariance stays below its
    cap. The weight ρ_t is 1, or with `robust` Huber's `min(1, robust × spread / |error|)` of the error made when
    the target came, so that the fit leans towards the median and a spike does not bend it.

    Args:
        order: number of regressors, p. State is `itemsize × (p(p+1)/2 + p + 1) + 4`
            bytes a series: of the symmetric covariance one half is kept.
        forgetting: λ in (0, 1]; the past weighs 1/(1-λ) readings.
        ridge: weight of the prior that all coefficients are zero, in units of squared regressors.
        robust: Huber's threshold in units of the running mean absolute error; 0 = plain least squares.
        every: once warm, the covariance takes in only every so-many-th reading, at that multiple of its weight; the
            coefficients learn from all. Measured: with 3 the error grows by 0.1% and the cost falls by half.
        trace_cap: while the trace of the covariance exceeds it, nothing is forgotten: a series that stands still
            brings no information, and forgetting would let the covariance grow without bound.
        dtype: of coefficients and covariance.
        capacity: number of slots to start with.

    Source:
        Haykin, Adaptive Filter Theory, 4th ed., table 9.1 (RLS); Huber & Ronchetti, Robust Statistics, 2nd ed.,
        section 7.8 (weights).

    Example:
        >>> bank = RecursiveLeastSquares(order=1, forgetting=1.0, ridge=1e-9, capacity=1)
        >>> slots = np.array([0])
        >>> for x in (1.0, 2.0, 3.0):
        ...     row = np.array([[x]])
        ...     bank.update(slots, row, np.array([5.0 * x]) - bank.forecast(slots, row))
        >>> round(float(bank.coefficients[0, 0]), 6)
        5.0
    """

    coefficients: NDArray[Any]
    packed: NDArray[Any]
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
        capacity: int = 0,
    ) -> None:
        self.order = order
        self.forgetting = forgetting
        self.ridge = ridge
        self.robust = robust
        self.trace_cap = trace_cap
        self.every = every
        self._first, self._second = np.triu_indices(order)
        where = np.empty((order, order), dtype=np.intp)
        where[self._first, self._second] = where[self._second, self._first] = np.arange(len(self._first))
        self._unpacked = where.reshape(-1)
        self._diagonal = where.diagonal().copy()
        self._prior = np.where(self._first == self._second, 1 / ridge, 0.0).astype(dtype)
        self._block = max(BLOCK_BYTES // (np.dtype(dtype).itemsize * order * order), 16)
        super().__init__(
            {
                "coefficients": Column(dtype, (order,)),
                "packed": Column(dtype, (order * (order + 1) // 2,)),
                "spread": Column(dtype, (), 1.0),
                "updates": Column(np.int32),
            },
            capacity,
        )
        self._set_prior(slice(0, capacity))

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` slots."""
        before = self.capacity
        super().grow(capacity)
        if capacity > before:
            self._set_prior(slice(before, capacity))

    def reset(self, slots: NDArray[np.integer[Any]]) -> None:
        """Put these slots back to the prior."""
        super().reset(slots)
        self._set_prior(slots)

    def covariance(self, rows: Rows) -> NDArray[Any]:
        """Covariances of the coefficients, [n, p, p], in units of the variance of the error; a copy."""
        packed = np.take(self.packed[rows], self._unpacked, axis=1, mode="clip")
        return packed.reshape(-1, self.order, self.order)

    def forecast(self, rows: Rows, regressors: NDArray[Any]) -> FloatArray:
        """Answer of the regression for these regressors, float64[n]; changes nothing.

        Args:
            rows: distinct slots, [n].
            regressors: [n, p], finite.
        """
        answer: FloatArray = np.einsum("np,np->n", self.coefficients[rows], regressors).astype(np.float64)
        return answer

    def update(self, rows: Rows, regressors: NDArray[Any], error: FloatArray) -> None:
        """Learn from one observed target a series.

        Args:
            rows: distinct slots, [n].
            regressors: [n, p], what the forecast was made from, bounded.
            error: float64[n], target minus `forecast(rows, regressors)`, bounded.
        """
        dtype = self.coefficients.dtype
        x = np.ascontiguousarray(regressors, dtype=dtype)
        e = error.astype(dtype)
        weight = self._weight(rows, e)
        for start in range(0, len(x), self._block):
            stop = min(start + self._block, len(x))
            self._update_block(part(rows, start, stop), x[start:stop], e[start:stop], weight[start:stop])

    def _weight(self, rows: Rows, error: NDArray[Any]) -> NDArray[Any]:
        if not self.robust:
            return np.ones_like(error)
        size = np.abs(error)
        spread = self.spread[rows]
        weight = np.minimum(self.robust * spread / np.maximum(size, 1e-9), 1).astype(error.dtype)
        # A spike enters the spread clipped; the floor keeps a perfect fit from weighing the first surprise as nothing.
        moved = spread + SPREAD_RATE * (np.minimum(size, 5 * spread) - spread)
        self.spread[rows] = np.maximum(moved, 1e-3)
        weights: NDArray[Any] = np.maximum(weight, error.dtype.type(LEAST_WEIGHT))
        return weights

    def _update_block(self, rows: Rows, x: NDArray[Any], error: NDArray[Any], weight: NDArray[Any]) -> None:
        scalar = self.coefficients.dtype.type
        gain = np.matmul(self.covariance(rows), x[:, :, None])[:, :, 0]
        leverage = np.einsum("np,np->n", gain, x)
        lost = ~(leverage >= 0)
        if lost.any():
            # Rounding has cost the covariance its positive definiteness: begin it anew, keep the coefficients.
            self._set_prior(as_slots(rows)[lost])
            gain[lost] = x[lost] * self._prior[0]
            leverage[lost] = np.einsum("np,np->n", gain[lost], x[lost])
        self.coefficients[rows] += gain * (weight * error / (weight * leverage + scalar(self.forgetting)))[:, None]

        updates = self.updates[rows]
        multiple = np.where(updates < WARM * self.order, 1, self.every)
        due = updates % multiple == 0
        # Counts on for ever: beyond the warm-up only its remainder matters.
        self.updates[rows] = np.where(
            updates >= 2**30, updates % self.every + WARM * self.order * self.every, updates + 1
        )
        if due.all():
            self._update_covariance(rows, gain, leverage, weight, multiple)
        elif due.any():
            self._update_covariance(as_slots(rows)[due], gain[due], leverage[due], weight[due], multiple[due])

    def _update_covariance(
        self, rows: Rows, gain: NDArray[Any], leverage: NDArray[Any], weight: NDArray[Any], multiple: NDArray[Any]
    ) -> None:
        dtype = self.coefficients.dtype
        forgetting = np.where(multiple == 1, self.forgetting, self.forgetting**self.every).astype(dtype)
        weight = weight * multiple.astype(dtype)
        gain *= np.sqrt(weight / (weight * leverage + forgetting))[:, None]
        packed = self.packed[rows]
        square = np.take(gain, self._first, axis=1, mode="clip")
        square *= np.take(gain, self._second, axis=1, mode="clip")
        packed -= square
        trace = np.take(packed, self._diagonal, axis=1, mode="clip")
        trace = np.einsum("np->n", trace)
        packed *= np.where(trace < self.trace_cap, 1 / forgetting, dtype.type(1))[:, None]
        if not isinstance(rows, slice):
            self.packed[rows] = packed

    def _set_prior(self, rows: Rows) -> None:
        self.packed[rows] = self._prior
