"""Simulated feeds whose best possible one-step error is known by formula.

The best forecast of the next value is its expectation given everything so far, and what is left over is the
innovation: no forecaster, however clever, has a smaller expected squared error than `best_mse`
(Box, Jenkins, Reinsel, Ljung: Time Series Analysis, 5th edition, section 5.1).

Every feed goes on where it stopped: `sample(a)` then `sample(b)` gives, to the bit, what `sample(a + b)` gives.
"""

import math
from typing import Protocol

import numpy as np

from stepahead.contract.errors import UsageError
from stepahead.contract.records import FloatArray

__all__ = ["Feed", "RandomWalk", "Season", "Sine", "Sum", "WhiteNoise", "not_negative"]


class Feed(Protocol):
    """An endless series of values at equal steps of time.

    `best_mse` is in the square of the value's unit.
    """

    @property
    def best_mse(self) -> float:
        """Squared error of the best possible one-step forecast."""
        ...

    def sample(self, n: int) -> FloatArray:
        """The next `n` values, float64[n]."""
        ...


class WhiteNoise:
    """Independent normal values: `x_t = level + ε_t`, best forecast `level`, best MSE `sigma²`.

    Args:
        level: mean of the values.
        sigma: standard deviation of the values, ≥ 0.
        seed: of the noise.

    Example:
        >>> feed = WhiteNoise(level=20.0, sigma=0.5, seed=1)
        >>> feed.best_mse, feed.sample(3).shape
        (0.25, (3,))
    """

    def __init__(self, level: float = 0.0, sigma: float = 1.0, seed: int = 0) -> None:
        self.level = level
        self.sigma = not_negative("sigma", sigma)
        self.best_mse = sigma**2
        self._rng = np.random.default_rng(seed)

    def sample(self, n: int) -> FloatArray:
        """The next `n` values, float64[n]."""
        return self.level + self.sigma * self._rng.standard_normal(n)


class RandomWalk:
    """A sum of independent steps: `x_t = x_{t-1} + ε_t`, best forecast the last value, best MSE `sigma²`.

    Args:
        start: value before the first one.
        sigma: standard deviation of a step, ≥ 0.
        seed: of the steps.
    """

    def __init__(self, start: float = 0.0, sigma: float = 1.0, seed: int = 0) -> None:
        self.sigma = not_negative("sigma", sigma)
        self.best_mse = sigma**2
        self._last = start
        self._rng = np.random.default_rng(seed)

    def sample(self, n: int) -> FloatArray:
        """The next `n` values, float64[n]."""
        if n == 0:
            return np.empty(0)
        steps = self.sigma * self._rng.standard_normal(n)
        steps[0] += self._last
        path = np.cumsum(steps)
        self._last = float(path[-1])
        return path


class Sine:
    """A sine with white noise on top: best forecast the sine itself, best MSE `sigma²`.

    Args:
        amplitude: of the sine.
        period: in steps, ≥ 2; need not be whole.
        level: mean of the values.
        sigma: standard deviation of the noise, ≥ 0.
        phase: in turns, 0 to 1.
        seed: of the noise.
    """

    def __init__(
        self,
        amplitude: float = 1.0,
        period: float = 50.0,
        level: float = 0.0,
        sigma: float = 0.1,
        phase: float = 0.0,
        seed: int = 0,
    ) -> None:
        if period < 2:
            raise UsageError(f"period is {period}, allowed are 2 and more steps")
        self.amplitude = amplitude
        self.period = period
        self.phase = phase
        self._noise = WhiteNoise(level, sigma, seed)
        self.best_mse = self._noise.best_mse
        self._step = 0

    def expected(self, first: int, n: int) -> FloatArray:
        """The sine without noise and level for steps `first` to `first + n - 1`, float64[n]."""
        step = np.arange(first, first + n, dtype=np.float64)
        return np.asarray(self.amplitude * np.sin(2 * math.pi * (step / self.period + self.phase)), dtype=np.float64)

    def sample(self, n: int) -> FloatArray:
        """The next `n` values, float64[n]."""
        wave = self.expected(self._step, n)
        self._step += n
        return wave + self._noise.sample(n)


class Season:
    """A daily wave that is lower at weekends, with white noise on top: best MSE `sigma²`.

    Args:
        steps_per_day: readings in one day, ≥ 2.
        amplitude: of the daily wave.
        weekend: factor of the wave on the sixth and seventh day of each week.
        level: of the wave's foot.
        sigma: standard deviation of the noise, ≥ 0.
        seed: of the noise.
    """

    def __init__(
        self,
        steps_per_day: int = 48,
        amplitude: float = 10.0,
        weekend: float = 0.5,
        level: float = 20.0,
        sigma: float = 0.5,
        seed: int = 0,
    ) -> None:
        if steps_per_day < 2:
            raise UsageError(f"steps_per_day is {steps_per_day}, allowed are 2 and more")
        self.steps_per_day = steps_per_day
        self.amplitude = amplitude
        self.weekend = weekend
        self._noise = WhiteNoise(level, sigma, seed)
        self.best_mse = self._noise.best_mse
        self._step = 0

    def expected(self, first: int, n: int) -> FloatArray:
        """The wave without noise and level for steps `first` to `first + n - 1`, float64[n]."""
        step = np.arange(first, first + n)
        wave = np.square(np.sin(math.pi * (step % self.steps_per_day) / self.steps_per_day))
        size = np.where(step // self.steps_per_day % 7 >= 5, self.weekend, 1.0)
        return np.asarray(self.amplitude * size * wave, dtype=np.float64)

    def sample(self, n: int) -> FloatArray:
        """The next `n` values, float64[n]."""
        wave = self.expected(self._step, n)
        self._step += n
        return wave + self._noise.sample(n)


class Sum:
    """Several feeds added up, at most one of them random: then the best MSE is that one's.

    Two random parts could not be told apart by a forecaster, and the best error would have no simple formula.

    Raises:
        UsageError: more than one part is random.

    Example:
        >>> Sum(Sine(sigma=0.0), RandomWalk(sigma=2.0)).best_mse
        4.0
    """

    def __init__(self, *parts: Feed) -> None:
        if sum(part.best_mse > 0 for part in parts) > 1:
            raise UsageError("at most one part of a sum may be random, or its best error is unknown")
        self.parts = parts
        self.best_mse = sum(part.best_mse for part in parts)

    def sample(self, n: int) -> FloatArray:
        """The next `n` values, float64[n]."""
        total: FloatArray = np.sum([part.sample(n) for part in self.parts], axis=0)
        return total


def not_negative(name: str, value: float) -> float:
    """`value` itself; a `UsageError` names it when it is negative."""
    if not value >= 0:
        raise UsageError(f"{name} is {value}, allowed are 0 and more")
    return value
