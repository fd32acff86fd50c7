"""Autoregressions, and autoregressions whose law switches."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter, lfiltic

from simulators.feeds import not_negative
from stepahead.contract.errors import UsageError
from stepahead.contract.records import FloatArray

__all__ = ["Autoregression", "Regime", "RegimeChange"]


class Regime(NamedTuple):
    """A stretch of an autoregression: `x_t = level + Σ_i coefficients[i] (x_{t-1-i} - level) + sigma ε_t`."""

    length: int
    coefficients: tuple[float, ...]
    level: float
    sigma: float


class RegimeChange:
    """An autoregression whose coefficients, level and noise switch; the regimes follow each other in a circle.

    The values go on through a switch, only the law changes. The best forecast knows the law in force, and its MSE is
    the mean of `sigma²` over the regimes, weighted by their lengths; after a switch a forecaster has to learn anew.

    Args:
        regimes: at least one; all stationary, all lengths ≥ 1, at most two coefficients each.
        seed: of the noise.

    Raises:
        UsageError: a regime is not stationary, empty, or of higher order than two.

    Example:
        >>> feed = RegimeChange([Regime(100, (0.9,), 5.0, 1.0), Regime(300, (-0.5,), 8.0, 2.0)])
        >>> feed.best_mse
        3.25
    """

    def __init__(self, regimes: Sequence[Regime], seed: int = 0) -> None:
        if not regimes:
            raise UsageError("a regime change needs at least one regime")
        for regime in regimes:
            check_regime(regime)
        self.regimes = tuple(regimes)
        total = sum(r.length for r in regimes)
        self.best_mse = sum(r.length * r.sigma**2 for r in regimes) / total
        self._rng = np.random.default_rng(seed)
        self._past = np.full(2, regimes[0].level)  # newest first
        self._filter: FloatArray | None = None  # None: a regime begins, and takes over the values but not their law
        self._index = 0
        self._left = regimes[0].length

    def sample(self, n: int) -> FloatArray:
        """The next `n` values, float64[n]."""
        parts = []
        while n > 0:
            take = min(n, self._left)
            parts.append(self._stretch(self.regimes[self._index], take))
            n -= take
            self._left -= take
            if self._left == 0:
                self._index = (self._index + 1) % len(self.regimes)
                self._left = self.regimes[self._index].length
                self._filter = None
        return np.concatenate(parts) if parts else np.empty(0)

    def _stretch(self, regime: Regime, n: int) -> FloatArray:
        phi = np.array(regime.coefficients)
        denominator = np.concatenate([[1.0], -phi])
        noise = regime.sigma * self._rng.standard_normal(n)
        constant = regime.level * (1.0 - phi.sum())
        if self._filter is None:
            self._filter = lfiltic([1.0], denominator, self._past[: len(phi)])
        values, self._filter = lfilter([1.0], denominator, noise + constant, zi=self._filter)
        self._past = np.concatenate([values[::-1][:2], self._past])[:2]
        return np.asarray(values, dtype=np.float64)


class Autoregression(RegimeChange):
    """A stationary AR(1) or AR(2) about a level, best MSE `sigma²`.

    Args:
        coefficients: `φ_1, φ_2`, stationary.
        level: mean of the values.
        sigma: standard deviation of the innovation.
        seed: of the noise.

    Example:
        >>> Autoregression((1.6, -0.8), level=3.0, sigma=0.1).sample(2).shape
        (2,)
    """

    def __init__(
        self,
        coefficients: tuple[float, ...] = (1.6, -0.8),
        level: float = 0.0,
        sigma: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__([Regime(2**62, coefficients, level, sigma)], seed)
        self.best_mse = sigma**2  # without the rounding of a mean over 2**62 values


def check_regime(regime: Regime) -> None:
    """Raise a `UsageError` unless the regime is stationary, of order 1 or 2, and at least one step long.

    The triangle of stationarity: `|φ_2| < 1`, `φ_1 + φ_2 < 1`, `φ_2 - φ_1 < 1` (Box et al., section 3.2.4).
    """
    if regime.length < 1:
        raise UsageError(f"a regime's length is {regime.length}, allowed are 1 and more steps")
    not_negative("sigma", regime.sigma)
    if not 1 <= len(regime.coefficients) <= 2:
        raise UsageError(f"{len(regime.coefficients)} coefficients, allowed are one or two")
    first, second = (*regime.coefficients, 0.0)[:2]
    if not (abs(second) < 1 and first + second < 1 and second - first < 1):
        raise UsageError(f"coefficients {regime.coefficients} are not stationary")
