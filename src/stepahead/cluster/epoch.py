"""Epochs: who may write and speak for a shard. The newest claim counts; every older owner is fenced off.

The rule of Gray and Cheriton's leases without their clocks (Kleppmann, *Designing Data-Intensive Applications*, 8.4,
fencing tokens): each ownership has a number, numbers only rise, and who writes must show the newest.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from stepahead.contract.errors import FencedError, StateError
from stepahead.storage.filesystem import FILE_MODE, Bytes, OsFilesystem, WritableFile

__all__ = ["Fence", "FencedFilesystem", "claim", "read_epoch"]

NAME, LOCK = "epoch", "epoch.lock"


class Fence:
    """Says whether an epoch of a shard is still the newest.

    Args:
        directory: of the shard.
        epoch: ours.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     old = claim(Path(directory), 1, "here")
        ...     new = claim(Path(directory), 2, "there")
        ...     new.check()
        ...     old.check()
        Traceback (most recent call last):
            ...
        stepahead.contract.errors.FencedError: epoch 1 is over, 2 has begun: ...
    """

    def __init__(self, directory: Path, epoch: int) -> None:
        self.directory = directory
        self.epoch = epoch
        self._path = str(directory / NAME)
        self._seen: tuple[int, ...] | None = None

    def check(self) -> None:
        """Do nothing, while we may go on.

        A claim puts a new file in the place of the old one: while it is the one that was read, so is what it says. To
        open it makes a network file system look anew; to read it each time took ten times as long, five times a batch.

        Raises:
            FencedError: we may not, or it cannot be known.
        """
        file = identity(self._path)
        if file is not None and file == self._seen:
            return
        try:
            newest, owner = read_epoch(self.directory)
        except StateError as error:
            raise FencedError(f"epoch {self.epoch}: {error}") from error
        if newest != self.epoch:
            raise FencedError(f"epoch {self.epoch} is over, {newest} has begun: {owner} has {self.directory} now")
        self._seen = file  # looked at before it was read: a newer one is another file


def identity(path: str) -> tuple[int, ...] | None:
    """What tells a file from another one of its name; None when it cannot be opened."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        told = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    return told.st_dev, told.st_ino, told.st_mtime_ns, told.st_ctime_ns, told.st_size


def claim(directory: Path, epoch: int, owner: str, mark: str = "journal") -> Fence:
    """Begin an epoch: from its return on no older owner writes or publishes.

    Args:
        directory: of the shard; made if need be.
        epoch: higher than every one before.
        owner: who claims, for people.
        mark: folder by which the directory is known as ours; made too.

    Raises:
        FencedError: this epoch or a newer one was claimed before.
        StateError: the disk refuses.
    """
    disk = OsFilesystem()
    try:
        disk.make_directory(directory / mark)
        with exclusive(directory / LOCK):
            newest, holder = read_epoch(directory)
            if newest >= epoch:
                raise FencedError(f"epoch {epoch} of {directory} cannot begin: {holder} has begun {newest}")
            temporary = directory / f".{NAME}.{os.getpid()}"
            temporary.unlink(missing_ok=True)
            file = disk.create(temporary)
            try:
                file.write(json.dumps({"epoch": epoch, "owner": owner}).encode())
                file.sync()
            finally:
                file.close()
            disk.rename(temporary, directory / NAME)
            disk.sync_directory(directory)
    except OSError as error:
        raise StateError(f"shard {directory} cannot be claimed: {error}") from error
    return Fence(directory, epoch)


def read_epoch(directory: Path) -> tuple[int, str]:
    """The newest epoch of a shard and who began it; 0 and nobody before the first.

    Raises:
        StateError: it cannot be read.
    """
    try:
        told = json.loads((directory / NAME).read_bytes())
        return int(told["epoch"]), str(told["owner"])
    except FileNotFoundError:
        return 0, "nobody"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateError(f"the epoch of {directory} cannot be read: {error}") from error


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """One claimant at a time."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class FencedFile:
    """A file that is written and synced only while the fence stands.

    It may be closed while another thread is about to write to it: the handle is given back when that is over, or its
    number could be another shard's file by then.
    """

    def __init__(self, file: WritableFile, fence: Fence) -> None:
        self._file = file
        self._fence = fence
        self._lock = Lock()
        self._users = 0
        self._closed = False

    def write(self, data: Bytes) -> None:
        """Append, if we may."""
        with self._used():
            self._fence.check()
            self._file.write(data)

    def sync(self) -> None:
        """Sync, and say so only if we still may: what became durable too late is superseded by the next owner."""
        with self._used():
            self._file.sync()
            self._fence.check()

    def truncate(self, size: int) -> None:
        """Cut, if we may."""
        with self._used():
            self._fence.check()
            self._file.truncate(size)

    def close(self) -> None:
        """Give the handle back, now or when nobody uses it any more; never waits."""
        with self._lock:
            self._closed = True
            if not self._users:
                self._file.close()

    @contextmanager
    def _used(self) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise FencedError(f"a file of {self._fence.directory} was let go of")
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._closed and not self._users:
                    self._file.close()


class FencedFilesystem(OsFilesystem):
    """The operating system's files, changed only while the fence stands.

    A write that passes the check and then waits, in a machine that hangs, may still come late. It comes into a segment
    of the journal that the next owner has left behind: records written after it at the same position count.

    Args:
        fence: of the shard.
    """

    def __init__(self, fence: Fence) -> None:
        self._fence = fence
        self._files: list[FencedFile] = []

    def create(self, path: Path) -> WritableFile:
        """A new file, if we may."""
        self._fence.check()
        return self._fenced(super().create(path))

    def append(self, path: Path) -> WritableFile:
        """An existing file, to be written at its end, if we may."""
        self._fence.check()
        return self._fenced(super().append(path))

    def open(self, path: Path) -> BinaryIO:
        """An existing file, to be read."""
        return super().open(path)

    def rename(self, source: Path, target: Path) -> None:
        """Rename, if we may."""
        self._fence.check()
        super().rename(source, target)

    def remove(self, path: Path) -> None:
        """Remove a file, if we may."""
        self._fence.check()
        super().remove(path)

    def remove_directory(self, path: Path) -> None:
        """Remove a directory, if we may."""
        self._fence.check()
        super().remove_directory(path)

    def abandon(self) -> None:
        """Give back the handles of files that nobody closed, when the fence has fallen."""
        for file in self._files:
            file.close()
        self._files.clear()

    def _fenced(self, file: WritableFile) -> WritableFile:
        fenced = FencedFile(file, self._fence)
        self._files = [*self._files[-8:], fenced]  # journal segment, snapshot: few are open at a time
        return fenced
