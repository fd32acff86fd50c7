"""The forecaster for NumPy and pandas users: readings in, forecasts out, nothing else to set up."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from stepahead.contract.errors import StateError, UsageError
from stepahead.contract.records import REFUSED, FloatArray, Forecasts, Readings
from stepahead.contract.settings import EngineSettings, Settings
from stepahead.forecasting.engine import Engine
from stepahead.library.forecast import Forecast, forecast_of, frame_of
from stepahead.library.moments import Moment, moment_ns, moments_ns
from stepahead.storage.lock import StateLock
from stepahead.storage.snapshot import SnapshotStore

if TYPE_CHECKING:
    import pandas

__all__ = ["Forecaster"]

LARGEST = 1e150
"""Values beyond ± this are refused, as on the wire: squares of them must stay finite."""
NOT_OURS = {"broker", "subscriptions", "publish", "durability", "service"}
"""Sections of the settings that are about MQTT and the disk."""


class Forecaster:
    """Forecasts the next reading of any number of series, learning from each reading after scoring it.

    Fine-tunes are carried out within the calls. PyTorch's thread count is left as it is; the products are small, so
    `torch.set_num_threads(1)` is usually fastest.

    Args:
        settings: all of them, of which those on MQTT and durability do not matter here. None = the defaults, with
            `engine.deterministic`: then the forecasts do not depend on whether readings come one by one or in columns.

    Example:
        >>> forecaster = Forecaster()
        >>> for minute in range(60):
        ...     forecast = forecaster.update("boiler", minute * 60 * 10**9, 20.0 + minute % 5)
        >>> forecast.valid_at, forecast.observed, forecast.lower <= forecast.value <= forecast.upper
        (np.datetime64('1970-01-01T01:00:00.000000000'), 24.0, True)
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = Settings(engine=EngineSettings(deterministic=True)) if settings is None else settings
        self._engine = Engine(self.settings)

    @property
    def series(self) -> list[str]:
        """Names of all series, in the order of their slots (`Forecasts.series`)."""
        return list(self._engine.table.keys)

    @property
    def drops(self) -> dict[str, int]:
        """Readings that got no forecast, by reason: repeated and late ones."""
        return self._engine.drops.as_dict()

    def update(self, series: str, time: Moment, value: float) -> Forecast | None:
        """Take one reading: score what was forecast for it, learn from it, forecast the next.

        Args:
            series: any name; the first reading makes the series.
            time: see `Moment`.
            value: in the sensor's unit, finite, within ±1e150.

        Returns:
            The forecast, or None for a reading that is not newer than the last one of its series (see `drops`).

        Raises:
            UsageError: bad name, time or value, or more series than `engine.max_series`.
        """
        time_ns = moment_ns(time)
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            raise UsageError(f"series {series!r}: value {value!r} is not a number") from error
        if not abs(number) <= LARGEST:
            raise UsageError(f"series {series!r}: value {number} is not finite or beyond ±{LARGEST:g}")
        answer = self._engine.step(Readings.of([self._slot(series)], [time_ns], [number]))
        if not len(answer):
            return None
        return forecast_of(answer, 0, series, self.settings.interval.levels)

    def update_many(self, series: str | Sequence[str] | Any, times: Any, values: Any) -> Forecasts:
        """Take many readings, in order of arrival.

        Args:
            series: one name for all, or n names.
            times: n times, see `moments_ns`; each series' own in order, series may interleave.
            values: float64[n], finite, within ±1e150.

        Returns:
            A row per accepted reading; `reading` tells which one it was, `series` is an index into `self.series`.

        Raises:
            UsageError: columns of different length, or a bad name, time or value, with its row; nothing is learned.

        Example:
            >>> hours = np.arange("2026-01-01", "2026-01-03", dtype="datetime64[h]")
            >>> forecasts = Forecaster().update_many("mill/power", hours, np.sin(np.arange(48)))
            >>> forecasts.value.shape, int(np.isnan(forecasts.error).sum())
            ((48, 1), 1)
        """
        value = _numbers(values)
        time_ns = moments_ns(times)
        names, of_row = _names(series, len(value))
        lengths = {"series": len(of_row), "times": len(time_ns), "values": len(value)}
        if len(set(lengths.values())) > 1:
            raise UsageError(f"columns differ in length: {lengths}")
        bad = np.flatnonzero(~(np.abs(value) <= LARGEST))
        if len(bad):
            raise UsageError(
                f"values: row {bad[0]} is {value[bad[0]]}, not finite or beyond ±{LARGEST:g}; leave such rows out"
            )
        slots = np.array([self._slot(name) for name in names], dtype=np.int32)
        return self._engine.step(Readings(slots[of_row], time_ns, value))

    def update_frame(
        self, frame: "pandas.DataFrame", series: str | None = None, time: str | None = None, value: str = "value"
    ) -> "pandas.DataFrame":
        """Take the readings of a pandas frame, row by row.

        Args:
            frame: long, a row per reading, when `series` names the column of names; else wide, a column per series,
                an empty cell (NaN) being no reading.
            series: column of names; None = the frame is wide.
            time: column of times; None = the index.
            value: column of values of a long frame.

        Returns:
            A row per accepted reading, in order of arrival, labelled as its row of the frame, with the columns
            `series, value, mean, lower, upper, issued_at, valid_at, observed, error, anomaly, p, status`.

        Example:
            >>> import pandas
            >>> hours = pandas.date_range("2026-01-01", periods=3, freq="h")
            >>> frame = pandas.DataFrame({"power": [1.0, 2.0, 3.0], "flow": [0.5, None, 0.7]}, index=hours)
            >>> Forecaster().update_frame(frame)["series"].tolist()
            ['power', 'flow', 'power', 'power', 'flow']
        """
        for column in (time, series, value if series is not None else None):
            if column is not None and column not in frame.columns:
                raise UsageError(f"column {column!r} is not in the frame; it has {list(map(str, frame.columns))}")
        time_ns = moments_ns(frame.index if time is None else frame[time])
        if series is not None:
            answer = self.update_many(frame[series].to_numpy(), time_ns, frame[value])
            return frame_of(answer, self._engine.table.keys, frame.index)
        wide = frame if time is None else frame.drop(columns=time)
        cells = np.column_stack([_numbers(wide[column]) for column in wide.columns]) if len(wide.columns) else None
        if cells is None:
            raise UsageError("the frame has no column of values")
        rows, columns = np.nonzero(~np.isnan(cells))
        names = np.array([str(column) for column in wide.columns], dtype=object)
        answer = self.update_many(names[columns], time_ns[rows], cells[rows, columns])
        return frame_of(answer, self._engine.table.keys, frame.index[rows])

    def save(self, directory: Path | str) -> None:
        """Write everything learned, and the settings, as a snapshot: whole or not at all; the last three are kept.

        Raises:
            StateError: the directory cannot be written, or another process is at it.
        """
        settings = self.settings.model_dump(mode="json", exclude=NOT_OURS)
        with StateLock(Path(directory)):
            SnapshotStore(Path(directory)).write(
                {"forecaster": self._engine.state_dict(), "settings": settings}, position=self._engine.position
            )

    @classmethod
    def load(cls, directory: Path | str) -> "Forecaster":
        """A forecaster that goes on, to the bit, where `save` left it.

        Raises:
            StateError: there is no snapshot, none is whole, or it is of another kind.

        Example:
            >>> import tempfile
            >>> forecaster = Forecaster()
            >>> with tempfile.TemporaryDirectory() as directory:
            ...     _ = forecaster.update("a", 0, 1.0)
            ...     forecaster.save(directory)
            ...     again = Forecaster.load(directory)
            >>> again.update("a", 10**9, 2.0) == forecaster.update("a", 10**9, 2.0)
            True
        """
        snapshot = SnapshotStore(Path(directory)).load_newest() if Path(directory).is_dir() else None
        if snapshot is None:
            raise StateError(f"there is no saved forecaster in {directory}")
        try:
            state, settings = snapshot.state["forecaster"], snapshot.state["settings"]
            forecaster = cls(Settings.model_validate(settings))
        except (KeyError, ValidationError) as error:
            raise StateError(f"what is saved in {directory} is not a forecaster of this release: {error}") from error
        forecaster._engine.load_state_dict(state)
        return forecaster

    def _slot(self, series: str) -> int:
        if not isinstance(series, str) or not series:
            raise UsageError(f"series {series!r}: a name is text, and not empty")
        slot = self._engine.intern(series)
        if slot == REFUSED:
            raise UsageError(f"series {series!r}: engine.max_series allows {self.settings.engine.max_series}")
        return slot


def _numbers(values: Any) -> FloatArray:
    try:
        # pandas' nullable columns and Arrow-backed ones give their gaps as NaN only when asked so.
        array = values.to_numpy(dtype=np.float64, na_value=np.nan) if hasattr(values, "iloc") else np.asarray(values)
        numbers = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"values: {error}") from error
    if numbers.ndim != 1:
        raise UsageError(f"values have {numbers.ndim} dimensions, allowed is one")
    return np.asarray(numbers)


def _names(series: str | Sequence[str] | Any, rows: int) -> tuple[list[str], Any]:
    """Distinct names, in order of first use, and the row of this list for each reading."""
    if isinstance(series, str):
        return [series], np.zeros(rows, np.intp)
    distinct: dict[str, int] = {}
    of_row = [distinct.setdefault(name, len(distinct)) for name in np.asarray(series, dtype=object).tolist()]
    return list(distinct), np.array(of_row, dtype=np.intp)
