"""The safetensors file format, streamed: arrays go from memory to disk and back without a second copy in between.

Source: the format's description in the safetensors README: length of the header (uint64, little-endian), the header
as JSON `{name: {"dtype", "shape", "data_offsets"}}`, the bytes of the arrays without holes. The library's own `save`
builds the whole file in memory and opens files past our `Filesystem`; the tests read each way with it.
"""

import hashlib
import math
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.errors import StateError
from stepahead.storage.filesystem import Bytes, WritableFile
from stepahead.storage.plain import dump_plain, load_plain
from stepahead.storage.record import MAX_DIMENSIONS, raw

__all__ = ["HashedReader", "HashedWriter", "read_tensors", "write_tensors"]

_NAMES = {
    "|b1": "BOOL",
    "|i1": "I8",
    "<i2": "I16",
    "<i4": "I32",
    "<i8": "I64",
    "|u1": "U8",
    "<u2": "U16",
    "<u4": "U32",
    "<u8": "U64",
    "<f2": "F16",
    "<f4": "F32",
    "<f8": "F64",
}
_DTYPES = {name: np.dtype(code) for code, name in _NAMES.items()}
_LENGTH = struct.Struct("<Q")
MAX_HEADER_BYTES = 100_000_000
PIECE_BYTES = 2**20
SMALL_BYTES = 2**16


class HashedWriter:
    """A file that is being written, with the SHA-256 of what went in.

    Large writes go in pieces of 1 MiB, small ones together: a state has hundreds of values of a few bytes each.
    Whoever is done calls `flush`.
    """

    def __init__(self, file: WritableFile) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._small = bytearray()
        self.size = 0

    def write(self, data: Bytes) -> None:
        """Append all of `data`."""
        view = memoryview(data)
        self.size += len(view)
        if len(view) < SMALL_BYTES:
            self._small += view
            self._hash.update(view)
            if len(self._small) >= SMALL_BYTES:
                self.flush()
            return
        self.flush()
        for start in range(0, len(view), PIECE_BYTES):
            piece = view[start : start + PIECE_BYTES]
            self._file.write(piece)
            self._hash.update(piece)

    def flush(self) -> None:
        """Hand everything on to the file."""
        if self._small:
            self._file.write(self._small)
            self._small = bytearray()

    @property
    def sha256(self) -> str:
        """Hexadecimal digest of everything written."""
        return self._hash.hexdigest()


class HashedReader:
    """A file that is being read, with the SHA-256 of what came out."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes; `StateError` where the file is shorter."""
        data = self._file.read(count)
        if len(data) != count:
            raise StateError("the file is shorter than it says")
        self._hash.update(data)
        return data

    def fill(self, view: memoryview) -> None:
        """Fill `view`, in pieces; `StateError` where the file is shorter."""
        for start in range(0, len(view), PIECE_BYTES):
            piece = view[start : start + PIECE_BYTES]
            piece[:] = self.read(len(piece))

    @property
    def sha256(self) -> str:
        """Hexadecimal digest of everything read."""
        return self._hash.hexdigest()


def write_tensors(file: HashedWriter, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays, as `record.as_stored` gives them, as one safetensors file."""
    # As the library does: widest dtype first, so that every array is aligned when the file is mapped.
    names = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    entries: dict[str, Any] = {}
    offset = 0
    for name in names:
        array = arrays[name]
        end = offset + array.nbytes
        entries[name] = {
            "dtype": _NAMES[array.dtype.str],
            "shape": list(array.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    header = dump_plain(entries)
    header += b" " * (-len(header) % 8)
    file.write(_LENGTH.pack(len(header)) + header)
    for name in names:
        file.write(raw(arrays[name]))
    file.flush()


def read_tensors(file: HashedReader, size: int, where: str) -> dict[str, NDArray[Any]]:
    """Read a safetensors file of `size` bytes; never takes more memory than the file is long.

    Raises:
        StateError: the file is not as the format asks; the checksum is the caller's to compare.
    """
    length = _LENGTH.unpack(file.read(_LENGTH.size))[0]
    if length > min(size - _LENGTH.size, MAX_HEADER_BYTES):
        raise StateError(f"{where}: header longer than the file")
    entries = load_plain(file.read(length).rstrip(b" "), where)
    if type(entries) is not dict:
        raise StateError(f"{where}: header is not an object")
    data_bytes = size - _LENGTH.size - length
    arrays: dict[str, NDArray[Any]] = {}
    offset = 0
    for name, entry in sorted(entries.items(), key=lambda item: _end(item[1])):
        match entry:
            case {"dtype": str(code), "shape": list(shape), "data_offsets": [int(start), int(end)]} if (
                code in _DTYPES
                and len(shape) <= MAX_DIMENSIONS
                and all(type(n) is int and n >= 0 for n in shape)
                and start == offset
                and end <= data_bytes
                and end - start == math.prod(shape) * _DTYPES[code].itemsize
            ):
                pass
            case _:
                raise StateError(f"{where}: entry of {name!r} is not as the format asks: {entry!r}")
        arrays[name] = np.empty(shape, dtype=_DTYPES[code])
        file.fill(raw(arrays[name]))
        offset = end
    if offset != data_bytes:
        raise StateError(f"{where}: {data_bytes - offset} bytes belong to no array")
    return arrays


def _end(entry: Any) -> tuple[int, int]:
    match entry:
        case {"data_offsets": [int(start), int(end)]}:
            return end, start
        case _:
            return -1, -1
