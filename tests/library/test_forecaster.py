import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

import stepahead
from stepahead import Forecast, Forecaster, Settings
from stepahead.contract.errors import StateError, UsageError
from stepahead.contract.records import STATUS_NAMES, Readings
from stepahead.forecasting.engine import Engine
from stepahead.storage.lock import StateLock

HOUR_NS = 3600 * 10**9
SMALL = Settings.model_validate(
    {
        "engine": {"deterministic": True},
        "network": {"members": 2, "hidden": 8},
        "learning": {"steps": 1, "windows": 4, "every": 12, "window_steps": 16, "burn_in": 4, "held_out": 4},
        "interval": {"levels": (0.9, 0.5)},
    }
)


def two_feeds(rows: int) -> tuple[list[str], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(1)
    names = ["a", "b"] * rows
    times = np.repeat(np.arange(rows), 2) * HOUR_NS
    return names, times, rng.normal(size=2 * rows).cumsum()


def test_one_by_one_equals_columns_equals_the_engine_to_the_bit() -> None:
    names, times, values = two_feeds(36)
    one, many, engine = Forecaster(SMALL), Forecaster(SMALL), Engine(SMALL)
    columns = many.update_many(names, times, values)
    slots = [engine.intern(name) for name in names]
    expected = engine.step(Readings.of(slots, times.tolist(), values.tolist()))
    assert many.series == ["a", "b"]
    assert columns.model.max() > 0, "no fine-tune was adopted: too little is compared"
    for row, (name, time, value) in enumerate(zip(names, times.tolist(), values.tolist(), strict=True)):
        forecast = one.update(name, time, value)
        assert forecast is not None
        assert forecast.series == name
        assert forecast.value == columns.value[row, 0] == expected.value[row, 0]
        assert forecast.path == (forecast.value,)
        assert forecast.intervals == {
            0.9: (columns.lower[row, 0], columns.upper[row, 0]),
            0.5: (columns.lower[row, 1], columns.upper[row, 1]),
        }
        assert (forecast.level, forecast.lower, forecast.upper) == (0.9, columns.lower[row, 0], columns.upper[row, 0])
        assert forecast.observed == value
        assert forecast.error == (None if row < 2 else columns.error[row])
        assert forecast.p == (None if np.isnan(columns.score[row]) else columns.score[row])
        assert forecast.anomaly == columns.anomaly[row]
        assert forecast.status == STATUS_NAMES[columns.status[row]]
        assert forecast.issued_at == np.datetime64(time, "ns")
        assert forecast.valid_at == np.datetime64(time + (HOUR_NS if row >= 2 else 0), "ns")


def test_repeated_and_late_readings_get_no_forecast_and_are_counted() -> None:
    forecaster = Forecaster(SMALL)
    assert isinstance(forecaster.update("a", 5, 1.0), Forecast)
    assert forecaster.update("a", 5, 1.0) is None
    assert forecaster.update("a", 4, 1.0) is None
    assert forecaster.drops == {"duplicate": 1, "late": 1}
    columns = forecaster.update_many("a", [6, 6, 7], [1, 1, 2])
    assert columns.reading.tolist() == [0, 2]


def test_a_wide_frame_and_a_long_frame_are_the_same_readings() -> None:
    names, times, values = two_feeds(30)
    columns = Forecaster(SMALL).update_many(names, times, values)
    index = pandas.to_datetime(times[::2], utc=True)
    wide = pandas.DataFrame({"a": values[::2], "b": values[1::2]}, index=index)
    long = pandas.DataFrame({"who": names, "at": pandas.to_datetime(times), "what": values})
    from_wide = Forecaster(SMALL).update_frame(wide)
    from_long = Forecaster(SMALL).update_frame(long, series="who", time="at", value="what")
    assert from_wide["series"].tolist() == from_long["series"].tolist() == names
    np.testing.assert_array_equal(from_wide["value"], columns.value[:, 0])
    np.testing.assert_array_equal(from_long["upper"], columns.upper[:, 0])
    assert from_long.index.tolist() == list(range(60))
    assert from_wide.index.tolist() == index.repeat(2).tolist()
    assert from_wide["issued_at"].tolist() == index.repeat(2).tolist()


def test_empty_cells_of_a_wide_frame_are_no_readings() -> None:
    index = pandas.date_range("2026-01-01", periods=3, freq="h")
    frame = pandas.DataFrame({"a": pandas.array([1, None, 3], dtype="Int64"), "b": [None, None, 0.5]}, index=index)
    answer = Forecaster(SMALL).update_frame(frame)
    assert list(zip(answer["series"], answer["observed"], strict=True)) == [("a", 1.0), ("a", 3.0), ("b", 0.5)]
    assert answer["status"].tolist() == ["warming"] * 3


def test_a_saved_forecaster_goes_on_to_the_bit(tmp_path: Path) -> None:
    names, times, values = two_feeds(60)
    straight, first = Forecaster(SMALL), Forecaster(SMALL)
    first.update_many(names[:101], times[:101], values[:101])
    first.save(tmp_path / "state")
    again = Forecaster.load(tmp_path / "state")
    assert again.settings == SMALL
    straight.update_many(names[:101], times[:101], values[:101])
    for row in range(101, len(names)):
        reading = (names[row], int(times[row]), float(values[row]))
        assert again.update(*reading) == straight.update(*reading)
    again.save(tmp_path / "state")
    assert Forecaster.load(tmp_path / "state").series == ["a", "b"]


def test_what_cannot_be_loaded_or_saved_is_said(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"no saved forecaster in .*nowhere"):
        Forecaster.load(tmp_path / "nowhere")
    forecaster = Forecaster(SMALL)
    forecaster.save(tmp_path)
    arrays = next(tmp_path.glob("snapshot-*/arrays.safetensors"))
    arrays.write_bytes(arrays.read_bytes()[:-1] + b"?")
    with pytest.raises(StateError, match="checksum"):
        Forecaster.load(tmp_path)
    with StateLock(tmp_path), pytest.raises(StateError, match="in use"):
        forecaster.save(tmp_path)


@pytest.mark.parametrize(
    ("series", "time", "value", "named"),
    [
        ("a", 1, np.nan, "nan is not finite"),
        ("a", 1, 1e151, "beyond"),
        ("a", 1, "warm", "'warm' is not a number"),
        ("", 1, 1.0, "''"),
        (7, 1, 1.0, "series 7"),
        ("a", 1.5, 1.0, "1.5"),
    ],
)
def test_a_bad_reading_is_named(series: Any, time: Any, value: Any, named: str) -> None:
    forecaster = Forecaster(SMALL)
    with pytest.raises(UsageError, match=named):
        forecaster.update(series, time, value)
    assert forecaster.series == []


@pytest.mark.parametrize(
    ("series", "times", "values", "named"),
    [
        ("a", [1, 2], [1.0, np.inf], "row 1 is inf"),
        ("a", [1, 2], [1.0], "'times': 2"),
        (["a"], [1, 2], [1.0, 2.0], "'series': 1"),
        (["a", None], [1, 2], [1.0, 2.0], "None"),
        ("a", [1, 2], ["x", "y"], "values"),
        ("a", [1], [[1.0]], "2 dimensions"),
    ],
)
def test_bad_columns_are_named_and_nothing_is_learned(series: Any, times: Any, values: Any, named: str) -> None:
    forecaster = Forecaster(SMALL)
    with pytest.raises(UsageError, match=named):
        forecaster.update_many(series, times, values)
    assert len(forecaster.update_many("z", [], [])) == 0
    assert forecaster.drops == {}


def test_bad_frames_are_named() -> None:
    frame = pandas.DataFrame({"a": [1.0]}, index=pandas.date_range("2026-01-01", periods=1))
    with pytest.raises(UsageError, match=r"'who' is not in the frame; it has \['a'\]"):
        Forecaster(SMALL).update_frame(frame, series="who")
    with pytest.raises(UsageError, match="no column of values"):
        Forecaster(SMALL).update_frame(frame[[]])
    with pytest.raises(UsageError, match="could not convert"):
        Forecaster(SMALL).update_frame(frame.assign(b="text"))


def test_too_many_series_are_refused() -> None:
    few = SMALL.model_copy(update={"engine": SMALL.engine.model_copy(update={"max_series": 1})})
    forecaster = Forecaster(few)
    forecaster.update("a", 1, 1.0)
    with pytest.raises(UsageError, match=r"'b': engine\.max_series allows 1"):
        forecaster.update("b", 1, 1.0)


def test_the_package_gives_its_names_without_importing_torch_before_they_are_asked_for() -> None:
    program = "import sys, stepahead; assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert {name: getattr(stepahead, name).__name__ for name in stepahead.__all__} == {
        name: name for name in stepahead.__all__
    }
    with pytest.raises(AttributeError, match="no attribute 'Oracle'"):
        _ = stepahead.Oracle


def test_a_forecast_is_a_value() -> None:
    forecast = Forecaster(SMALL).update("a", 1, 2.0)
    assert forecast is not None
    assert forecast == replace(forecast)
    assert forecast != replace(forecast, value=0.0)
