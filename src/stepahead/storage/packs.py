"""Packs: rows of bytes that are written together once, read one by one, and removed together.

A file begins with a magic number, the bytes of a row, the number of rows, and a CRC-32 of the rows; the rows follow. It
is written under its own name, for nobody knows of it before it and its name have been synced.
"""

import contextlib
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.errors import StateError
from stepahead.storage.filesystem import Filesystem, OsFilesystem

__all__ = ["PackStore"]

HEAD = struct.Struct("<8sIII")
MAGIC = b"stpack\0\1"
_PREFIX = "pack-"


class PackStore:
    """The packs of one directory.

    Args:
        directory: where they lie; made with the first pack.
        filesystem: the door to the disk.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     store = PackStore(Path(directory) / "silent")
        ...     number = store.write(np.arange(12, dtype=np.uint8).reshape(3, 4))
        ...     number, store.numbers(), store.read(number, [2, 0], size=4).tolist()
        (1, [1], [[8, 9, 10, 11], [0, 1, 2, 3]])
    """

    def __init__(self, directory: Path, filesystem: Filesystem | None = None) -> None:
        self._directory = directory
        self._filesystem = filesystem or OsFilesystem()
        self._newest = max(self.numbers(), default=0)

    def numbers(self) -> list[int]:
        """Numbers of the packs that are there, whole or not, rising.

        Raises:
            StateError: the directory cannot be listed.
        """
        try:
            names = self._filesystem.list(self._directory)
        except OSError as error:
            raise StateError(f"packs in {self._directory} cannot be listed: {error}") from error
        numbers = [name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX)]
        return sorted(int(number) for number in numbers if number.isdecimal())

    def path(self, number: int) -> Path:
        """File of a pack."""
        return self._directory / f"{_PREFIX}{number:08d}"

    def write(self, rows: NDArray[np.uint8]) -> int:
        """Write a pack of rows uint8[n, size] and return its number when it is on the disk.

        Raises:
            StateError: the disk refuses; nothing of it is left, or a file that nobody needs.
        """
        number = self._newest = self._newest + 1
        data = rows.tobytes()
        try:
            self._filesystem.make_directory(self._directory)
            file = self._filesystem.create(self.path(number))
            try:
                file.write(HEAD.pack(MAGIC, rows.shape[1], len(rows), zlib.crc32(data)))
                file.write(data)
                file.sync()
            finally:
                file.close()
            self._filesystem.sync_directory(self._directory)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._filesystem.remove(self.path(number))  # a disk that is full needs the room
            raise StateError(f"pack {number} in {self._directory} cannot be written: {error}") from error
        return number

    def read(self, number: int, rows: Sequence[int], size: int) -> NDArray[np.uint8]:
        """Some rows of a pack, uint8[len(rows), size]; their own checksums are the caller's.

        Raises:
            StateError: it cannot be read, or holds no such rows.
        """
        try:
            with self._filesystem.open(self.path(number)) as file:
                magic, row_bytes, count, _ = HEAD.unpack(file.read(HEAD.size))
                if magic != MAGIC or row_bytes != size or max(rows, default=0) >= count:
                    raise StateError(f"pack {number} in {self._directory} does not hold the rows that it should")
                parts = []
                for row in rows:
                    file.seek(HEAD.size + row * size)
                    parts.append(file.read(size))
        except (OSError, struct.error) as error:
            raise StateError(f"pack {number} in {self._directory} cannot be read: {error}") from error
        data = b"".join(parts)
        if len(data) != len(rows) * size:
            raise StateError(f"pack {number} in {self._directory} is cut off")
        return np.frombuffer(data, np.uint8).reshape(len(rows), size)

    def check(self, number: int) -> int:
        """Bytes of a pack that is whole.

        Raises:
            StateError: it is damaged or cannot be read.
        """
        try:
            with self._filesystem.open(self.path(number)) as file:
                data = file.read()
        except OSError as error:
            raise StateError(f"pack {number} in {self._directory} cannot be read: {error}") from error
        if len(data) >= HEAD.size:
            magic, row_bytes, count, checksum = HEAD.unpack_from(data)
            body = memoryview(data)[HEAD.size :]
            if magic == MAGIC and len(body) == row_bytes * count and zlib.crc32(body) == checksum:
                return len(data)
        raise StateError(f"pack {number} in {self._directory} does not match its checksum")

    def remove(self, number: int) -> None:
        """Remove a pack.

        Raises:
            StateError: the disk refuses.
        """
        try:
            self._filesystem.remove(self.path(number))
        except FileNotFoundError:
            return
        except OSError as error:
            raise StateError(f"pack {number} in {self._directory} cannot be removed: {error}") from error
