"""Plain values: what JSON holds exactly, with no number that is not finite and no key that is not a string.

The standard library's encoder is used because it keeps integers of any size (a PCG64 generator's state has 128
bits; the fast encoders stop at 64) and the shortest text that gives the same float64 back.
"""

import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn

from stepahead.contract.errors import StateError

__all__ = ["check_plain", "dump_plain", "load_plain", "plain_chunks"]

MAX_DEPTH = 64
CHUNK = 4096
"""Elements encoded in one go: about a millisecond in which no other thread runs."""

_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=True, separators=(",", ":")).encode


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode


def check_plain(value: Any, where: str, depth: int = 0) -> None:
    """Refuse what would not come back from JSON as the very same value.

    Args:
        value: `None`, bool, int, finite float, str, or a list or dict (keys str) of such; exact types, no subclasses.
        where: what the error calls it.
        depth: how deep `value` lies already.

    Raises:
        TypeError: another type, or nested deeper than 64.
        ValueError: a float that is not finite.

    Example:
        >>> check_plain({"a": [1, 2.5, None]}, "meta")
        >>> check_plain((1, 2), "meta")
        Traceback (most recent call last):
        TypeError: meta: tuple is not plain; use None, bool, int, float, str, list or dict
    """
    kind = type(value)
    if kind is str or kind is int or value is None or kind is bool:
        return
    if kind is float:
        if not math.isfinite(value):
            raise ValueError(f"{where}: {value} is not finite; hold it in an array")
        return
    if depth >= MAX_DEPTH:
        raise TypeError(f"{where}: nested deeper than {MAX_DEPTH}")
    if kind is list:
        for item in value:
            check_plain(item, where, depth + 1)
    elif kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise TypeError(f"{where}: key {key!r} is not a string")
            check_plain(item, where, depth + 1)
    else:
        raise TypeError(f"{where}: {kind.__name__} is not plain; use None, bool, int, float, str, list or dict")


def dump_plain(value: Any) -> bytes:
    """JSON of a value that `check_plain` lets through.

    Example:
        >>> dump_plain({"a": 0.1, "b": 2**100})
        b'{"a":0.1,"b":1267650600228229401496703205376}'
    """
    return _encode(value).encode("ascii")


def plain_chunks(value: Any) -> Iterator[bytes]:
    """The bytes of `dump_plain(value)` in pieces, so that a table of a million keys does not stop other threads.

    Example:
        >>> b"".join(plain_chunks({"a": [1, 2], "b": None}))
        b'{"a":[1,2],"b":null}'
    """
    if type(value) is dict and value:
        opening = b"{"
        for key, item in value.items():
            yield opening + dump_plain(key) + b":"
            yield from plain_chunks(item)
            opening = b","
        yield b"}"
    elif type(value) is list and len(value) > CHUNK:
        opening = b"["
        for start in range(0, len(value), CHUNK):
            yield opening + dump_plain(value[start : start + CHUNK])[1:-1]
            opening = b","
        yield b"]"
    else:
        yield dump_plain(value)


def load_plain(data: bytes, where: str) -> Any:
    """The value whose JSON this is.

    Raises:
        StateError: it is not JSON; `where` says of what.
    """
    try:
        return _decode(data.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise StateError(f"{where}: not readable: {error}") from error
