"""Plays a recorded CSV file as MQTT messages, with the times of the file."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from stepahead.contract.errors import UsageError

__all__ = ["Message", "Recording"]

MISSING = {"", "na", "n/a", "nan", "null", "none"}
NOT_IN_A_LEVEL = re.compile(r"[+#/\x00\s]+")
MAGNITUDES = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6))
"""A number below the first is in the unit with so many of them per second: s, ms, µs, else ns."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message to publish.

    Attributes:
        time_s: time of the reading, seconds since 1970, for pacing.
        topic: where to publish.
        payload: JSON.
    """

    time_s: float
    topic: str
    payload: bytes


class Recording:
    r"""A CSV file with a header, a column of times and any other columns.

    Each row becomes one message `{"ts": …, "column": …}`, or one per column, `{"ts": …, "value": …}` on
    `topic/column`. ISO times without a zone are UTC. Empty cells and NaN are left out and counted in `missing`;
    text is sent as text.

    Args:
        path: the file, UTF-8.
        time: name of the time column.
        delimiter: one character.
        topic: where to publish; none = `sensors/` and the file's name without its ending.
        per_column: one topic per column.

    Raises:
        UsageError: the file, the column or a time cannot be used; the text names it.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> _ = (folder / "pump.csv").write_text("at,bar\n2026-01-01 00:00:00,4.25\n")
        >>> [(m.topic, m.payload) for m in Recording(folder / "pump.csv", time="at")]
        [('sensors/pump', b'{"ts":"2026-01-01T00:00:00Z","bar":4.25}')]
    """

    def __init__(
        self, path: Path, time: str, delimiter: str = ",", topic: str | None = None, per_column: bool = False
    ) -> None:
        self.path = path
        self.topic = topic or f"sensors/{level(path.stem)}"
        self.per_column = per_column
        self.missing = 0
        self._delimiter = delimiter
        if len(delimiter) != 1:
            raise UsageError(f"delimiter {delimiter!r} is not one character")
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                self.columns = next(csv.reader(file, delimiter=delimiter), [])
                # Counted with the reader, for a quoted cell may hold a line end.
                self.rows = sum(1 for row in csv.reader(file, delimiter=delimiter) if row)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UsageError(f"{path} cannot be read: {error}") from error
        if time not in self.columns:
            raise UsageError(f"{path} has no column {time!r}; its columns are: {', '.join(self.columns)}")
        self._time_index = self.columns.index(time)
        if len(self.columns) < 2:
            raise UsageError(f"{path} has no column beside {time!r}")

    @property
    def messages(self) -> int:
        """How many messages there are at most: without cells, a column sends none for the row."""
        return self.rows * (len(self.columns) - 1 if self.per_column else 1)

    def __iter__(self) -> Iterator[Message]:
        self.missing = 0
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=self._delimiter)
            next(reader)
            row_number = -1
            for row in reader:
                if not row:
                    continue
                row_number += 1
                if len(row) != len(self.columns):
                    raise UsageError(
                        f"{self.path}, row {row_number}: {len(row)} cells, the header has {len(self.columns)}"
                    )
                yield from self._row(row, row_number)

    def first(self, seconds: float) -> Iterator[Message]:
        """The messages of the first `seconds` of the recording's own time."""
        begin_s: float | None = None
        for message in self:
            begin_s = message.time_s if begin_s is None else begin_s
            if message.time_s - begin_s >= seconds:
                return
            yield message

    def _row(self, row: list[str], row_number: int) -> Iterator[Message]:
        text = row[self._time_index]
        try:
            ts, time_s = parse_time(text)
        except ValueError as error:
            raise UsageError(f"{self.path}, row {row_number}: {text!r} is not a time") from error
        fields: dict[str, float | str] = {}
        for i, (column, cell) in enumerate(zip(self.columns, row, strict=True)):
            if i == self._time_index:
                continue
            value = parse_cell(cell)
            if value is None:
                self.missing += 1
            else:
                fields[column] = value
        if self.per_column:
            for column, value in fields.items():
                payload = msgspec.json.encode({"ts": ts, "value": value})
                yield Message(time_s, f"{self.topic}/{level(column)}", payload)
        else:
            yield Message(time_s, self.topic, msgspec.json.encode({"ts": ts, **fields}))


def level(name: str) -> str:
    """A name as one topic level: no wildcard, no slash, no space.

    Example:
        >>> level("Volume Flow RateRMS")
        'Volume_Flow_RateRMS'
    """
    return NOT_IN_A_LEVEL.sub("_", name.strip()) or "_"


def parse_cell(cell: str) -> float | str | None:
    """A finite number, a text, or None for a missing value."""
    text = cell.strip()
    if text.lower() in MISSING:
        return None
    try:
        value = float(text)
    except ValueError:
        return text
    return value if abs(value) < float("inf") else text


def parse_time(text: str) -> tuple[str | int | float, float]:
    """What to send as the time, and the same in seconds since 1970.

    A number stays the number it is, its unit known by its size; an ISO 8601 time keeps its digits and gets the
    zone that it lacks.

    Raises:
        ValueError: it is neither.

    Example:
        >>> parse_time("1970-01-01 00:01")
        ('1970-01-01T00:01Z', 60.0)
        >>> parse_time("1760000000000")
        (1760000000000, 1760000000.0)
    """
    text = text.strip()
    try:
        number: int | float = int(text) if text.lstrip("+-").isdecimal() else float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
            text = text.replace(" ", "T") + ("Z" if len(text) > len("2026-01-01") else "T00:00:00Z")
        return text.replace(" ", "T"), moment.timestamp()
    if not abs(number) < float("inf"):
        raise ValueError("not finite")
    per_second = next((unit for bound, unit in MAGNITUDES if abs(number) < bound), 1e9)
    return number, number / per_second
