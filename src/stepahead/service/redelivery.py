"""The newest forecasts, so that a reading that the broker delivers again gets the forecast that it got."""

from collections import deque
from collections.abc import Mapping
from dataclasses import fields
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.records import Forecasts

__all__ = ["RecentForecasts"]


class RecentForecasts:
    """Keeps the newest forecasts and finds them by the `id` of their reading.

    Adding costs nothing per forecast; the index is brought up to date only when something is looked for, which is
    when the broker delivers again.

    Args:
        bound: at least so many are kept, at most as many more as one batch has.

    Example:
        >>> from stepahead.contract.settings import Settings
        >>> from stepahead.contract.records import Readings
        >>> from stepahead.forecasting.engine import Engine
        >>> engine = Engine(Settings())
        >>> slot = engine.intern("plant/pump")
        >>> recent = RecentForecasts(bound=10)
        >>> forecasts = engine.step(Readings.of([slot], [60 * 10**9], [20.5]))
        >>> recent.add(forecasts)
        >>> recent.find(forecasts.id).observed.tolist(), recent.find(forecasts.id + np.uint64(1))
        ([20.5], None)
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._parts: deque[Forecasts] = deque()
        self._first = 0  # running number of the oldest part
        self._kept = 0
        self._index: dict[int, tuple[int, int]] = {}
        self._indexed_to = 0

    def __len__(self) -> int:
        return self._kept

    def add(self, forecasts: Forecasts) -> None:
        """Remember the forecasts of one batch."""
        if not len(forecasts):
            return
        self._parts.append(forecasts)
        self._kept += len(forecasts)
        while self._kept - len(self._parts[0]) >= self._bound:
            oldest = self._parts.popleft()
            self._kept -= len(oldest)
            if self._first < self._indexed_to:
                for identity in oldest.id.tolist():
                    self._index.pop(identity, None)
            self._first += 1

    def find(self, identities: NDArray[np.uint64]) -> Forecasts | None:
        """The forecasts of those readings that are remembered, in the order asked for; None when there are none."""
        end = self._first + len(self._parts)
        for number in range(max(self._indexed_to, self._first), end):
            for row, identity in enumerate(self._parts[number - self._first].id.tolist()):
                self._index[identity] = (number, row)
        self._indexed_to = end
        places = [self._index[identity] for identity in identities.tolist() if identity in self._index]
        found = [
            self._parts[number - self._first][np.array([row for _, row in run])]
            for number, run in groupby(places, key=itemgetter(0))
        ]
        return Forecasts.concatenate(found) if found else None

    def state_dict(self) -> dict[str, Any]:
        """All columns end to end, and how many rows each batch has."""
        if not self._parts:
            return {}
        everything = Forecasts.concatenate(list(self._parts))
        columns = {field.name: getattr(everything, field.name) for field in fields(Forecasts)}
        return {"rows": np.array([len(part) for part in self._parts]), "columns": columns}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave, when empty."""
        if state:
            everything = Forecasts(**state["columns"])
            ends = np.cumsum(state["rows"]).tolist()
            for start, end in zip([0, *ends], ends, strict=False):
                self.add(everything[start:end])
