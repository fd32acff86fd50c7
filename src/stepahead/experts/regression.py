"""Recursive least squares: a linear regression per series that is never refit and forgets slowly."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from stepahead.contract.bank import Bank, Column
from stepahead.contract.records import FloatArray

__all__ = ["RecursiveLeastSquares"]

BLOCK = 512
"""Rows that are worked on at once: covariance and scratch of 512 × 16 × 16 float32 stay in the L2 cache."""


class RecursiveLeastSquares(Bank):
    """Exponentially forgetting least squares, one regression per series.

    Equals, after every step T, the weighted ridge answer
    `argmin_w Σ_t λ^(T-t) (y_t - w·x_t)² + λ^T ridge |w|²` as long as the covariance stays below its cap.

    Args:
        order: number of regressors, p. State is `itemsize × (p² + p)` bytes a series.
        forgetting: λ in (0, 1]; the past weighs 1/(1-λ) readings.
        ridge: weight of the prior that all coefficients are zero, in units of squared regressors.
        trace_cap: once the trace of the covariance exceeds it, nothing is forgotten: a series that stands still
            brings no information, and forgetting would let the covariance grow without bound.
        dtype: of coefficients and covariance.
        capacity: number of slots to start with.

    Source:
        Haykin, Adaptive Filter Theory, 4th ed., table 9.1 (RLS); the update is written with `h hᵀ` so that the
        covariance stays symmetric to the bit.

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
    covariance: NDArray[Any]

    def __init__(
        self,
        order: int,
        forgetting: float = 0.9995,
        ridge: float = 1.0,
        trace_cap: float = 1e6,
        dtype: DTypeLike = np.float64,
        capacity: int = 0,
    ) -> None:
        self.order = order
        self.forgetting = forgetting
        self.ridge = ridge
        self.trace_cap = trace_cap
        super().__init__(
            {"coefficients": Column(dtype, (order,)), "covariance": Column(dtype, (order, order))}, capacity
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

    def forecast(self, slots: NDArray[np.integer[Any]] | slice, regressors: NDArray[Any]) -> FloatArray:
        """Answer of the regression for these regressors, float64[n]; changes nothing.

        Args:
            slots: distinct slots, [n].
            regressors: [n, p], finite.
        """
        answer: FloatArray = np.einsum("np,np->n", self.coefficients[slots], regressors).astype(np.float64)
        return answer

    def update(self, slots: NDArray[np.integer[Any]] | slice, regressors: NDArray[Any], error: FloatArray) -> None:
        """Learn from one observed target a series.

        Args:
            slots: distinct slots, [n].
            regressors: [n, p], what the forecast was made from.
            error: float64[n], target minus `forecast(slots, regressors)`, clipped as the caller sees fit.
        """
        dtype = self.coefficients.dtype
        x_all = np.ascontiguousarray(regressors, dtype=dtype)
        e_all = error.astype(dtype)
        for start in range(0, len(x_all), BLOCK):
            stop = min(start + BLOCK, len(x_all))
            rows = slice(slots.start + start, slots.start + stop) if isinstance(slots, slice) else slots[start:stop]
            x = x_all[start:stop]
            covariance = self.covariance[rows]
            gain = np.einsum("nij,nj->ni", covariance, x)
            leverage = np.einsum("ni,ni->n", gain, x)
            np.maximum(leverage, 0, out=leverage)
            denominator = leverage + dtype.type(self.forgetting)
            self.coefficients[rows] += gain * (e_all[start:stop] / denominator)[:, None]
            gain /= np.sqrt(denominator)[:, None]
            covariance -= np.einsum("ni,nj->nij", gain, gain)
            trace = np.einsum("nii->n", covariance)
            inflate = np.where(trace < self.trace_cap, dtype.type(1 / self.forgetting), dtype.type(1))
            covariance *= inflate[:, None, None]
            if not isinstance(rows, slice):
                self.covariance[rows] = covariance

    def _set_prior(self, slots: NDArray[np.integer[Any]] | slice) -> None:
        diagonal = np.arange(self.order)
        block = np.zeros((self.order, self.order), dtype=self.covariance.dtype)
        block[diagonal, diagonal] = 1 / self.ridge
        self.covariance[slots] = block
