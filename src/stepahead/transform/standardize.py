"""Running standardization: centre and scale of each series, learnt reading by reading, and its inverse."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column, Slots, indices
from stepahead.contract.compiled import compiled
from stepahead.contract.records import BoolArray, FloatArray
from stepahead.contract.settings import TransformSettings
from stepahead.contract.within import within

__all__ = ["Identity", "MinMax", "Moments", "Standardizer", "standardizer"]

MIN_READINGS = 24
"""Readings after which the scale is trusted to tell an outlier."""

INPUT_LIMIT = 1e150
"""Values enter the statistics clipped to ± this, and so leave standardized: squares and products stay below 4e300."""

FLOOR_RELATIVE = 1e-9
FLOOR_ABSOLUTE = 1e-30
"""The scale is at least 1e-9·|centre| + 1e-30. A float64 resolves 2e-16 of the centre and a 24-bit converter 6e-8,
so the first part lies between rounding noise and the finest real signal; the second only keeps zero away."""

FORGET_TO = 8.0
"""Readings that the past counts for once the scale has proved wrong."""

OUTLIER_COST = 8
PROVED_WRONG = 32
"""An outlier adds 8 to a tally and any other reading takes 1: four in close succession prove the scale wrong. By
Chebyshev's inequality at most 1 / clip² of the readings (1/64) lie that far out while the scale is right, and fewer
than 1 in 9 never add up."""


class Standardizer(Bank):
    """Base of the standardizers: z = (x − center) / scale with running center and scale.

    A value farther than `clip` scales from the center enters the statistics clipped to that bound (after 24
    readings, and unless the scale stands at its floor and so knows nothing).
    """

    seen: NDArray[np.int8]
    """Values taken, up to `MIN_READINGS`."""

    def __init__(self, columns: Mapping[str, Column], capacity: int) -> None:
        super().__init__({"seen": Column(np.int8), **columns}, capacity)

    @abstractmethod
    def update(self, slots: Slots, x: FloatArray) -> None:
        """Take one value per series into the statistics; slots int32[n], distinct, x float64[n], finite."""

    @abstractmethod
    def center(self, slots: Slots) -> FloatArray:
        """float64[n], what is subtracted, in the unit of the values."""

    @abstractmethod
    def _spread(self, slots: Slots) -> FloatArray:
        """float64[n] >= 0, the scale before its floor."""

    def scale(self, slots: Slots) -> FloatArray:
        """float64[n], positive and finite, what is divided by, in the unit of the values."""
        return self.standing(slots)[1]

    def standing(self, slots: Slots) -> tuple[FloatArray, FloatArray]:
        """Center and scale, float64[n] each."""
        center = self.center(slots)
        return center, np.maximum(self._spread(slots), floor(center))

    def ready(self, slots: Slots) -> BoolArray:
        """bool[n], whether at least 24 values were taken."""
        enough: BoolArray = self.seen[slots] >= MIN_READINGS
        return enough

    def apply(self, slots: Slots, x: FloatArray) -> FloatArray:
        """Standardize finite values, float64[n] or [n, K], by the statistics as they are; within ±1e150."""
        center, scale = self._beside(slots, x)
        with np.errstate(over="ignore"):  # a value of 1e300 over a scale of 1e-30: clipped on the next line
            z = (x - center) / scale
        return within(z, INPUT_LIMIT)

    def invert(self, slots: Slots, z: FloatArray) -> FloatArray:
        """Undo `apply` for finite z, float64[n] or [n, K], by the statistics as they are; finite."""
        center, scale = self._beside(slots, z)
        return within(z, INPUT_LIMIT) * scale + center

    def standings(self, slots: Slots, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Center and scale as they were when each of the newest values had just been taken, float64[n, T] each.

        Where that cannot be worked out they are those of now.

        Args:
            slots: int[n].
            x: float64[n, T], the values taken last, the newest last.
        """
        center, scale = self.standing(slots)
        return np.repeat(center[:, None], x.shape[1], axis=1), np.repeat(scale[:, None], x.shape[1], axis=1)

    def _beside(self, slots: Slots, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Center and scale, [n], shaped to stand beside values [n] or [n, K]."""
        center, scale = self.standing(slots)
        return (center, scale) if values.ndim == 1 else (center[:, None], scale[:, None])


def floor(center: FloatArray) -> FloatArray:
    """Least scale about a center: above float64's rounding of it, below any real signal."""
    return FLOOR_RELATIVE * np.abs(center) + FLOOR_ABSOLUTE


class Moments(Standardizer):
    """Mean and standard deviation with exponential weights, or with equal ones: Welford's.

    With a = max(1/n, alpha) after n readings: mean += a·δ, variance = (1 − a)·(variance + a·δ²), δ = x − mean
    (Finch 2009, *Incremental calculation of weighted mean and variance*, sec. 9). The 1/n makes the start unbiased:
    until n reaches 1/alpha these are the mean and population variance of all readings, with alpha = 0 for ever
    (Welford 1962). When four outliers come in close succession the scale is wrong, not the readings: the past
    then counts for 8 readings, so that a scale 100 times larger is followed within some tens of readings. A scale
    that falls is followed at the pace of alpha.

    Args:
        alpha: weight of a new reading in the long run, 0 <= alpha < 1; 0 = Welford.
        centered: False: the center is 0 and the scale the root mean square about it.
        clip: bound of outliers, in scales.
        capacity: number of slots to start with.

    Example:
        >>> bank = Moments(alpha=0.0, centered=True, clip=8.0, capacity=1)
        >>> for x in (1.0, 2.0, 3.0, 4.0):
        ...     bank.update(np.array([0]), np.array([x]))
        >>> bank.center(np.array([0])).tolist(), (bank.scale(np.array([0])) ** 2).round(12).tolist()
        ([2.5], [1.25])
    """

    mean: FloatArray
    variance: FloatArray
    weight: FloatArray
    tally: NDArray[np.int8]

    def __init__(self, alpha: float, centered: bool, clip: float, capacity: int = 0) -> None:
        columns = {"variance": Column(np.float64), "weight": Column(np.float64), "tally": Column(np.int8)}
        super().__init__(columns | ({"mean": Column(np.float64)} if centered else {}), capacity)
        self.alpha = alpha
        self.centered = centered
        self.clip = clip

    def update(self, slots: Slots, x: FloatArray) -> None:
        """Take one value per series into the statistics."""
        mean = self.mean if self.centered else self.variance[:0]
        state = (self.seen, self.weight, self.variance, mean, self.tally)
        _update_moments(indices(slots), x, *state, self.centered, self.alpha, self.clip)

    def center(self, slots: Slots) -> FloatArray:
        """float64[n], the running mean, or 0."""
        center: FloatArray = self.mean[slots] if self.centered else np.zeros(len(slots))
        return center

    def standing(self, slots: Slots) -> tuple[FloatArray, FloatArray]:
        """Center and scale, float64[n] each."""
        center, scale = np.empty(len(slots)), np.empty(len(slots))
        mean = self.mean if self.centered else self.variance[:0]
        _stand(indices(slots), self.variance, mean, self.centered, center, scale)
        return center, scale

    def standings(self, slots: Slots, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """As the base's, by undoing one value after the other, back to where the scale was proved wrong."""
        center, scale = np.empty(x.shape), np.empty(x.shape)
        mean = self.mean if self.centered else self.variance[:0]
        state = (self.weight, self.variance, mean, self.centered, self.alpha, self.clip)
        _undo(indices(slots), x, *state, center, scale)
        return center, scale

    def _spread(self, slots: Slots) -> FloatArray:
        return np.sqrt(self.variance[slots])


@compiled
def _stand(slots: Any, variances: Any, means: Any, centered: bool, center: Any, scale: Any) -> None:
    for i in range(len(slots)):
        center[i] = means[slots[i]] if centered else 0.0
        scale[i] = max(np.sqrt(variances[slots[i]]), FLOOR_RELATIVE * abs(center[i]) + FLOOR_ABSOLUTE)


@compiled
def _undo(
    slots: Any,
    values: Any,
    weights: Any,
    variances: Any,
    means: Any,
    centered: bool,
    alpha: float,
    clip: float,
    centers: Any,
    scales: Any,
) -> None:
    for i in range(len(slots)):
        slot = slots[i]
        mean = means[slot] if centered else 0.0
        variance, weight = variances[slot], weights[slot]
        for t in range(values.shape[1] - 1, -1, -1):
            centers[i, t] = mean
            scales[i, t] = max(np.sqrt(variance), FLOOR_RELATIVE * abs(mean) + FLOOR_ABSOLUTE)
            if weight <= FORGET_TO + 1.0:  # the past may have been forgotten here
                continue
            rate = max(1.0 / weight, alpha)
            before = (mean - rate * values[i, t]) / (1.0 - rate) if centered else 0.0
            delta = values[i, t] - before
            square = rate * delta * delta
            kept = variance / (1.0 - rate) - square if centered else (variance - square) / (1.0 - rate)
            if square > rate * clip * clip * kept:  # an outlier, which was clipped
                most = rate * clip * clip
                kept = variance / ((1.0 - rate) * (1.0 + most)) if centered else variance / (1.0 - rate + most)
                before = mean - np.copysign(rate * clip * np.sqrt(kept), delta) if centered else 0.0
            mean, variance, weight = before, kept, weight - 1.0


@compiled
def _update_moments(
    slots: Any,
    values: Any,
    seen: Any,
    weights: Any,
    variances: Any,
    means: Any,
    tallies: Any,
    centered: bool,
    alpha: float,
    clip: float,
) -> None:
    for i in range(len(slots)):
        slot = slots[i]
        mean = means[slot] if centered else 0.0
        variance, weight = variances[slot], weights[slot]
        delta = min(max(values[i], -INPUT_LIMIT), INPUT_LIMIT) - mean
        bound, spread = np.inf, np.sqrt(variance)
        if seen[slot] >= MIN_READINGS and spread > FLOOR_RELATIVE * abs(mean) + FLOOR_ABSOLUTE:
            bound = clip * spread
        tally = min(max(tallies[slot] + (OUTLIER_COST if abs(delta) > bound else -1), 0), PROVED_WRONG)
        weight = (min(weight, FORGET_TO) if tally >= PROVED_WRONG else weight) + 1.0
        delta = min(max(delta, -bound), bound)
        rate = max(1.0 / weight, alpha)
        square = delta * delta
        if centered:
            means[slot] = mean + rate * delta
            variances[slot] = (1.0 - rate) * (variance + rate * square)
        else:
            variances[slot] = variance + rate * (square - variance)
        weights[slot] = weight
        tallies[slot] = tally
        seen[slot] = min(seen[slot] + 1, MIN_READINGS)


class MinMax(Standardizer):
    """Least and largest value so far: z in [0, 1], or in [−1, 1] about zero.

    Twins: scikit-learn's `MinMaxScaler`, and `MaxAbsScaler` when not centered. An outlier is beyond `clip` half
    ranges from the middle, so one spike widens the range to `clip` times at most.

    Args:
        centered: False: the center is 0 and the scale the largest magnitude.
        clip: bound of outliers, in half ranges.
        capacity: number of slots to start with.

    Example:
        >>> bank = MinMax(centered=True, clip=8.0, capacity=1)
        >>> for x in (2.0, 6.0, 4.0):
        ...     bank.update(np.array([0]), np.array([x]))
        >>> bank.apply(np.array([0]), np.array([5.0])).tolist()
        [0.75]
    """

    least: FloatArray
    largest: FloatArray

    def __init__(self, centered: bool, clip: float, capacity: int = 0) -> None:
        super().__init__({"least": Column(np.float64), "largest": Column(np.float64)}, capacity)
        self.centered = centered
        self.clip = clip

    def update(self, slots: Slots, x: FloatArray) -> None:
        """Take one value per series into the statistics."""
        x = within(x, INPUT_LIMIT)
        seen, least, largest = self.seen[slots], self.least[slots], self.largest[slots]
        first = seen == 0
        least, largest = np.where(first, x, least), np.where(first, x, largest)
        low, high = (least, largest) if self.centered else (np.minimum(least, -largest), np.maximum(-least, largest))
        middle, half = 0.5 * (low + high), 0.5 * (high - low)
        bound = np.where((seen >= MIN_READINGS) & (half > floor(middle)), self.clip * half, np.inf)
        x = np.minimum(np.maximum(x, middle - bound), middle + bound)
        self.least[slots] = np.minimum(least, x)
        self.largest[slots] = np.maximum(largest, x)
        self.seen[slots] = np.minimum(seen + 1, MIN_READINGS)

    def center(self, slots: Slots) -> FloatArray:
        """float64[n], the least value so far, or 0."""
        center: FloatArray = self.least[slots] if self.centered else np.zeros(len(slots))
        return center

    def _spread(self, slots: Slots) -> FloatArray:
        least, largest = self.least[slots], self.largest[slots]
        spread: FloatArray = largest - least if self.centered else np.maximum(np.abs(least), np.abs(largest))
        return spread


class Identity(Standardizer):
    """No standardization: center 0, scale 1, ready from the start."""

    def __init__(self, capacity: int = 0) -> None:
        super().__init__({}, capacity)

    def update(self, slots: Slots, x: FloatArray) -> None:
        """Count the value."""
        self.seen[slots] = np.minimum(self.seen[slots] + 1, MIN_READINGS)

    def ready(self, slots: Slots) -> BoolArray:
        """bool[n], True."""
        return np.ones(len(slots), dtype=np.bool_)

    def center(self, slots: Slots) -> FloatArray:
        """float64[n], 0."""
        return np.zeros(len(slots))

    def _spread(self, slots: Slots) -> FloatArray:
        return np.ones(len(slots))


def standardizer(settings: TransformSettings, centered: bool, capacity: int = 0) -> Standardizer:
    """The standardizer that `settings.scaling` names, with its span and clip.

    Example:
        >>> standardizer(TransformSettings(ewm_span=99), centered=False).alpha
        0.02
    """
    if settings.scaling == "ewm":
        return Moments(2.0 / (settings.ewm_span + 1.0), centered, settings.clip, capacity)
    if settings.scaling == "welford":
        return Moments(0.0, centered, settings.clip, capacity)
    return MinMax(centered, settings.clip, capacity) if settings.scaling == "minmax" else Identity(capacity)
