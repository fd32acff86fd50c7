"""The ledger: what has been forecast, as columns over all series; filled by the loop, kept by the page's thread."""

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column
from stepahead.contract.records import BoolArray, FloatArray, Forecasts, IntArray, SlotArray, Status
from stepahead.telemetry.rings import Rings

__all__ = ["BUCKETS", "TRACE", "Columns", "Ledger"]

MOST_WAITING = 1_000_000
"""Forecasts that may wait to be folded, about 150 MB: a page thread that is stuck must not eat the memory."""
RECENT = 400.0
"""The recent skill forgets with this many readings."""
BUCKET_S, BUCKETS = 300.0, 12
TRACE = 48
TRACED_SERIES = 65_536
LARGEST = 1e300


class Columns(Bank):
    """Newest forecast, score and anomalies of each series; what is not known is NaN.

    `was_lower`, `was_value`, `was_upper` is what had been published for the reading `observed`; `lower`, `value`,
    `upper` is what is published for the next one. Sums are over scored readings, `recent_*` forget.
    """

    seen: IntArray
    heard_s: FloatArray
    issued_ns: IntArray
    valid_ns: IntArray
    observed: FloatArray
    value: FloatArray
    lower: FloatArray
    upper: FloatArray
    was_value: FloatArray
    was_lower: FloatArray
    was_upper: FloatArray
    status: NDArray[np.int8]
    error_sum: FloatArray
    change_sum: FloatArray
    recent_error: FloatArray
    recent_change: FloatArray
    bounded: IntArray
    inside: IntArray
    anomalies: IntArray
    flagged_s: FloatArray
    hour: NDArray[np.uint32]

    def __init__(self) -> None:
        unknown, total, count = Column(np.float64, fill=np.nan), Column(np.float64), Column(np.int64)
        super().__init__(
            {
                **dict.fromkeys(("seen", "issued_ns", "valid_ns", "bounded", "inside", "anomalies"), count),
                **dict.fromkeys(("heard_s", "observed", "value", "lower", "upper"), unknown),
                **dict.fromkeys(("was_value", "was_lower", "was_upper"), unknown),
                **dict.fromkeys(("error_sum", "change_sum", "recent_error", "recent_change"), total),
                "status": Column(np.int8),
                "flagged_s": Column(np.float64, fill=-np.inf),
                "hour": Column(np.uint32, (BUCKETS,)),
            }
        )


class Traces(Bank):
    """The newest value at each fold, for the small curves of the overview: the first `TRACED_SERIES` series only."""

    value: NDArray[np.float32]
    at: NDArray[np.int32]

    def __init__(self) -> None:
        super().__init__({"value": Column(np.float32, (TRACE,), np.nan), "at": Column(np.int32)})


class Ledger:
    """Takes forecasts from the loop's thread in a microsecond a batch; everything else belongs to one other thread.

    Args:
        wall_s: seconds since 1970.
        rings: who keeps the history of some series; none = of the first 128.

    Example:
        >>> ledger = Ledger(lambda: 0.0)
        >>> ledger.fold(); ledger.size, ledger.overall()
        (0, {'skill': None, 'recent_skill': None, 'coverage': None})
    """

    def __init__(self, wall_s: Callable[[], float], rings: Rings | None = None) -> None:
        self._wall_s = wall_s
        self._waiting: deque[Forecasts] = deque()
        self._taken = 0
        self._folded = 0
        self.missed = 0
        self.columns = Columns()
        self.rings = Rings() if rings is None else rings
        self.traces = Traces()
        self.size = 0
        """Slots from 0 that may have been heard of."""
        self.newest_ns = 0
        """Time of the newest reading of all."""
        self._bucket = 0

    def take(self, forecasts: Forecasts) -> None:
        """Note a batch of forecasts: the only method for the loop's thread."""
        if self._taken - self._folded > MOST_WAITING:
            self.missed += len(forecasts)
            return
        self._taken += len(forecasts)
        self._waiting.append(forecasts)

    def fold(self) -> None:
        """Take in what was noted since the last call; about once a second."""
        now_s = self._wall_s()
        self._turn_hour(now_s)
        parts = [self._waiting.popleft() for _ in range(len(self._waiting))]
        parts = [part for part in parts if len(part)]
        if not parts:
            return
        series = np.concatenate([part.series for part in parts])
        order = np.argsort(series, kind="stable")
        rows = Sorted(parts, order, series[order])
        self._grow(int(rows.slots[-1]) + 1)
        self._folded += len(order)
        with np.errstate(over="ignore", invalid="ignore"):  # readings may lie at both ends of what float64 holds
            self._fold(rows, now_s)

    def _grow(self, size: int) -> None:
        self.size = max(self.size, size)
        capacity = 1 << max(6, (self.size - 1).bit_length())
        self.columns.grow(capacity)
        self.traces.grow(min(capacity, TRACED_SERIES))

    def _turn_hour(self, now_s: float) -> None:
        bucket = int(now_s // BUCKET_S)
        for passed in range(max(self._bucket + 1, bucket - BUCKETS + 1), bucket + 1):
            self.columns.hour[:, passed % BUCKETS] = 0
        self._bucket = max(self._bucket, bucket)

    def _fold(self, rows: "Sorted", now_s: float) -> None:
        at, columns = rows.of_series, self.columns
        before = rows.before(columns)
        error, change = np.abs(rows.error), np.abs(rows.observed - before["observed"])
        scored = np.isfinite(error) & np.isfinite(change) & (error < LARGEST) & (change < LARGEST)
        for name, size in (("error", np.where(scored, error, 0.0)), ("change", np.where(scored, change, 0.0))):
            added = rows.sums(size)
            getattr(columns, f"{name}_sum")[at] += added
            recent = getattr(columns, f"recent_{name}")
            recent[at] = recent[at] * (1.0 - 1.0 / RECENT) ** rows.sums(scored) + added
        bounded = scored & (before["status"] == Status.OK) & np.isfinite(before["lower"] + before["upper"])
        inside = bounded & (before["lower"] <= rows.observed) & (rows.observed <= before["upper"])
        columns.bounded[at] += rows.sums(bounded).astype(np.int64)
        columns.inside[at] += rows.sums(inside).astype(np.int64)
        flagged = rows.sums(rows.anomaly).astype(np.int64)
        columns.anomalies[at] += flagged
        columns.hour[at, self._bucket % BUCKETS] += flagged.astype(np.uint32)
        columns.flagged_s[at[flagged > 0]] = now_s
        columns.seen[at] += rows.counts
        columns.heard_s[at] = now_s

        newest = rows.ends
        columns.was_value[at] = (rows.observed - rows.error)[newest]
        columns.was_lower[at], columns.was_upper[at] = before["lower"][newest], before["upper"][newest]
        for name in ("observed", "value", "lower", "upper", "status", "issued_ns", "valid_ns"):
            getattr(columns, name)[at] = getattr(rows, name)[newest]
        self.newest_ns = max(self.newest_ns, int(rows.issued_ns.max()))
        traced = at < self.traces.capacity
        slots = at[traced]
        self.traces.value[slots, self.traces.at[slots] % TRACE] = rows.observed[newest][traced]
        self.traces.at[slots] += 1
        self.rings.push(rows.slots, rows.issued_ns, rows.observed, rows.error, before, rows.anomaly)

    def skill(self, slots: SlotArray | slice, recent: bool = False) -> FloatArray:
        """`1 - Σ|error| / Σ|change|` of these series, NaN where nothing has changed yet.

        Args:
            slots: of the series.
            recent: over the latest few hundred readings only.
        """
        prefix, suffix = ("recent_", "") if recent else ("", "_sum")
        error = getattr(self.columns, f"{prefix}error{suffix}")[slots]
        change = getattr(self.columns, f"{prefix}change{suffix}")[slots]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(change > 0, 1.0 - error / change, np.nan))

    def overall(self) -> dict[str, float | None]:
        """Median skill over the series and pooled coverage, as the scoreboard has them; None = not known."""
        everyone = slice(0, self.size)
        bounded = int(self.columns.bounded[everyone].sum())
        inside = int(self.columns.inside[everyone].sum())
        return {
            "skill": median(self.skill(everyone)),
            "recent_skill": median(self.skill(everyone, recent=True)),
            "coverage": inside / bounded if bounded else None,
        }

    def silent(self, slots: SlotArray | slice, now_s: float) -> BoolArray:
        """Which series have not been heard of for more than five of their periods, and at least ten seconds."""
        columns = self.columns
        period_s = (columns.valid_ns[slots] - columns.issued_ns[slots]) / 1e9
        return np.asarray(now_s - columns.heard_s[slots] > np.maximum(5.0 * period_s, 10.0))


class Sorted:
    """Columns of a fold, sorted by series and, within one, in order of arrival.

    Attributes:
        slots: int32[n]; `of_series`: the distinct ones; `counts`: rows of each; `ends`: last row of each.
    """

    def __init__(self, parts: list[Forecasts], order: NDArray[np.intp], slots: SlotArray) -> None:
        def column(name: str, first: bool = False) -> NDArray[Any]:
            arrays = [getattr(part, name)[:, 0] if first else getattr(part, name) for part in parts]
            return np.concatenate(arrays)[order]

        self.slots = slots
        self.observed: FloatArray = column("observed")
        self.error: FloatArray = column("error")
        self.anomaly: BoolArray = column("anomaly")
        self.status = column("status")
        self.issued_ns: IntArray = column("issued_at_ns")
        self.valid_ns: IntArray = column("valid_at_ns")
        self.value, self.lower, self.upper = (column(name, first=True) for name in ("value", "lower", "upper"))
        self._starts = np.flatnonzero(np.concatenate(([True], slots[1:] != slots[:-1])))
        self.of_series = slots[self._starts]
        self.counts = np.diff(np.append(self._starts, len(slots)))
        self.ends = self._starts + self.counts - 1

    def sums(self, values: NDArray[Any]) -> FloatArray:
        """Sum of each series' rows."""
        return np.asarray(np.add.reduceat(values.astype(np.float64), self._starts))

    def before(self, columns: Columns) -> dict[str, NDArray[Any]]:
        """What was known of each row's series when the row came: of the row before it, else of the fold before."""
        known: dict[str, NDArray[Any]] = {}
        for name in ("observed", "lower", "upper", "status"):
            now = getattr(self, name)
            then = np.empty_like(now)
            then[1:] = now[:-1]
            then[self._starts] = getattr(columns, name)[self.of_series]
            known[name] = then
        return known


def median(values: FloatArray) -> float | None:
    """Median of the finite values, None when there is none."""
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else None
