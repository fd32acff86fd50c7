"""A number, wherever it stands: a whole payload, a JSON number, or text."""

import math
import re

from stepahead.contract.reasons import Reason

__all__ = ["read_number", "read_value", "split_unit"]

WITH_UNIT = re.compile(
    r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([^\W\d_]|[^\w\s.,;:+\-\"'])(.{0,15})\Z", re.ASCII
)
"""A number, and a unit of at most 16 characters, which begins with no digit and no punctuation of numbers."""
SWITCH = {"on": 1.0, "off": 0.0, "true": 1.0, "false": 0.0}
NOT_FINITE = frozenset({"nan", "inf", "infinity"})


def split_unit(text: str) -> tuple[str, str | None]:
    """Part text into a number and the unit behind it; the unit is None where none stands.

    Example:
        >>> split_unit("21.5 °C"), split_unit("1e3Pa"), split_unit("-7"), split_unit("v1.2")
        (('21.5', '°C'), ('1e3', 'Pa'), ('-7', None), ('v1.2', None))
    """
    found = WITH_UNIT.match(text.strip())
    return (found[1], (found[2] + found[3]).strip()) if found else (text, None)


def read_number(text: str, booleans: bool = False) -> float | Reason:
    """Read text as one finite float64.

    Args:
        text: what the sensor wrote; space around it is ignored.
        booleans: whether ON, OFF, true and false, in any case, are 1 and 0.

    Returns:
        The number, or why there is none.

    Example:
        >>> read_number(" 21.5 "), read_number("ON", booleans=True)
        (21.5, 1.0)
        >>> read_number("1e999"), read_number("-Infinity"), read_number("warm"), read_number("")
        (<Reason.VALUE_TOO_LARGE: 'value_too_large'>, <Reason.VALUE_NOT_FINITE: 'value_not_finite'>, \
<Reason.VALUE_NOT_NUMBER: 'value_not_number'>, <Reason.VALUE_MISSING: 'value_missing'>)
    """
    text = text.strip()
    if not text:
        return Reason.VALUE_MISSING
    try:
        # Python would also take 1_000 and digits of other scripts.
        value = float(text) if "_" not in text and text.isascii() else None
    except ValueError:
        value = None
    if value is not None and math.isfinite(value):
        return value
    lowered = text.lower()
    if value is None:
        if booleans and lowered in SWITCH:
            return SWITCH[lowered]
        return Reason.VALUE_NOT_NUMBER
    return Reason.VALUE_NOT_FINITE if lowered.lstrip("+-") in NOT_FINITE else Reason.VALUE_TOO_LARGE


def read_value(raw: object, booleans: bool = False) -> float | Reason:
    """Read a decoded JSON value as one finite float64; text that holds a number is one.

    Args:
        raw: what the JSON decoder made: number, text, true, false, null, object or array.
        booleans: as in `read_number`.

    Example:
        >>> read_value(3), read_value("21.5"), read_value(True), read_value(None)
        (3.0, 21.5, <Reason.VALUE_NOT_NUMBER: 'value_not_number'>, <Reason.VALUE_MISSING: 'value_missing'>)
    """
    if isinstance(raw, bool):
        return float(raw) if booleans else Reason.VALUE_NOT_NUMBER
    if isinstance(raw, float):
        if math.isfinite(raw):
            return raw
        return Reason.VALUE_NOT_FINITE if math.isnan(raw) else Reason.VALUE_TOO_LARGE
    if isinstance(raw, int):
        try:
            return float(raw)
        except OverflowError:
            return Reason.VALUE_TOO_LARGE
    if isinstance(raw, str):
        return read_number(raw, booleans)
    return Reason.VALUE_MISSING if raw is None else Reason.VALUE_NOT_NUMBER
