"""The state lock: one process per state directory."""

import fcntl
import os
from pathlib import Path
from types import TracebackType

from stepahead.contract.errors import StateError
from stepahead.storage.filesystem import FILE_MODE, OsFilesystem

__all__ = ["StateLock", "holder_of"]

OURS = frozenset({"lock", "journal", "snapshots"})


class StateLock:
    """Holds a state directory for this process, until `release` or the process ends, however it ends.

    `flock(2)`: the kernel lets go when the process dies, so no stale lock has to be guessed at.

    Args:
        directory: the state directory; made if need be, and closed to others (mode 0700).

    Raises:
        StateError: another process holds it, it cannot be made, or it is a directory of something else.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory, StateLock(Path(directory)) as lock:
        ...     lock.path.name
        'lock'
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "lock"
        try:
            refuse_foreign(directory)
            OsFilesystem().make_directory(directory)
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            raise StateError(f"state directory {directory} cannot be used: {error}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, f"{os.getpid()}\n".encode())
        except BlockingIOError as error:
            holder = os.read(self._descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            self.release()
            raise StateError(
                f"state directory {directory} is in use by process {holder}: "
                "stop it, or give this one another directory"
            ) from error
        except OSError as error:
            self.release()
            raise StateError(f"state directory {directory} cannot be locked: {error}") from error

    def release(self) -> None:
        """Let go; twice is fine."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> "StateLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def refuse_foreign(directory: Path) -> None:
    """Refuse a directory that others use: closing it to them (mode 0700) would break what is not ours, such as /tmp.

    Raises:
        StateError: something is in it and nothing of it is ours.
        OSError: it cannot be looked into.
    """
    try:
        names = {path.name for path in directory.iterdir()} - {"lost+found"}
    except FileNotFoundError:
        return
    if names and not OURS & names:
        raise StateError(
            f"{directory} is no state directory, and not empty: give durability.state_dir a directory of its own"
        )


def holder_of(directory: Path) -> str | None:
    """The process that holds a state directory, by what it wrote into the lock; None when nobody does.

    Looks without making or changing anything. For the moment of the look a starting service would be refused.

    Raises:
        StateError: the lock cannot be looked at.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     before = holder_of(Path(directory))
        ...     with StateLock(Path(directory)):
        ...         before, holder_of(Path(directory)) == str(os.getpid())
        (None, True)
    """
    try:
        descriptor = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"the lock of state directory {directory} cannot be read: {error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
    except OSError as error:
        raise StateError(f"the lock of state directory {directory} cannot be looked at: {error}") from error
    finally:
        os.close(descriptor)
