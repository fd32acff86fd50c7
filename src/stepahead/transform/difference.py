"""Incremental differencing and its exact inverse."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column, Slots, indices
from stepahead.contract.compiled import compiled
from stepahead.contract.records import BoolArray, FloatArray
from stepahead.contract.settings import TransformSettings
from stepahead.transform.stationarity import DEFAULT_ORDER, HIGHEST

__all__ = ["Difference", "differencer"]

VALUE_LIMIT = 1e305
"""Readings beyond ± this enter as this: then no difference up to order 4 of a seasonal difference overflows."""

LEVEL_LIMIT = 1e307
"""Bound of every forecast difference and of every sum on the way back: two of them still add up to a float64."""


class Difference(Bank):
    """Seasonal difference at a lag m (optional), then the difference of order d: ∇^d (1 − B^m) x.

    Source: Box, Jenkins and Reinsel, *Time Series Analysis*, ch. 4 and 9. The floating-point operations are those
    of `numpy.diff(x[m:] - x[:-m], n=d)`, so the two agree to the bit. Going back, the true next difference gives
    the true next value to within 3·2^(d+s)·2⁻⁵³·M, where M is the largest magnitude among the values involved and
    s = 1 with a season, else 0; integers below 2^(51−d−s) come back exactly.

    Args:
        seasonal_lag: m in readings; 0 = no seasonal difference. Costs 8·m bytes per series.
        order: d of a newborn series, 0 to `max_order`.
        max_order: largest order a slot may be given, 0 to 4.
        capacity: number of slots to start with.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> bank = Difference(order=1, capacity=1)
        >>> slot = np.array([0])
        >>> [tuple(map(float, (d[0], r[0]))) for d, r in (bank.update(slot, np.array([x])) for x in (3.0, 5.0, 4.0))]
        [(0.0, 0.0), (2.0, 1.0), (-1.0, 1.0)]
        >>> bank.invert(slot, np.array([0.5])).tolist()
        [4.5]
    """

    order: NDArray[np.int8]
    count: NDArray[np.int32]
    level: FloatArray
    season: FloatArray

    def __init__(self, seasonal_lag: int = 0, order: int = 1, max_order: int = 3, capacity: int = 0) -> None:
        if not 0 <= order <= max_order <= 4:
            raise ValueError(f"order {order} and max_order {max_order}: expected 0 <= order <= max_order <= 4")
        if seasonal_lag < 0:
            raise ValueError(f"seasonal_lag {seasonal_lag}: expected >= 0")
        columns = {
            "order": Column(np.int8, fill=order),
            "count": Column(np.int32),
            "level": Column(np.float64, (max_order,)),
            "season": Column(np.float64, (seasonal_lag,)),
        }
        super().__init__(columns, capacity)
        self.lag = seasonal_lag
        self.max_order = max_order

    @property
    def reach(self) -> int:
        """How many changes of a series before the one into a reading its difference depends on, at most."""
        return self.lag + max(self.max_order - 1, 0)

    def set_order(self, slots: Slots, order: int | NDArray[np.int8]) -> None:
        """Give these slots an order, 0 to `max_order`, and forget their history.

        Raises:
            ValueError: an order is out of range.
        """
        if np.any(np.less(order, 0)) or np.any(np.greater(order, self.max_order)):
            raise ValueError(f"order {order}: expected 0 to {self.max_order}")
        self.restart(slots)
        self.order[slots] = order

    def restart(self, slots: Slots) -> None:
        """Forget the history of these slots and keep their order, as after a long gap."""
        order = self.order[slots]
        self.reset(slots)
        self.order[slots] = order

    def update(self, slots: Slots, value: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Take one reading per series and give its difference.

        Args:
            slots: int32[n], distinct.
            value: float64[n], finite; beyond ±1e305 it enters as ±1e305.

        Returns:
            The difference, float64[n], and whether history was long enough for it, bool[n]: that is after
            `seasonal_lag + order` earlier readings. Where it is not, the difference is 0.0 and means nothing.
        """
        diff, ready = np.empty(len(slots)), np.empty(len(slots), np.bool_)
        _update(indices(slots), value, self.order, self.count, self.level, self.season, diff, ready)
        return diff, ready

    def invertible(self, slots: Slots) -> BoolArray:
        """bool[n], whether history is long enough to turn a difference of the next reading into its value."""
        enough: BoolArray = self.count[slots] >= self.order[slots] + self.lag
        return enough

    def invert(self, slots: Slots, diff: FloatArray) -> FloatArray:
        """Value of the next reading of each series from its difference; state does not change.

        Args:
            slots: int32[n].
            diff: float64[n], finite; beyond ±1e307 it is taken as ±1e307.

        Returns:
            float64[n], x̂ = ∇̂^d + Σ_{i<d} ∇^i x, plus the value one season before; within ±1e307. Where history
            is short (`invertible` is False) it is the last reading, and 0.0 before the first.
        """
        return self.invert_path(slots, diff[:, None])[:, 0]

    def invert_path(self, slots: Slots, diffs: FloatArray) -> FloatArray:
        """Values of the next K readings of each series from their differences; state does not change.

        Args:
            slots: int32[n].
            diffs: float64[n, K], finite; column k belongs to the reading k + 1 steps ahead.

        Returns:
            float64[n, K], as `invert`, each step resting on the forecast steps before it.
        """
        return self.invert_paths(slots, diffs[:, None])[:, 0]

    def invert_paths(self, slots: Slots, diffs: FloatArray) -> FloatArray:
        """As `invert_path`, for several forecasters of each series at once, float64[n, M, K]."""
        paths = np.empty(diffs.shape)
        _invert(indices(slots), diffs, self.order, self.count, self.level, self.season, paths)
        return paths


@compiled
def _update(
    slots: Any, values: Any, orders: Any, counts: Any, levels: Any, seasons: Any, diffs: Any, ready: Any
) -> None:
    lag = seasons.shape[1]
    for i in range(len(slots)):
        slot = slots[i]
        count, order = counts[slot], orders[slot]
        diff = min(max(values[i], -VALUE_LIMIT), VALUE_LIMIT)
        if lag:
            place = count % lag
            past = seasons[slot, place]
            seasons[slot, place] = diff
            diff = diff - past  # in the first season minus 0.0: overwritten before anything is ready
        # Counts on for ever: once history is long enough only the place within the season matters.
        counts[slot] = count + 1 if count < 2**30 else count + 1 - max(lag, 1) * (2**29 // max(lag, 1))
        for k in range(order):
            before = levels[slot, k]
            levels[slot, k] = diff
            diff = diff - before
        ready[i] = count >= order + lag
        diffs[i] = diff if ready[i] else 0.0


@compiled
def _invert(slots: Any, diffs: Any, orders: Any, counts: Any, levels: Any, seasons: Any, paths: Any) -> None:
    lag = seasons.shape[1]
    level = np.empty(levels.shape[1])
    for i in range(len(slots)):
        slot = slots[i]
        order, count = orders[slot], counts[slot]
        if count < order + lag:  # short of history: the last reading, of slots with a season or an order above zero
            paths[i] = seasons[slot, (count - 1) % lag] if lag else levels[slot, 0]
            continue
        for m in range(diffs.shape[1]):
            path = paths[i, m]
            for k in range(order):
                level[k] = levels[slot, k]
            for step in range(diffs.shape[2]):
                value = min(max(diffs[i, m, step], -LEVEL_LIMIT), LEVEL_LIMIT)
                for k in range(order - 1, -1, -1):
                    value = min(max(value + level[k], -LEVEL_LIMIT), LEVEL_LIMIT)
                    level[k] = value
                if lag:
                    past = path[step - lag] if step >= lag else seasons[slot, (count + step) % lag]
                    value = min(max(value + past, -LEVEL_LIMIT), LEVEL_LIMIT)
                path[step] = value


def differencer(settings: TransformSettings, capacity: int = 0) -> Difference:
    """The differences that `settings.order` and `settings.seasonal_lag` ask for.

    Example:
        >>> differencer(TransformSettings(order=2)).max_order, differencer(TransformSettings()).reach
        (2, 0)
    """
    order, highest = (DEFAULT_ORDER, HIGHEST) if settings.order == "auto" else (settings.order, settings.order)
    return Difference(settings.seasonal_lag, order, highest, capacity)
