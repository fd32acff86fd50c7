"""A channel between two processes of a cluster: frames over TCP, read and written without waiting.

Why not Ray: its object store copies and its calls cost some hundred microseconds each, and neither keeps an order that
could be acknowledged. Why not the broker: a message would pass through it twice. Frames are MessagePack, read into
declared types; nothing that could run is ever sent.
"""

import select
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepahead.service.parcel import Parts

__all__ = ["MOST_WAITING_BYTES", "Channel", "loaded", "unloaded"]

HEAD: Final = struct.Struct(">I")
LONGEST_FRAME: Final = 2**28
READ_BYTES: Final = 2**18
MOST_WAITING_BYTES: Final = 4 * 2**20
"""More is not put into a channel whose other end does not read."""

encode = msgspec.msgpack.Encoder().encode


class Channel:
    """One connection.

    Args:
        sock: connected.

    Attributes:
        closed: in words why it ended; None while it stands.

    Example:
        >>> one, other = map(Channel, socket.socketpair())
        >>> one.send([1, b"two"])
        >>> [msgspec.msgpack.decode(frame) for frame in other.frames()]
        [[1, b'two']]
        >>> one.close(), list(other.frames()), other.closed
        (None, [], 'the other end has closed')
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.socket = sock
        self.closed: str | None = None
        self._in = bytearray()
        self._out = bytearray()

    @property
    def waiting_bytes(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return len(self._out)

    def send(self, content: Any) -> None:
        """Put one frame in; never waits."""
        body = encode(content)
        self._out += HEAD.pack(len(body))
        self._out += body
        self.write()

    def write(self) -> None:
        """Give the kernel what it takes at once."""
        while self._out and self.closed is None:
            try:
                sent = self.socket.send(self._out)
            except BlockingIOError:
                return
            except OSError as error:
                self.close(str(error))
                return
            del self._out[:sent]

    def flush(self, timeout_s: float) -> bool:
        """Write until nothing waits; whether that was reached in time."""
        until_s = time.monotonic() + timeout_s
        self.write()
        while self._out and self.closed is None:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return False
            select.select([], [self.socket], [], left_s)
            self.write()
        return self.closed is None

    def frames(self) -> Iterator[bytes]:
        """Every whole frame that has come; never waits."""
        self._read()
        start, buffer = 0, self._in
        while len(buffer) - start >= HEAD.size:
            (size,) = HEAD.unpack_from(buffer, start)
            if size > LONGEST_FRAME:
                self.close(f"a frame of {size} bytes")
                break
            end = start + HEAD.size + size
            if end > len(buffer):
                break
            yield bytes(memoryview(buffer)[start + HEAD.size : end])
            start = end
        del buffer[:start]

    def _read(self) -> None:
        while self.closed is None:
            try:
                data = self.socket.recv(READ_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                self.close(str(error))
                return
            if not data:
                self.close("the other end has closed")
                return
            self._in += data
            if len(data) < READ_BYTES:
                return

    def close(self, why: str = "closed") -> None:
        """End it; twice is fine."""
        if self.closed is None:
            self.closed = why
            self.socket.close()


def loaded(parts: Parts) -> dict[str, Any]:
    """A head of plain values and arrays, as what a frame holds.

    Example:
        >>> head, arrays = unloaded(loaded(({"shard": 7}, {"loss": np.array([0.5])})))
        >>> head, arrays["loss"].tolist()
        ({'shard': 7}, [0.5])
    """
    head, arrays = parts
    told = [[name, array.dtype.str, list(array.shape), array.tobytes()] for name, array in arrays.items()]
    return {"head": head, "arrays": told}


def unloaded(content: Any) -> Parts:
    """What `loaded` was given; arrays are not to be written to.

    Raises:
        ValueError: it is nothing of this kind.
    """
    try:
        arrays = {name: array_of(dtype, shape, data) for name, dtype, shape, data in content["arrays"]}
        return dict(content["head"]), arrays
    except (KeyError, TypeError) as error:
        raise ValueError(f"a frame that makes no sense: {error!r}") from error


def array_of(dtype: str, shape: list[int], data: bytes) -> NDArray[Any]:
    """An array of numbers, and of nothing else."""
    kind = np.dtype(dtype)
    if kind.kind not in "biuf":
        raise ValueError(f"an array of {dtype}")
    return np.frombuffer(data, kind).reshape(shape)
