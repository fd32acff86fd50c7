"""The last forecast of every series, for whoever asks."""

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.records import Forecasts

__all__ = ["LatestForecasts"]


PENDING = 64
"""So many batches are packed at once: one by one, each would cost 17 µs more; 4,096 of a reading each held the loop up
for 45 ms."""
MOST_ROWS = 4096


class LatestForecasts:
    """One row of `Forecasts` per series, packed.

    Example:
        >>> from stepahead.contract.settings import Settings
        >>> from stepahead.contract.records import Readings
        >>> from stepahead.forecasting.engine import Engine
        >>> engine = Engine(Settings())
        >>> slot, latest = engine.intern("plant/pump"), LatestForecasts()
        >>> for minute in range(3):
        ...     latest.note(engine.step(Readings.of([slot], [minute * 60 * 10**9], [20.5 + minute])))
        >>> latest.of(slot).observed.tolist(), latest.of(7)
        ([22.5], None)
    """

    def __init__(self) -> None:
        self._shapes: list[tuple[int, ...]] = []
        self._rows: NDArray[np.void] | None = None
        self._known = np.zeros(0, np.bool_)
        self._pending: list[Forecasts] = []
        self._pending_rows = 0

    def note(self, forecasts: Forecasts) -> None:
        """Remember the forecasts of one batch, in order; those of another horizon or number of levels are left out."""
        shapes = [forecasts.value.shape[1:], forecasts.lower.shape[1:]]
        if not len(forecasts) or (self._shapes and shapes != self._shapes):
            return
        self._shapes = shapes
        self._pending.append(forecasts)
        self._pending_rows += len(forecasts)
        if len(self._pending) >= PENDING or self._pending_rows >= MOST_ROWS:
            self._pack()

    def of(self, slot: int) -> Forecasts | None:
        """The last forecast of a series; None when there was none."""
        if self._pending:
            self._pack()
        if slot >= len(self._known) or not self._known[slot]:
            return None
        assert self._rows is not None
        row = self._rows[slot : slot + 1]
        return Forecasts(*(row[field.name] for field in fields(Forecasts)))

    def _pack(self) -> None:
        forecasts = Forecasts.concatenate(self._pending)
        self._pending, self._pending_rows = [], 0
        if self._rows is None:
            columns = ((field.name, getattr(forecasts, field.name)) for field in fields(Forecasts))
            self._rows = np.zeros(0, np.dtype([(name, column.dtype, column.shape[1:]) for name, column in columns]))
        batch = np.empty(len(forecasts), self._rows.dtype)
        for field in fields(Forecasts):
            batch[field.name] = getattr(forecasts, field.name)
        self._grow(int(forecasts.series.max()) + 1)
        self._rows[forecasts.series] = batch  # of several rows of one series, NumPy keeps the last
        self._known[forecasts.series] = True

    def _grow(self, needed: int) -> None:
        assert self._rows is not None
        if needed > len(self._known):
            room = max(64, needed, 2 * len(self._known))
            for name in ("_rows", "_known"):
                old = getattr(self, name)
                new = np.zeros(room, old.dtype)
                new[: len(old)] = old
                setattr(self, name, new)
