"""The newest steps of each series: what seasonal inputs, windows and the recomputing of hidden states read."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column, Slots, indices
from stepahead.contract.changes import Changes, change_at
from stepahead.contract.compiled import compiled
from stepahead.contract.records import BoolArray, FloatArray, IntArray, SlotArray

__all__ = ["PROFILE_DAYS", "History", "Standing", "Windows"]

PROFILE_DAYS = 7
"""Days averaged to the profile of a day: as many as make every weekday count once."""

LARGEST = float(np.finfo(np.float32).max)
ELAPSED_STEPS = 15.0
"""Elapsed times are kept to a fifteenth of a binary logarithm, up to ±8 of them: in one byte."""
LONGEST_RUN = 30_000


@dataclass(frozen=True, slots=True)
class Windows:
    """N windows of T consecutive steps of G series that report together (G = 1 outside declared groups).

    Attributes:
        series: int32[N, G], slots.
        end_ns: int64[N], time of the last step.
        period_ns: int64[N], time between steps.
        span_ns: int64[N], time from the series' first reading to the last step.
        diff: float32[N, G, T], differenced value, raw: it is scaled when it is used.
        day: float32[N, G, T], the difference one day before the step's target; 0 where unknown.
        week: float32[N, G, T], likewise one week before.
        profile: float32[N, G, T], likewise the mean over the newest `PROFILE_DAYS` days.
        context: float16[N, G, T, C], what else the network was shown at each step, in model units.
    """

    series: SlotArray
    end_ns: NDArray[np.int64]
    period_ns: NDArray[np.int64]
    span_ns: NDArray[np.int64]
    diff: NDArray[np.float32]
    day: NDArray[np.float32]
    week: NDArray[np.float32]
    profile: NDArray[np.float32]
    context: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.series)

    def __getitem__(self, rows: slice | NDArray[Any]) -> "Windows":
        return Windows(*(getattr(self, name)[rows] for name in Windows.__slots__))

    @staticmethod
    def columns(members: int, steps: int, context: int) -> dict[str, Column]:
        """Name -> dtype and shape per window: what a buffer of such windows allocates."""
        return {
            "series": Column(np.int32, (members,)),
            "end_ns": Column(np.int64),
            "period_ns": Column(np.int64),
            "span_ns": Column(np.int64),
            "diff": Column(np.float32, (members, steps)),
            "day": Column(np.float32, (members, steps)),
            "week": Column(np.float32, (members, steps)),
            "profile": Column(np.float32, (members, steps)),
            "context": Column(np.float16, (members, steps, context)),
        }

    @staticmethod
    def concatenate(parts: "list[Windows]") -> "Windows":
        """One set from several of equal G and T; the parts must not be empty."""
        if len(parts) == 1:
            return parts[0]
        return Windows(*(np.concatenate([getattr(part, name) for part in parts]) for name in Windows.__slots__))


@dataclass(frozen=True, slots=True)
class Standing:
    """How n series are differenced, and where they stand: with this, differences follow from changes.

    Attributes:
        last: float64[n], the newest value, in the unit of the changes.
        order: int8[n], of differencing.
    """

    last: FloatArray
    order: NDArray[np.int8]


class History(Bank):
    """What windows need of the newest steps of a series, beside its changes.

    Differences follow from the changes; so kept are only how much time passed at each step, and since when the
    steps hang together.

    Args:
        steps: T, length of a window.
        changes: of the same slots.
        seasonal_lag: of the differences, in readings; 0 = none.
        capacity: slots to start with.

    Example:
        >>> changes = Changes(length=8, capacity=1)
        >>> history, slot, no = History(steps=2, changes=changes, capacity=1), np.array([0]), np.array([False])
        >>> for value, change in ((5.0, None), (6.0, 1.0), (8.0, 2.0), (11.0, 3.0)):
        ...     changes.append(slot, np.array([change or 0.0]), np.array([change is None]))
        ...     if change is not None:
        ...         history.push(slot, np.zeros(1), connected=~no)
        >>> standing = Standing(np.array([11.0]), np.array([1], np.int8))
        >>> history.seasons(slot, standing, np.array([2]), np.array([0])).tolist(), int(history.run[0])
        ([[2.0], [0.0], [2.0]], 3)
    """

    elapsed: NDArray[np.int8]
    cursor: NDArray[np.int32]
    run: NDArray[np.int16]

    def __init__(self, steps: int, changes: Changes, seasonal_lag: int = 0, capacity: int = 0) -> None:
        self.steps = steps
        self.changes = changes
        self.lag = seasonal_lag
        super().__init__(
            {"elapsed": Column(np.int8, (steps,)), "cursor": Column(np.int32), "run": Column(np.int16)}, capacity
        )

    @property
    def memory(self) -> int:
        """Changes that are kept; longer seasons are out of sight."""
        return self.changes.length

    def push(self, slots: Slots, elapsed: FloatArray, connected: BoolArray) -> None:
        """Append one step to each of these distinct series.

        Args:
            slots: int[n], distinct.
            elapsed: float64[n], binary logarithm of the time since the step before, in periods, within ±8.
            connected: bool[n], whether the step follows the one before without a gap; if not, a new run starts.
        """
        _push(indices(slots), elapsed, connected, self.elapsed, self.cursor, self.run)

    def interrupt(self, slots: Slots) -> None:
        """End the run of these series: no window reaches across, or includes, their newest step."""
        self.run[slots] = 0

    def complete(self, units: Slots, members: int, stride: int = 1, number: Slots | None = None) -> BoolArray:
        """Whether all members of a unit have a window's run, bool[N]; with a stride, whether it is their turn, too.

        Args:
            units: int[N], first slots of the units.
            members: G, slots of a unit.
            stride: a unit's turn comes every so many steps.
            number: int[N], by which units take turns; None = their slots.
        """
        answer = np.empty(len(units), np.bool_)
        turns = indices(units if number is None else number)
        _complete(indices(units), members, stride, turns, self.steps, self.cursor, self.run, answer)
        return answer

    def seasons(self, slots: Slots, standing: Standing, day_steps: IntArray, week_steps: IntArray) -> FloatArray:
        """Differences that stood where the next reading will, float64[3, n]; 0 where not known.

        Those one day and one week before it, and the mean over the newest `PROFILE_DAYS` days that are known.

        Args:
            slots: int[n].
            standing: of these slots.
            day_steps, week_steps: int64[n], steps of a day and a week; 0 = none.
        """
        answer = np.zeros((3, len(slots)))
        if np.count_nonzero(day_steps) or np.count_nonzero(week_steps):  # no day fits into the memory of most feeds
            state = (*self.changes.state, standing.last, standing.order)
            _look_back(indices(slots), *state, self.lag, day_steps, week_steps, answer)
        return answer

    def differences(
        self, slots: Slots, standing: Standing, day_steps: IntArray, week_steps: IntArray
    ) -> tuple[NDArray[np.float32], ...]:
        """What `Windows` calls diff, day, week and profile, float32[n, T] each, of the newest T steps.

        Args:
            slots: int[n], each with a run of at least T.
            standing: of these slots.
            day_steps, week_steps: int64[n], steps of a day and a week; 0 = none.
        """
        diff, day, week, profile = np.zeros((4, len(slots), self.steps), np.float32)
        state = (*self.changes.state, standing.last, standing.order)
        _cut(indices(slots), *state, self.lag, day_steps, week_steps, diff, day, week, profile)
        return diff, day, week, profile

    def newest(self, slots: Slots, last: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Values at the newest T steps, and the elapsed times that `push` was told, to a fifteenth, float64[n, T] each.

        Args:
            slots: int[n], each with a run of at least T.
            last: float64[n], newest values.
        """
        values, elapsed = np.empty((2, len(slots), self.steps))
        _recall(indices(slots), *self.changes.state, self.elapsed, self.cursor, last, values, elapsed)
        return values, elapsed

    def values(self, slot: int, last: float) -> FloatArray:
        """Known values of one series, float64[count + 1], the newest last, which is `last`."""
        changes = self.changes.latest(slot)
        return last - np.cumsum(np.concatenate(([0.0], changes[::-1])))[::-1]


@compiled
def _push(slots: Any, elapsed: Any, connected: Any, rings: Any, cursors: Any, runs: Any) -> None:
    for i in range(len(slots)):
        slot = slots[i]
        steps = rings.shape[1]
        rings[slot, cursors[slot] % steps] = round(elapsed[i] * ELAPSED_STEPS)
        # Counts on for ever: what is looked at is its remainder.
        cursors[slot] = cursors[slot] + 1 if cursors[slot] < steps << 18 else 1
        runs[slot] = min(runs[slot] + 1, LONGEST_RUN) if connected[i] else 1


@compiled
def _recall(
    slots: Any,
    rings: Any,
    scales: Any,
    counts: Any,
    heads: Any,
    elapsed_rings: Any,
    cursors: Any,
    last: Any,
    values: Any,
    elapsed: Any,
) -> None:
    for i in range(len(slots)):
        slot, value, T = slots[i], last[i], values.shape[1]
        for back in range(T):
            values[i, T - 1 - back] = value
            if back < counts[slot]:
                value -= change_at(rings[slot], scales[slot], heads[slot], back)
            elapsed[i, T - 1 - back] = elapsed_rings[slot, (cursors[slot] - 1 - back) % T] / ELAPSED_STEPS


@compiled
def _complete(
    units: Any, members: int, stride: int, number: Any, steps: int, cursors: Any, runs: Any, answer: Any
) -> None:
    for i in range(len(units)):
        unit = units[i]
        answer[i] = (cursors[unit] + number[i] * 7) % stride == 0
        for g in range(members):
            answer[i] = answer[i] and runs[unit + g] >= steps


@compiled
def _retrace(ring: Any, scale: Any, count: Any, head: Any, last: Any, past: Any) -> None:
    """Fill `past` with the newest value and as many before it as are known."""
    past[0] = last
    for k in range(count):
        past[k + 1] = past[k] - change_at(ring, scale, head, k)


@compiled
def _difference(ring: Any, scale: Any, count: Any, head: Any, past: Any, order: Any, lag: Any, back: Any) -> Any:
    """The difference `back` steps before the newest; 0 where not known. `past` is looked at unless the order is 1."""
    if back < 0 or back + order + lag > count:
        return 0.0
    if order == 1 and lag == 0:
        answer = change_at(ring, scale, head, back)
    else:
        answer, choose = 0.0, 1.0
        for k in range(order + 1):
            value = past[back + k] - (past[back + k + lag] if lag else 0.0)
            answer += choose * value
            choose *= -float(order - k) / float(k + 1)
    return min(max(answer, -LARGEST), LARGEST)


@compiled
def _profile(ring: Any, scale: Any, count: Any, head: Any, past: Any, order: Any, lag: Any, back: Any, day: Any) -> Any:
    """Mean difference at the time of day of the step after the one `back` steps before the newest."""
    total, number = 0.0, 0
    for k in range(1, PROFILE_DAYS + 1):
        at = back - 1 + k * day
        if at >= 0 and at + order + lag <= count:
            total += _difference(ring, scale, count, head, past, order, lag, at)
            number += 1
    return total / max(number, 1)


@compiled
def _look_back(
    slots: Any,
    rings: Any,
    scales: Any,
    counts: Any,
    heads: Any,
    last: Any,
    orders: Any,
    lag: int,
    day_steps: Any,
    week_steps: Any,
    answer: Any,
) -> None:
    past = np.empty(rings.shape[1] + 1)
    for i in range(len(slots)):
        slot, order, day, week = slots[i], orders[i], day_steps[i], week_steps[i]
        ring, scale, count, head = rings[slot], scales[slot], counts[slot], heads[slot]
        if order != 1 or lag:
            _retrace(ring, scale, count, head, last[i], past)
        if day:
            answer[0, i] = _difference(ring, scale, count, head, past, order, lag, day - 1)
            answer[2, i] = _profile(ring, scale, count, head, past, order, lag, 0, day)
        if week:
            answer[1, i] = _difference(ring, scale, count, head, past, order, lag, week - 1)


@compiled
def _cut(
    slots: Any,
    rings: Any,
    scales: Any,
    counts: Any,
    heads: Any,
    last: Any,
    orders: Any,
    lag: int,
    day_steps: Any,
    week_steps: Any,
    diffs: Any,
    days: Any,
    weeks: Any,
    profiles: Any,
) -> None:
    past = np.empty(rings.shape[1] + 1)
    for i in range(len(slots)):
        slot, order, day, week = slots[i], orders[i], day_steps[i], week_steps[i]
        ring, scale, count, head = rings[slot], scales[slot], counts[slot], heads[slot]
        if order != 1 or lag:
            _retrace(ring, scale, count, head, last[i], past)
        steps = diffs.shape[1]
        for t in range(steps):
            back = steps - 1 - t
            diffs[i, t] = _difference(ring, scale, count, head, past, order, lag, back)
            if day:
                days[i, t] = _difference(ring, scale, count, head, past, order, lag, back + day - 1)
                profiles[i, t] = _profile(ring, scale, count, head, past, order, lag, back, day)
            if week:
                weeks[i, t] = _difference(ring, scale, count, head, past, order, lag, back + week - 1)
