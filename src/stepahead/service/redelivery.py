"""The newest forecasts, so that a reading that the broker delivers again gets the forecast that it got."""

import itertools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.records import Forecasts, IntArray

__all__ = ["RecentForecasts"]

PACKED = 128
"""Smaller batches are put together, so many at once: a batch of one forecast takes 2 KB, most of it for its arrays."""
RESTORED = 4096
"""What is restored is cut into such parts: a part is forgotten when nothing of it is to be remembered any more."""


class RecentForecasts:
    """Keeps the newest forecasts and finds them by the `id` of their reading.

    Adding costs nothing per forecast; the index is brought up to date only when something is looked for, which is
    when the broker delivers again.

    Args:
        bound: so many are remembered.

    Example:
        >>> from stepahead.contract.settings import Settings
        >>> from stepahead.contract.records import Readings
        >>> from stepahead.forecasting.engine import Engine
        >>> engine = Engine(Settings())
        >>> slot = engine.intern("plant/pump")
        >>> recent = RecentForecasts(bound=10)
        >>> forecasts = engine.step(Readings.of([slot], [60 * 10**9], [20.5]))
        >>> recent.add(forecasts)
        >>> recent.find(forecasts.id)[0].observed.tolist(), recent.find(forecasts.id + np.uint64(1))
        ([20.5], None)
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._parts: deque[Forecasts] = deque()
        self._loose = 0  # so many of the newest parts are small and not yet packed together
        self._end = 0  # forecasts ever added
        self._rows = 0  # of them in parts
        self._index: dict[int, int] = {}  # id -> running number
        self._indexed_to = 0

    def __len__(self) -> int:
        return min(self._rows, self._bound)

    def parts(self) -> Iterator[Forecasts]:
        """All that is remembered, in order."""
        yield from self._parts

    def add(self, forecasts: Forecasts) -> None:
        """Remember the forecasts of one batch."""
        if not len(forecasts):
            return
        small = len(forecasts) < PACKED
        if self._loose and (not small or self._loose == PACKED or not alike(self._parts[-1], forecasts)):
            packed = Forecasts.concatenate([self._parts.pop() for _ in range(self._loose)][::-1])
            self._parts.append(packed)
            self._loose = 0
        self._parts.append(forecasts)
        self._loose += small
        self._end += len(forecasts)
        self._rows += len(forecasts)
        while self._rows - len(self._parts[0]) >= self._bound:
            oldest = self._parts.popleft()
            first = self._end - self._rows
            self._rows -= len(oldest)
            self._loose = min(self._loose, len(self._parts))
            if first < self._indexed_to:
                for identity in oldest.id.tolist():
                    self._index.pop(identity, None)

    def find(self, identities: NDArray[np.uint64]) -> tuple[Forecasts, IntArray] | None:
        """The forecasts of those readings that are remembered; None when there are none.

        Returns:
            The forecasts, and int64[n], rising, which of the identities each belongs to.
        """
        starts = self._end - self._rows + np.cumsum([0, *(len(part) for part in self._parts)])[:-1]
        for start, part in zip(starts.tolist(), self._parts, strict=True):
            if start + len(part) > self._indexed_to:
                self._index.update(zip(part.id.tolist(), range(start, start + len(part)), strict=True))
        self._indexed_to = self._end
        places = [self._index.get(identity, -1) for identity in identities.tolist()]
        rows = np.array(places, np.int64)
        known = np.flatnonzero(rows >= max(0, self._end - self._bound))
        if not len(known):
            return None
        number = np.searchsorted(starts, rows[known], side="right") - 1
        newest = self._parts[number.max()]
        fits = np.array([alike(self._parts[part], newest) for part in number])
        known, number = known[fits], number[fits]
        rows = rows[known]
        cuts = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(rows)]
        found = [self._parts[number[a]][rows[a:b] - starts[number[a]]] for a, b in itertools.pairwise(cuts)]
        return Forecasts.concatenate(found), known

    def newest(self, slots: Sequence[int]) -> Forecasts | None:
        """The newest forecast of each of these series, as far as it is remembered."""
        wanted, found = np.unique(np.asarray(slots, np.int32)), []
        for part in reversed(self._parts):
            if not len(wanted):
                break
            rows = np.flatnonzero(np.isin(part.series, wanted))[::-1]
            _, newest = np.unique(part.series[rows], return_index=True)
            if len(newest):
                found.append(part[rows[newest]])
                wanted = np.setdiff1d(wanted, part.series)
        return Forecasts.concatenate(found) if found else None

    def state_dict(self) -> dict[str, Any]:
        """The newest `bound` forecasts, columns end to end, however they came and are packed.

        Those made before levels or horizon were changed are left out.
        """
        if not self._parts:
            return {}
        parts = [part for part in self._parts if alike(part, self._parts[-1])]
        newest = Forecasts.concatenate(parts)[-self._bound :]
        return {field.name: getattr(newest, field.name) for field in fields(Forecasts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave, when empty."""
        if state:
            whole = Forecasts(**state)
            for start in range(0, len(whole), RESTORED):  # parts are forgotten as a whole
                self.add(whole[np.arange(start, min(start + RESTORED, len(whole)))])


def alike(one: Forecasts, other: Forecasts) -> bool:
    """Whether two tables have the same horizon and levels."""
    return one.value.shape[1:] == other.value.shape[1:] and one.lower.shape[1:] == other.lower.shape[1:]
