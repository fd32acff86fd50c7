from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas
import pytest

from stepahead.contract.errors import UsageError
from stepahead.library.moments import moment_ns, moments_ns

NOON_NS = 1_767_268_800 * 10**9  # date -u -d 2026-01-01T12:00:00 +%s


@pytest.mark.parametrize(
    "time",
    [
        NOON_NS,
        np.int64(NOON_NS),
        "2026-01-01T12:00:00Z",
        "2026-01-01 13:00:00+01:00",
        datetime(2026, 1, 1, 12),
        datetime(2026, 1, 1, 12, tzinfo=UTC),
        datetime(2026, 1, 1, 6, tzinfo=timezone(timedelta(hours=-6))),
        np.datetime64("2026-01-01T12"),
        pandas.Timestamp("2026-01-01T12:00"),
        pandas.Timestamp("2026-01-01T12:00", tz="UTC"),
    ],
    ids=repr,
)
def test_a_moment_is_the_same_alone_and_in_a_column(time: Any) -> None:
    assert moment_ns(time) == NOON_NS
    assert moments_ns([time, time]).tolist() == [NOON_NS, NOON_NS]


def test_nanoseconds_are_kept() -> None:
    assert moment_ns(pandas.Timestamp(NOON_NS + 1)) == NOON_NS + 1
    assert moments_ns(pandas.Series([NOON_NS + 1]).astype("datetime64[ns]")).tolist() == [NOON_NS + 1]
    assert moment_ns("2026-01-01T12:00:00.000000001Z") == NOON_NS + 1


def test_an_index_of_another_unit_and_zone() -> None:
    index = pandas.date_range("2026-01-01T13:00", periods=2, freq="s", tz="Europe/Berlin").as_unit("s")
    assert moments_ns(index).tolist() == [NOON_NS, NOON_NS + 10**9]


def test_no_times_are_no_times() -> None:
    assert moments_ns([]).tolist() == []


@pytest.mark.parametrize(
    ("times", "named"),
    [
        ([1.5], "1.5"),
        ([True], "bool"),
        (["yesterday"], "yesterday"),
        (["2026-01-01", None], "None"),
        (np.array(["2026-01-01", "NaT"], "datetime64[s]"), "row 1"),
        (np.array(["9999-01-01"], "datetime64[s]"), "9999"),
        (np.array([2**64 - 1], np.uint64), "18446744073709551615"),
        ([[1], [2]], "2 dimensions"),
    ],
    ids=repr,
)
def test_bad_times_are_named(times: Any, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        moments_ns(times)


@pytest.mark.parametrize("time", [1.5, True, None, "yesterday", 2**63, -(2**63), pandas.NaT, np.datetime64("NaT")])
def test_a_bad_moment_is_an_error(time: Any) -> None:
    with pytest.raises(UsageError, match="time"):
        moment_ns(time)
