"""The one door to the disk: what journal and snapshots need of a file system, and the operating system's own.

Everything fails with `OSError`, as the operating system says it. Tests put a faulty or a crashing one in its place.
"""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias

__all__ = ["DIRECTORY_MODE", "FILE_MODE", "Bytes", "Filesystem", "OsFilesystem", "WritableFile"]

Bytes: TypeAlias = bytes | bytearray | memoryview

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600

_F_FULLFSYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)


class WritableFile(Protocol):
    """A file that is written at its end only."""

    def write(self, data: Bytes) -> None:
        """Append all of `data`, or raise; after an error any part of it may be there."""

    def sync(self) -> None:
        """Return when everything written is on the disk; after an error nothing written since is to be trusted."""

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes."""

    def close(self) -> None:
        """Give the handle back; closing twice is fine."""


class Filesystem(Protocol):
    """What journal and snapshots ask of a file system."""

    def create(self, path: Path) -> WritableFile:
        """A new file, for the owner only; an existing one is an error."""

    def append(self, path: Path) -> WritableFile:
        """An existing file, to be written at its end."""

    def open(self, path: Path) -> BinaryIO:
        """An existing file, to be read."""

    def size(self, path: Path) -> int:
        """Length of a file in bytes."""

    def list(self, directory: Path) -> list[str]:
        """Sorted names in a directory; none when it is not there."""

    def make_directory(self, path: Path) -> None:
        """Make a directory, and those above it, for the owner only and to last; fine when it is there."""

    def rename(self, source: Path, target: Path) -> None:
        """Give a file or directory another name, at once or not at all; lasting after `sync_directory`."""

    def remove(self, path: Path) -> None:
        """Remove a file."""

    def remove_directory(self, path: Path) -> None:
        """Remove an empty directory."""

    def sync_directory(self, path: Path) -> None:
        """Return when the names in this directory are on the disk."""

    def free_bytes(self, path: Path) -> int:
        """How much an ordinary user can still write to the disk that holds `path`."""


class OsFile:
    """A `WritableFile` on a file descriptor."""

    def __init__(self, path: Path, flags: int) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | flags, FILE_MODE)

    def write(self, data: Bytes) -> None:
        """Append all of `data`; a short write, as on a disk that fills up, is gone on with until it raises."""
        view = memoryview(data)
        while len(view):
            view = view[os.write(self._descriptor, view) :]

    def sync(self) -> None:
        """`fsync`; on macOS `F_FULLFSYNC`, without which the data may still be in the drive's own cache."""
        if _F_FULLFSYNC is not None:
            fcntl.fcntl(self._descriptor, _F_FULLFSYNC)
        else:
            os.fsync(self._descriptor)

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes."""
        os.ftruncate(self._descriptor, size)

    def close(self) -> None:
        """Give the descriptor back; an error of `close` says nothing that `sync` has not said."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)


class OsFilesystem:
    """The operating system's files.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     path = Path(directory) / "a"
        ...     file = OsFilesystem().create(path)
        ...     file.write(b"abc"); file.sync(); file.close()
        ...     OsFilesystem().size(path), OsFilesystem().list(Path(directory))
        (3, ['a'])
    """

    def create(self, path: Path) -> WritableFile:
        """A new file of mode 0600."""
        return OsFile(path, os.O_CREAT | os.O_EXCL)

    def append(self, path: Path) -> WritableFile:
        """An existing file, to be written at its end."""
        return OsFile(path, 0)

    def open(self, path: Path) -> BinaryIO:
        """An existing file, to be read."""
        return path.open("rb")

    def size(self, path: Path) -> int:
        """Length of a file in bytes."""
        return path.stat().st_size

    def list(self, directory: Path) -> list[str]:
        """Sorted names in a directory; none when it is not there."""
        try:
            return sorted(os.listdir(directory))
        except FileNotFoundError:
            return []

    def make_directory(self, path: Path) -> None:
        """Make a directory of mode 0700; one that is there already is closed to others as well."""
        if not path.parent.exists():
            self.make_directory(path.parent)
        path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        if path.stat().st_mode & 0o077:
            path.chmod(DIRECTORY_MODE)
        with contextlib.suppress(PermissionError):  # a directory above that we may pass through but not open
            self.sync_directory(path.parent)

    def rename(self, source: Path, target: Path) -> None:
        """`rename(2)`."""
        source.rename(target)

    def remove(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def remove_directory(self, path: Path) -> None:
        """Remove an empty directory."""
        path.rmdir()

    def sync_directory(self, path: Path) -> None:
        """`fsync` of the directory."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def free_bytes(self, path: Path) -> int:
        """`f_bavail` of `statvfs`, in bytes."""
        status = os.statvfs(path)
        return status.f_bavail * status.f_frsize
