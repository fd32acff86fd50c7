"""The state lock: one process per state directory."""

import fcntl
import os
from pathlib import Path
from types import TracebackType

from stepahead.contract.errors import StateError
from stepahead.storage.filesystem import FILE_MODE, OsFilesystem

__all__ = ["StateLock"]


class StateLock:
    """Holds a state directory for this process, until `release` or the process ends, however it ends.

    `flock(2)`: the kernel lets go when the process dies, so no stale lock has to be guessed at.

    Args:
        directory: the state directory; made if need be, mode 0700.

    Raises:
        StateError: another process holds it, or it cannot be made.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory, StateLock(Path(directory)) as lock:
        ...     lock.path.name
        'lock'
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "lock"
        try:
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
