from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepahead.wire.formats.timestamp import TimeUnit, read_time

MOMENTS = st.datetimes(datetime(1974, 1, 1), datetime(2200, 1, 1))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def nanoseconds(moment: datetime) -> int:
    since = moment - EPOCH
    return (since // timedelta(microseconds=1)) * 1000


@given(MOMENTS, st.integers(-14 * 60, 14 * 60))
def test_iso_8601_with_any_zone(moment: datetime, minutes: int) -> None:
    zoned = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert read_time(zoned.isoformat()) == nanoseconds(zoned)
    assert read_time(zoned.isoformat(sep=" ")) == nanoseconds(zoned)


@given(MOMENTS)
def test_without_a_zone_it_is_utc(moment: datetime) -> None:
    expected = nanoseconds(moment.replace(tzinfo=UTC))
    assert read_time(moment.isoformat()) == expected
    assert read_time(moment.isoformat() + "Z") == expected


@given(MOMENTS)
def test_magnitude_tells_the_unit(moment: datetime) -> None:
    expected = nanoseconds(moment.replace(tzinfo=UTC, microsecond=0))
    for per_unit in (1, 10**3, 10**6, 10**9):
        assert read_time(expected // per_unit) == expected
        assert read_time(str(expected // per_unit)) == expected


@given(MOMENTS.filter(lambda moment: moment.year < 2106))
def test_fractions_are_kept_to_the_microsecond(moment: datetime) -> None:
    moment = moment.replace(tzinfo=UTC)
    expected = nanoseconds(moment)
    assert read_time(expected / 10**9) == expected
    assert read_time(f"{expected // 10**9}.{expected % 10**9 // 1000:06d}") == expected


@pytest.mark.parametrize(
    ("raw", "unit", "expected"),
    [
        ("2025-10-09T08:53:20.123456789Z", "auto", 1_760_000_000_123_456_789),
        ("2025-10-09T08:53:20,5Z", "auto", 1_760_000_000_500_000_000),
        ("2025-10-09", "iso8601", 1_759_968_000 * 10**9),
        ("20251009T085320Z", "auto", 1_760_000_000 * 10**9),
        (1_760_000_000, "s", 1_760_000_000 * 10**9),
        (5, "s", 5 * 10**9),
        (5, "ms", 5 * 10**6),
        (1.5, "us", 1500),
        (7, "ns", 7),
        ("1760000000.5", "s", 1_760_000_000_500_000_000),
        (" 1760000000 ", "auto", 1_760_000_000 * 10**9),
        (True, "auto", None),
        (None, "auto", None),
        ([1], "auto", None),
        ("", "auto", None),
        ("noon", "auto", None),
        ("12:30", "auto", None),
        ("2025-13-01", "auto", None),
        ("2025-10-09", "s", None),
        (1_760_000_000, "iso8601", None),
        (10**20, "auto", None),
        (1e300, "s", None),
        (float("inf"), "auto", None),
        (float("nan"), "ms", None),
        ("1e999", "s", None),
        ("9" * 5000, "auto", None),
    ],
)
def test_forms(raw: object, unit: TimeUnit, expected: int | None) -> None:
    assert read_time(raw, unit) == expected


@given(st.one_of(st.text(max_size=40), st.floats(), st.integers()), st.sampled_from(["auto", "iso8601", "s", "ns"]))
def test_anything_else_is_none_and_never_an_error(raw: object, unit: TimeUnit) -> None:
    assert isinstance(read_time(raw, unit), int | None)
