"""A recording: a CSV file with a time column and columns of numbers, in time order."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from stepahead.contract.errors import UsageError
from stepahead.contract.records import BoolArray, FloatArray, IntArray
from stepahead.evaluation.clock import unfold_clock

__all__ = ["Recording", "read_recording"]


@dataclass(frozen=True, slots=True)
class Recording:
    """Rows of a file, numbered from 0 after the header.

    Attributes:
        name: the file as given.
        columns: names of the C columns.
        time_ns: int64[rows], UTC nanoseconds, never running back.
        value: float64[rows, C]; NaN where a cell is empty or not finite.
        set_back: rows at which the recording's clock was set back by an hour, see `unfold_clock`.
        unit: of the values, for the axis of a picture.
    """

    name: str
    columns: tuple[str, ...]
    time_ns: IntArray
    value: FloatArray
    set_back: tuple[int, ...] = ()
    unit: str = "value"

    def __len__(self) -> int:
        return len(self.time_ns)

    @property
    def present(self) -> BoolArray:
        """bool[rows, C]: which cells hold a reading."""
        return np.isfinite(self.value)

    def head(self, rows: int) -> "Recording":
        """The first so many rows."""
        return replace(self, time_ns=self.time_ns[:rows], value=self.value[:rows])

    def standardized(self, rows: int) -> "Recording":
        """Each column less its mean, divided by its population standard deviation, both over rows 0..rows-1.

        Raises:
            UsageError: too few rows, or a column that is constant or empty in these rows.

        Example:
            >>> time, value = np.arange(3), np.array([[1.0], [3.0], [7.0]])
            >>> Recording("x", ("a",), time, value).standardized(2).value.ravel().tolist()
            [-1.0, 1.0, 5.0]
        """
        if not 2 <= rows <= len(self):
            raise UsageError(f"--scale-rows {rows}: must be 2 to {len(self)}, the number of rows of {self.name}")
        first = self.value[:rows]
        for column, cells in zip(self.columns, first.T, strict=True):
            finite = cells[np.isfinite(cells)]
            if len(finite) == 0 or np.ptp(finite) == 0:
                raise UsageError(f"--scale-rows {rows}: column {column!r} is constant or empty in these rows")
        scaled = (self.value - np.nanmean(first, axis=0)) / np.nanstd(first, axis=0)
        return replace(self, value=scaled, unit="value, standardised")


def read_recording(file: Path, time: str, columns: Sequence[str] | None = None, delimiter: str = ",") -> Recording:
    """Read a CSV file.

    Args:
        file: path of the file, UTF-8, with a header.
        time: name of the time column: ISO 8601, or a number of seconds to nanoseconds since 1970 (by magnitude).
        columns: names of the columns to take; None = every other column.
        delimiter: one character.

    Raises:
        UsageError: names the file, column or first row that cannot be used.
    """
    if len(delimiter) != 1:
        raise UsageError(f"--delimiter {delimiter!r}: must be one character")
    try:
        table = pd.read_csv(file, sep=delimiter, skipinitialspace=True, low_memory=False)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    except pd.errors.EmptyDataError as error:
        raise UsageError(f"{file}: is empty") from error
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: not a CSV file: {error}") from error
    names = [str(name) for name in table.columns]
    for name in [time, *(columns or ())]:
        if name not in names:
            hint = "; is the delimiter right?" if len(names) == 1 else ""
            raise UsageError(f"{file}: no column {name!r}; there are: {', '.join(names)}{hint}")
    if len(table) == 0:
        raise UsageError(f"{file}: has a header and no rows")
    chosen = tuple(columns or (name for name in names if name != time))
    if not chosen:
        raise UsageError(f"{file}: no column beside {time!r}")
    if time in chosen or len(set(chosen)) < len(chosen):
        raise UsageError(f"--columns {','.join(chosen)}: each column once, and not the time column")
    value = np.column_stack([numbers(file, table[name]) for name in chosen])
    time_ns, set_back = unfold_clock(times(file, table[time]), str(file))
    return Recording(str(file), chosen, time_ns, value, set_back)


def numbers(file: Path, column: "pd.Series[float]") -> FloatArray:
    """One column as float64; empty cells and infinities as NaN.

    Raises:
        UsageError: a cell holds text; names the column, the row and the text.
    """
    parsed = pd.to_numeric(column, errors="coerce")
    text = column.notna() & parsed.isna()
    if text.any():
        row = int(np.argmax(text.to_numpy()))
        raise UsageError(f"{file}: column {column.name!r}, row {row}: {column.iloc[row]!r} is not a number")
    value: FloatArray = parsed.to_numpy(dtype=np.float64, copy=True)
    value[~np.isfinite(value)] = np.nan
    return value


def times(file: Path, column: "pd.Series[float]") -> IntArray:
    """The time column as UTC nanoseconds.

    Raises:
        UsageError: a cell is no time; names the row and the text.
    """
    if pd.api.types.is_numeric_dtype(column) and column.notna().all():
        # Seconds, milli-, micro- or nanoseconds: between 1973 and 5138 the magnitudes do not overlap.
        largest = float(np.abs(column.to_numpy(dtype=np.float64)).max())
        unit = next((u for u, bound in (("s", 1e11), ("ms", 1e14), ("us", 1e17)) if largest < bound), "ns")
        parsed = pd.to_datetime(column, unit=unit, utc=True, errors="coerce")
    else:
        parsed = pd.to_datetime(column, utc=True, errors="coerce", format="ISO8601")
    if parsed.isna().any():
        row = int(np.argmax(parsed.isna().to_numpy()))
        raise UsageError(f"{file}: column {column.name!r}, row {row}: {column.iloc[row]!r} is not a time")
    # pandas 3 keeps the unit of the text, often microseconds: without the conversion int64 would be these.
    time_ns: IntArray = parsed.dt.as_unit("ns").to_numpy(dtype="datetime64[ns]").astype(np.int64)
    return time_ns
