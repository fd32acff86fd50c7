"""A parcel: one message between two processes in memory that both see; a JSON head and raw arrays, no pickle.

The memory has no name in the file system, only descriptors: it is gone with the last of them, however the processes
end. On Linux it is sealed once it is packed: nothing can be changed or cut off under whoever reads it.

Bytes: length of the head (uint32, little-endian), the head as JSON, then the arrays one after another in C order. The
head holds plain values and, under `arrays`, name, dtype and shape of each.
"""

import fcntl
import json
import math
import os
import struct
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Parts", "pack", "unpack"]

Parts: TypeAlias = tuple[dict[str, Any], dict[str, NDArray[Any]]]

LENGTH = struct.Struct("<I")
MOST_BUFFERS = 1000
"""Linux takes 1,024 at a time."""


def unnamed_file() -> int:
    """A descriptor of an empty file that is in no directory: memory, as long as the system has enough of it."""
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def sealable_memory() -> int:
    """A descriptor of memory that behaves like an empty file (Linux)."""
    return os.memfd_create("stepahead", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


MEMORY = sealable_memory if hasattr(os, "memfd_create") else unnamed_file


def pack(
    head: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    most_bytes: int,
    memory: Callable[[], int] = MEMORY,
) -> int:
    """Write a message into new memory; each array is copied once, by the kernel.

    Args:
        head: plain values.
        arrays: by name.
        most_bytes: a larger message is refused.
        memory: makes an empty piece of it.

    Returns:
        A descriptor of the memory, the caller's to close.

    Raises:
        ValueError: the message is too large.
        OSError: there is no memory for it.

    Example:
        >>> descriptor = pack({"number": 3}, {"loss": np.array([0.5])}, most_bytes=1000)
        >>> unpack(descriptor, most_bytes=1000)
        ({'number': 3}, {'loss': array([0.5])})
        >>> os.close(descriptor)
    """
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    described = [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()]
    text = json.dumps({**head, "arrays": described}).encode()
    buffers: list[bytes | memoryview] = [LENGTH.pack(len(text)) + text, *(bytes_of(array) for array in arrays.values())]
    size = sum(map(len, buffers))
    if size > most_bytes:
        raise ValueError(f"a message of {size} bytes, more than {most_bytes}")
    descriptor = memory()
    try:
        while buffers:
            written = os.writev(descriptor, buffers[:MOST_BUFFERS])
            buffers = rest(buffers, written)
        if memory is sealable_memory:
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def unpack(descriptor: int, most_bytes: int) -> Parts:
    """Read a message; its arrays are copies.

    Raises:
        ValueError: it is no message of this kind, or larger than `most_bytes`.
    """
    size = os.fstat(descriptor).st_size
    if not LENGTH.size <= size <= most_bytes:
        raise ValueError(f"a message of {size} bytes, more than {most_bytes} or too few")
    os.lseek(descriptor, 0, os.SEEK_SET)
    start = LENGTH.size + LENGTH.unpack(os.read(descriptor, LENGTH.size))[0]
    try:
        head = json.loads(os.read(descriptor, min(start, size) - LENGTH.size))
        arrays = {name: blank(dtype, shape, size) for name, dtype, shape in head.pop("arrays")}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"a message whose head makes no sense: {error}") from error
    if start + sum(array.nbytes for array in arrays.values()) != size:
        raise ValueError(f"a message of {size} bytes, not the size of what it says it holds")
    buffers = [bytes_of(array) for array in arrays.values()]
    while any(map(len, buffers)):
        buffers = rest(buffers, os.readv(descriptor, buffers[:MOST_BUFFERS]))
    return head, arrays


def blank(dtype: str, shape: Sequence[int], most_bytes: int) -> NDArray[Any]:
    """An array to read into, of numbers only."""
    kind = np.dtype(dtype)
    if kind.kind not in "biuf" or min(shape, default=0) < 0 or math.prod(shape) * kind.itemsize > most_bytes:
        raise ValueError(f"an array of {dtype}{list(shape)}")
    return np.empty(shape, kind)


def bytes_of(array: NDArray[Any]) -> memoryview:
    """The bytes of an array in C order, not copied."""
    return array.reshape(-1).view(np.uint8).data if array.size else memoryview(bytearray())


def rest(buffers: list[Any], written: int) -> list[Any]:
    """What is left of buffers of which so many bytes have been written.

    Example:
        >>> rest([b"abc", b"", b"defg"], 4)
        [b'efg']
    """
    for number, buffer in enumerate(buffers):
        if written < len(buffer):
            return [buffer[written:], *buffers[number + 1 :]]
        written -= len(buffer)
    return []
