"""Incremental differencing and its exact inverse."""

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column
from stepahead.contract.records import BoolArray, FloatArray, IntArray, SlotArray

__all__ = ["Difference"]

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
    count: IntArray
    level: FloatArray
    season: FloatArray

    def __init__(self, seasonal_lag: int = 0, order: int = 1, max_order: int = 3, capacity: int = 0) -> None:
        if not 0 <= order <= max_order <= 4:
            raise ValueError(f"order {order} and max_order {max_order}: expected 0 <= order <= max_order <= 4")
        if seasonal_lag < 0:
            raise ValueError(f"seasonal_lag {seasonal_lag}: expected >= 0")
        columns = {
            "order": Column(np.int8, fill=order),
            "count": Column(np.int64),
            "level": Column(np.float64, (max_order,)),
            "season": Column(np.float64, (seasonal_lag,)),
        }
        super().__init__(columns, capacity)
        self.lag = seasonal_lag
        self.max_order = max_order

    def set_order(self, slots: SlotArray, order: int | NDArray[np.int8]) -> None:
        """Give these slots an order, 0 to `max_order`, and forget their history.

        Raises:
            ValueError: an order is out of range.
        """
        if np.any(np.less(order, 0)) or np.any(np.greater(order, self.max_order)):
            raise ValueError(f"order {order}: expected 0 to {self.max_order}")
        self.restart(slots)
        self.order[slots] = order

    def restart(self, slots: SlotArray) -> None:
        """Forget the history of these slots and keep their order, as after a long gap."""
        order = self.order[slots]
        self.reset(slots)
        self.order[slots] = order

    def update(self, slots: SlotArray, value: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Take one reading per series and give its difference.

        Args:
            slots: int32[n], distinct.
            value: float64[n], finite; beyond ±1e305 it enters as ±1e305.

        Returns:
            The difference, float64[n], and whether history was long enough for it, bool[n]: that is after
            `seasonal_lag + order` earlier readings. Where it is not, the difference is 0.0 and means nothing.
        """
        count = self.count[slots]
        diff = np.clip(value, -VALUE_LIMIT, VALUE_LIMIT)
        if self.lag:
            place = count % self.lag
            past = self.season[slots, place]
            self.season[slots, place] = diff
            diff = diff - past  # in the first season minus 0.0: overwritten before anything is ready
        self.count[slots] = count + 1

        order = self.order[slots]
        for k in range(int(order.max(initial=0))):
            before = self.level[slots, k]
            deeper = order > k
            self.level[slots, k] = np.where(deeper, diff, before)
            diff = np.where(deeper, diff - before, diff)
        ready = count >= order + self.lag
        return np.where(ready, diff, 0.0), ready

    def invertible(self, slots: SlotArray) -> BoolArray:
        """bool[n], whether history is long enough to turn a difference of the next reading into its value."""
        enough: BoolArray = self.count[slots] >= self.order[slots] + self.lag
        return enough

    def invert(self, slots: SlotArray, diff: FloatArray) -> FloatArray:
        """Value of the next reading of each series from its difference; state does not change.

        Args:
            slots: int32[n].
            diff: float64[n], finite; beyond ±1e307 it is taken as ±1e307.

        Returns:
            float64[n], x̂ = ∇̂^d + Σ_{i<d} ∇^i x, plus the value one season before; within ±1e307. Where history
            is short (`invertible` is False) it is the last reading, and 0.0 before the first.
        """
        return self.invert_path(slots, diff[:, None])[:, 0]

    def invert_path(self, slots: SlotArray, diffs: FloatArray) -> FloatArray:
        """Values of the next K readings of each series from their differences; state does not change.

        Args:
            slots: int32[n].
            diffs: float64[n, K], finite; column k belongs to the reading k + 1 steps ahead.

        Returns:
            float64[n, K], as `invert`, each step resting on the forecast steps before it.
        """
        order = self.order[slots]
        count = self.count[slots]
        highest = int(order.max(initial=0))
        level = [self.level[slots, k] for k in range(highest)]
        path = np.empty_like(diffs, dtype=np.float64)
        for step in range(diffs.shape[1]):
            value = np.clip(diffs[:, step], -LEVEL_LIMIT, LEVEL_LIMIT)
            for k in reversed(range(highest)):
                deeper = order > k
                value = np.where(deeper, np.clip(value + level[k], -LEVEL_LIMIT, LEVEL_LIMIT), value)
                level[k] = np.where(deeper, value, level[k])
            if self.lag:
                past = path[:, step - self.lag] if step >= self.lag else self.season[slots, (count + step) % self.lag]
                value = np.clip(value + past, -LEVEL_LIMIT, LEVEL_LIMIT)
            path[:, step] = value
        short = np.flatnonzero(~self.invertible(slots))
        if short.size:
            path[short] = self._last(slots[short])[:, None]
        return path

    def _last(self, slots: SlotArray) -> FloatArray:
        """Last reading of slots with a season or an order above zero; 0.0 before the first."""
        last: FloatArray = self.season[slots, (self.count[slots] - 1) % self.lag] if self.lag else self.level[slots, 0]
        return last
