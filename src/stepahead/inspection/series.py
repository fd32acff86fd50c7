"""What a snapshot knows of each series: how often it was heard, its last value, its scale, and who forecasts it."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Composite
from stepahead.contract.errors import UsageError
from stepahead.experts.panel import Panel
from stepahead.forecasting.residence import AWAY
from stepahead.inspection.look import Stored
from stepahead.inspection.silent import SilentRows
from stepahead.transform.cadence import Cadence
from stepahead.transform.difference import differencer
from stepahead.transform.standardize import standardizer

__all__ = ["SCALER_COLUMNS", "SeriesBanks", "SeriesView", "scalers_csv"]

AT_ONCE = 1024
SCALER_COLUMNS = (
    "series",
    "readings",
    "last_time",
    "last_value",
    "period_s",
    "difference_order",
    "difference_center",
    "difference_scale",
    "value_center",
    "value_scale",
)


@dataclass(frozen=True, slots=True)
class SeriesView:
    """One series as a snapshot has it.

    Attributes:
        series: key.
        readings: accepted so far.
        last_time: of the newest, ISO 8601, UTC; None before the first.
        last_value: of the newest, in the sensor's unit.
        period_s: usual seconds between two; 0 = unknown.
        difference_order: how often readings are differenced.
        difference_center, difference_scale: what the differenced value is standardized by.
        value_center, value_scale: running mean and deviation of the value itself. All four in the sensor's unit, or
            in that of `transform.before` where it is set.
        weights: share of each expert in what is published, by name; those of 0 left out.
    """

    series: str
    readings: int
    last_time: str | None
    last_value: float | None
    period_s: float
    difference_order: int
    difference_center: float
    difference_scale: float
    value_center: float
    value_scale: float
    weights: Mapping[str, float]


class SeriesBanks:
    """The banks of a snapshot that say something about one series, loaded.

    Args:
        stored: the snapshot.
    """

    def __init__(self, stored: Stored) -> None:
        settings, engine = stored.settings, stored.state["engine"]
        self.keys = stored.keys
        self._numbers = {key: number for number, key in enumerate(self.keys)}
        self._silent = SilentRows(engine["hibernation"], stored.packs)
        known = engine["residence"]["slot"]
        self._slot = np.concatenate((known, np.full(len(self.keys) - len(known), AWAY, np.int32)))
        self._cadence = Cadence(settings.cadence)
        self._difference = differencer(settings.transform)
        remembered = settings.replay.memory_steps + self._difference.reach
        self._panel = Panel(settings.experts, settings.network.members, remembered=remembered)
        self._scaler = standardizer(settings.transform, centered=False)
        self._level = standardizer(settings.transform.model_copy(update={"scaling": "ewm"}), centered=True)
        self._cadence.load_state_dict(below("cadence", engine["banks"]))
        self._panel.load_state_dict(below("panel", engine["banks"]))
        for name, bank in (("difference", self._difference), ("scaler", self._scaler), ("level", self._level)):
            bank.load_state_dict(below(name, engine["pipeline"]["banks"]))
        parts = {"cadence": self._cadence, "difference": self._difference, "scaler": self._scaler, "level": self._level}
        self._parts = Composite({**parts, "panel": self._panel.of_every_series})
        self._room = self._parts.capacity  # behind those of the snapshot, for a few who were silent
        self._parts.grow(self._room + AT_ONCE)

    def view(self, key: str) -> SeriesView:
        """One series.

        Raises:
            UsageError: it is not known; the text names some that are.
        """
        number = self._numbers.get(key)
        if number is None:
            like = [known for known in self.keys if key in known] or self.keys
            raise UsageError(f"there is no series {key!r} among {len(self.keys)}; there are {', '.join(like[:5])}")
        at = np.array([number], dtype=np.int32)
        slots = self._seat(at)
        _, weights = self._panel.outlook(slots)
        names = self._panel.names
        shares = {name: float(w) for name, w in zip(names, weights[0], strict=True) if w > 0}
        ranked = dict(sorted(shares.items(), key=lambda share: -share[1]))
        (row,) = self._rows(at, slots)
        return SeriesView(**dict(zip(SCALER_COLUMNS, row, strict=True)), weights=ranked)

    def rows(self) -> list[tuple[Any, ...]]:
        """All series, columns as `SCALER_COLUMNS`.

        Raises:
            StateError: the state of a silent one cannot be read.
        """
        rows = []
        for start in range(0, len(self.keys), AT_ONCE):
            numbers = np.arange(start, min(start + AT_ONCE, len(self.keys)), dtype=np.int32)
            rows += self._rows(numbers, self._seat(numbers))
        return rows

    def _seat(self, numbers: NDArray[np.int32]) -> NDArray[np.int32]:
        """Slots of at most so many series, `AT_ONCE`; those of the silent are filled from where their state lies."""
        slots = self._slot[numbers].copy()
        away = np.flatnonzero(slots == AWAY)
        slots[away] = self._room + np.arange(len(away))
        self._parts.reset(slots[away])
        lying = away[self._silent.lie(numbers[away])]
        if len(lying):
            self._parts.put(slots[lying], self._silent.columns(numbers[lying]))
        return slots

    def _rows(self, numbers: NDArray[np.int32], slots: NDArray[np.int32]) -> list[tuple[Any, ...]]:
        cadence = self._cadence
        heard = cadence.seen(slots) > 0
        columns = (
            [self.keys[number] for number in numbers],
            cadence.seen(slots).tolist(),
            [iso(ns) if there else None for ns, there in zip(cadence.last_ns[slots].tolist(), heard, strict=True)],
            [v if there else None for v, there in zip(cadence.last_value[slots].tolist(), heard, strict=True)],
            (cadence.period_ns(slots) / 1e9).tolist(),
            self._difference.order[slots].tolist(),
            self._scaler.center(slots).tolist(),
            self._scaler.scale(slots).tolist(),
            self._level.center(slots).tolist(),
            self._level.scale(slots).tolist(),
        )
        return list(zip(*columns, strict=True))


def below(name: str, banks: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays of one bank of a composite, by column.

    Example:
        >>> below("a", {"a.x": 1, "a.b.y": 2, "ab.x": 3})
        {'x': 1, 'b.y': 2}
    """
    lead = f"{name}."
    return {key.removeprefix(lead): array for key, array in banks.items() if key.startswith(lead)}


def iso(ns: int) -> str:
    """A time as text, to the millisecond.

    Example:
        >>> iso(1_760_000_000_250_000_000)
        '2025-10-09T08:53:20.250Z'
    """
    try:
        moment = datetime.fromtimestamp(ns // 10**6 / 1000, UTC)
    except (OverflowError, ValueError, OSError):  # a time beyond the year 9999, which a test's clock may be
        return f"{ns} ns"
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def scalers_csv(banks: SeriesBanks) -> bytes:
    """All series as CSV (RFC 4180), one row each, numbers in the shortest form that gives the same float64 back."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(SCALER_COLUMNS)
    writer.writerows(banks.rows())
    return text.getvalue().encode("utf-8", "backslashreplace")
