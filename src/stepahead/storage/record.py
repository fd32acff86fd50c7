"""A record: one entry of the journal, a batch of columns or an event, and its bytes.

Bytes: length of the head (uint32, little-endian), the head as JSON `[kind, meta, [[name, dtype, shape], …]]`, then
the arrays one after another, little-endian, in C order. Nothing but numbers and JSON: no pickle is written or read.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.errors import StateError
from stepahead.storage.plain import check_plain, dump_plain, load_plain

__all__ = ["DTYPES", "MAX_BODY_BYTES", "Record", "as_stored", "decode_record", "encode_record", "raw"]

_LITTLE = {
    np.dtype(order + name): np.dtype("<" + name)
    for name in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
    for order in "<>"
}
DTYPES = {dtype.str: dtype for dtype in _LITTLE.values()}
"""dtypes that are stored, by `dtype.str` with its explicit byte order; everything else is refused."""

MAX_BODY_BYTES = 2**30
MAX_DIMENSIONS = 32

_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One entry of the journal.

    Attributes:
        kind: what it is: "batch", "series", "weights", "begin", …; the journal gives it no meaning.
        meta: plain values (see `check_plain`), small.
        arrays: columns by name.

    Example:
        >>> record = Record("batch", {"messages": 1}, {"value": np.array([20.5])})
        >>> back = decode_record(encode_record(record), "here")
        >>> back.kind, back.meta, back.arrays["value"].tolist()
        ('batch', {'messages': 1}, [20.5])
    """

    kind: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def as_stored(array: NDArray[Any], where: str) -> NDArray[Any]:
    """The array in C order and little-endian; the array itself where it is so already.

    Raises:
        TypeError: its dtype is not among `DTYPES`.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{where}: {type(array).__name__} is not a numpy array")
    dtype = _LITTLE.get(array.dtype)
    if dtype is None:
        raise TypeError(f"{where}: dtype {array.dtype} is not stored; use one of {', '.join(sorted(DTYPES))}")
    return np.asarray(array, dtype=dtype, order="C")


def raw(array: NDArray[Any]) -> memoryview:
    """The bytes of an array in C order, not copied."""
    return array.reshape(-1).view(np.uint8).data


def encode_record(record: Record) -> bytes:
    """The bytes of a record.

    Raises:
        TypeError, ValueError: something in it is not storable; the text says what.
    """
    check_plain(record.kind, "kind")
    meta = dict(record.meta)
    check_plain(meta, f"meta of {record.kind!r}")
    heads, bodies = [], []
    for name, given in record.arrays.items():
        array = as_stored(given, f"array {name!r} of {record.kind!r}")
        heads.append([name, array.dtype.str, list(array.shape)])
        bodies.append(array.data)
    head = dump_plain([record.kind, meta, heads])
    body = b"".join((_LENGTH.pack(len(head)), head, *bodies))
    if len(body) > MAX_BODY_BYTES:
        raise ValueError(f"record of {record.kind!r} has {len(body)} bytes, more than {MAX_BODY_BYTES}")
    return body


def decode_record(body: bytes | memoryview, where: str) -> Record:
    """The record whose bytes these are; its arrays are copies and can be written to.

    Raises:
        StateError: the bytes are not those of a record.
    """
    view = memoryview(body)
    if len(view) < _LENGTH.size:
        raise StateError(f"{where}: record without a head")
    start = _LENGTH.size + _LENGTH.unpack_from(view)[0]
    if start > len(view):
        raise StateError(f"{where}: head of the record is longer than the record")
    head = load_plain(bytes(view[_LENGTH.size : start]), where)
    match head:
        case [str(kind), dict(meta), list(entries)]:
            pass
        case _:
            raise StateError(f"{where}: head of the record is not [kind, meta, arrays]")
    arrays: dict[str, NDArray[Any]] = {}
    for entry in entries:
        match entry:
            case [str(name), str(dtype), list(shape)] if (
                dtype in DTYPES and len(shape) <= MAX_DIMENSIONS and all(type(n) is int and n >= 0 for n in shape)
            ):
                pass
            case _:
                raise StateError(f"{where}: array of the record is not [name, dtype, shape]: {entry!r}")
        end = start + math.prod(shape) * np.dtype(dtype).itemsize
        if end > len(view):
            raise StateError(f"{where}: array {name!r} is longer than the record")
        arrays[name] = np.frombuffer(view[start:end], dtype=dtype).reshape(shape).copy()
        start = end
    if start != len(view):
        raise StateError(f"{where}: {len(view) - start} bytes after the last array")
    return Record(kind, meta, arrays)
