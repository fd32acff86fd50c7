import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from stepahead.contract.errors import UsageError
from stepahead.evaluation.clock import HOUR_NS, unfold_clock
from stepahead.evaluation.recording import Recording, read_recording

Write = Callable[[str], Path]


def test_columns_and_times_are_read_as_they_stand(write_csv: Write) -> None:
    file = write_csv("a;when;b\n1;2020-01-01 00:00:00;0.5\n;2020-01-01 00:00:01;inf\n3;2020-01-01 00:00:02.5;-2e3\n")
    recording = read_recording(file, "when", delimiter=";")
    assert recording.columns == ("a", "b")
    start = np.datetime64("2020-01-01", "ns").astype(np.int64)
    assert (recording.time_ns - start).tolist() == [0, 10**9, 2_500_000_000]
    np.testing.assert_array_equal(recording.value, [[1, 0.5], [np.nan, np.nan], [3, -2000]])
    assert recording.time_ns.dtype == np.int64


def test_columns_come_in_the_order_asked_for(write_csv: Write) -> None:
    recording = read_recording(write_csv("t,a,b\n1577836800,1,2\n"), "t", ["b", "a"])
    assert recording.columns == ("b", "a")
    assert recording.value.tolist() == [[2, 1]]


@pytest.mark.parametrize("factor", [1, 10**3, 10**6, 10**9])
def test_the_unit_of_a_numeric_time_is_told_by_its_size(write_csv: Write, factor: int) -> None:
    file = write_csv(f"t,a\n{1_577_836_800 * factor},1\n{1_577_836_801 * factor},2\n")
    assert read_recording(file, "t").time_ns.tolist() == [1_577_836_800 * 10**9, 1_577_836_801 * 10**9]


@pytest.mark.parametrize(
    ("text", "hours"),
    [("2020-01-01T02:00:00+02:00", 0), ("2020-01-01T00:00:00Z", 0), ("2020-01-01 05:00", 5), ("2020-01-02", 24)],
)
def test_times_are_utc_unless_they_say_otherwise(write_csv: Write, text: str, hours: int) -> None:
    time_ns = read_recording(write_csv(f"t,a\n{text},1\n"), "t").time_ns
    assert time_ns.tolist() == [1_577_836_800 * 10**9 + hours * HOUR_NS]


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("", {}, "is empty"),
        ("t,a\n", {}, "has a header and no rows"),
        ("t;a\n1577836800;1\n", {}, "no column 't'; there are: t;a; is the delimiter right?"),
        ("x,a\n1577836800,1\n", {}, "no column 't'; there are: x, a"),
        ("t,a\n1577836800,1\n", {"columns": ["b"]}, "no column 'b'; there are: t, a"),
        ("t\n1577836800\n", {}, "no column beside 't'"),
        ("t,a\n1577836800,1\n", {"columns": ["t"]}, "--columns t: each column once, and not the time column"),
        ("t,a\n1577836800,1\n", {"columns": ["a", "a"]}, "--columns a,a: each column once"),
        ("t,a\n1577836800,1\n1577836801,warm\n", {}, "column 'a', row 1: 'warm' is not a number"),
        ("t,a\n2020-01-01,1\nyesterday,2\n", {}, "column 't', row 1: 'yesterday' is not a time"),
        ("t,a\n2020-01-01,1\n,2\n", {}, "column 't', row 1: nan is not a time"),
        ("t,a\n2020-01-02,1\n2020-01-03,2\n2020-01-01,2\n", {}, "row 2 is out of time order"),
        ("t,a\n1577836800,1\n", {"delimiter": ";;"}, "--delimiter ';;': must be one character"),
        ('t,a\n1577836800,1,2,3\n1,2\n1,"2\n', {}, "not a CSV file"),
    ],
)
def test_what_cannot_be_used_is_named(
    write_csv: Write, content: str, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        read_recording(write_csv(content), "t", **arguments)  # type: ignore[arg-type]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.csv: No such file"):
        read_recording(tmp_path / "absent.csv", "t")


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"t,a\n\xff\xfe\xfa,1\n")
    with pytest.raises(UsageError, match=r"x\.csv: not a CSV file"):
        read_recording(tmp_path / "x.csv", "t")


def test_standardizing_is_what_scikit_learn_does(make_recording: Callable[..., Recording]) -> None:
    recording = make_recording(rows=80)
    expected = StandardScaler().fit(recording.value[:30]).transform(recording.value)
    np.testing.assert_allclose(recording.standardized(30).value, expected, rtol=1e-12)


@pytest.mark.parametrize("rows", [-1, 0, 1, 81])
def test_scale_rows_beyond_the_file_are_refused(make_recording: Callable[..., Recording], rows: int) -> None:
    with pytest.raises(UsageError, match=f"--scale-rows {rows}: must be 2 to 80"):
        make_recording(rows=80).standardized(rows)


@pytest.mark.parametrize("cell", [7.0, np.nan])
def test_a_column_that_cannot_be_scaled_is_named(cell: float) -> None:
    recording = Recording("x", ("a", "b"), np.arange(4), np.array([[1, cell], [2, cell], [3, cell], [4, 1]]))
    with pytest.raises(UsageError, match="column 'b' is constant or empty"):
        recording.standardized(3)


@pytest.mark.parametrize("minutes", [1, 5, 20, 30])
def test_an_hour_that_a_clock_repeats_is_unfolded(minutes: int) -> None:
    period = minutes * 60 * 10**9
    steady = np.arange(400, dtype=np.int64) * period
    per_hour = HOUR_NS // period
    clock = steady.copy()
    clock[200:] -= HOUR_NS
    unfolded, rows = unfold_clock(clock, "x")
    np.testing.assert_array_equal(unfolded, steady)
    assert rows == (200,)
    assert clock[200] == steady[200 - per_hour]


@pytest.mark.parametrize("minutes", [1, 10, 20, 30, 60, 120])
@pytest.mark.parametrize("apart", [1, 2, 3, 7])
def test_two_rows_in_the_wrong_order_are_no_clock_change(minutes: int, apart: int) -> None:
    time_ns = np.arange(100, dtype=np.int64) * minutes * 60 * 10**9
    time_ns[[50, 50 + apart]] = time_ns[[50 + apart, 50]]
    with pytest.raises(UsageError, match="row 51 is out of time order"):
        unfold_clock(time_ns, "x")


def test_equal_times_are_left_to_the_engine() -> None:
    time_ns = np.array([0, 1, 1, 2], dtype=np.int64)
    assert unfold_clock(time_ns, "x")[0].tolist() == [0, 1, 1, 2]
