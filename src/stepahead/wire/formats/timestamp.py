"""Time as sensors write it, to UTC nanoseconds."""

import re
from datetime import UTC, datetime, tzinfo
from typing import Literal, TypeAlias

__all__ = ["DAY_NS", "EARLIEST_NS", "TimeUnit", "read_time"]

TimeUnit: TypeAlias = Literal["auto", "iso8601", "s", "ms", "us", "ns"]

EARLIEST_NS = 365 * 86_400 * 10**9
"""1971-01-01: an earlier time is a clock that was never set."""
DAY_NS = 86_400 * 10**9

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PER_UNIT = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
# Seconds reach 1e11 in the year 5138; milliseconds began to exceed it in 1973, and so on.
MAGNITUDES = ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3), (10**20, 1))
FRACTION = re.compile(r"(.*[:\d])[.,](\d+)(.*)\Z", re.DOTALL)
LONGEST = 64


def read_time(raw: object, unit: TimeUnit = "auto", zone: tzinfo = UTC) -> int | None:
    """Read a time of any usual form.

    Args:
        raw: a number, or text that holds a number or an ISO 8601 date and time.
        unit: unit of a number; "auto" decides by magnitude, right for times from 1973 on.
        zone: of text that names none; an hour that comes twice is its first, one that never comes is moved on.

    Returns:
        UTC nanoseconds since 1970; None when it is no time. Whether it is plausible is not asked here.
        Fractions of seconds and milliseconds are rounded to microseconds, which is what a float64 carries until 2106.

    Example:
        >>> read_time(1760000000), read_time(1760000000.25), read_time("1760000000250")
        (1760000000000000000, 1760000000250000000, 1760000000250000000)
        >>> read_time("2025-10-09T10:53:20.000000001+02:00")
        1760000000000000001
    """
    kind = type(raw)
    if kind is str:
        return _read_text(raw, unit, zone)  # type: ignore[arg-type]
    if kind is int:
        return _from_int(raw, unit)  # type: ignore[arg-type]
    if kind is float:
        return _from_float(raw, unit)  # type: ignore[arg-type]
    return None


def _per_unit(amount: float, unit: TimeUnit) -> int | None:
    if unit == "auto":
        size = abs(amount)
        for limit, per_unit in MAGNITUDES:
            if size < limit:
                return per_unit
        return None
    return PER_UNIT.get(unit)


def _from_int(amount: int, unit: TimeUnit) -> int | None:
    per_unit = _per_unit(amount, unit)
    return None if per_unit is None else amount * per_unit


def _from_float(amount: float, unit: TimeUnit) -> int | None:
    per_unit = _per_unit(amount, unit)
    if per_unit is None or amount - amount != 0.0:  # NaN or infinite
        return None
    if per_unit >= 10**6:
        return round(amount * (per_unit // 1000)) * 1000 if abs(amount) < 1e30 else None
    return round(amount * per_unit)


def _read_text(text: str, unit: TimeUnit, zone: tzinfo) -> int | None:
    text = text.strip()
    if len(text) > LONGEST:
        return None
    if text[4:5] != "-" and unit != "iso8601":
        if text.isdecimal() and text.isascii():
            return _from_int(int(text), unit)
        try:
            return _from_float(float(text), unit)
        except ValueError:
            pass  # it may be a date in ISO 8601's short form
    if unit not in ("auto", "iso8601"):
        return None
    nanoseconds = 0
    if ("." in text or "," in text) and (found := FRACTION.match(text)):
        # datetime holds microseconds; the digits below them are kept aside.
        whole, digits, offset = found.groups()
        nanoseconds = int(digits[:9].ljust(9, "0"))
        text = whole + offset
    try:
        moment = datetime.fromisoformat(text)
        since = (moment.replace(tzinfo=zone) if moment.tzinfo is None else moment) - EPOCH
    except (ValueError, OverflowError):
        return None
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000 + nanoseconds
