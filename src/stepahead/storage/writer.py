"""The snapshot writer: writes a snapshot beside the stream, one at a time.

A thread, not a fork: a forked child would share torch's and the client's locks. Writing and hashing release the
interpreter's lock, so the stream goes on meanwhile.
"""

import threading
from collections.abc import Mapping
from typing import Any

from stepahead.contract.errors import StateError
from stepahead.storage.snapshot import SnapshotStore, WrittenSnapshot

__all__ = ["SnapshotWriter"]


class SnapshotWriter:
    """Writes snapshots of a `SnapshotStore` in the background.

    Args:
        store: where to.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     writer = SnapshotWriter(SnapshotStore(Path(directory)))
        ...     started = writer.start({"count": 7}, position=3)
        ...     written = writer.wait()
        >>> started, written.generation, written.position
        (True, 1, 3)
    """

    def __init__(self, store: SnapshotStore) -> None:
        self._store = store
        self._thread: threading.Thread | None = None
        self._outcome: WrittenSnapshot | Exception | None = None

    @property
    def busy(self) -> bool:
        """Whether one is under way or its outcome was not fetched yet."""
        return self._thread is not None

    def start(self, state: Mapping[str, Any], position: int, meta: Mapping[str, Any] | None = None) -> bool:
        """Begin to write a snapshot.

        Args:
            state: handed over: nobody may change it any more (see `copy_state`; a bank's `state_dict` is a copy).
            position: first journal record that is not in it; durable already.
            meta: plain values to stand in the manifest.

        Returns:
            False, with nothing done, while `busy`.
        """
        if self._thread is not None:
            return False
        self._outcome = None
        # Not a daemon: a process that ends in order finishes what it writes.
        self._thread = threading.Thread(target=self._write, args=(state, position, meta), name="snapshot")
        self._thread.start()
        return True

    def _write(self, state: Mapping[str, Any], position: int, meta: Mapping[str, Any] | None) -> None:
        try:
            self._outcome = self._store.write(state, position, meta)
        except Exception as error:  # carried over to the thread that polls, and raised there
            self._outcome = error

    def poll(self) -> WrittenSnapshot | None:
        """What was written since the last call; `None` while nothing is finished.

        Raises:
            StateError: the disk refused; older generations are untouched and `start` may be called again.
        """
        if self._thread is None or self._thread.is_alive():
            return None
        return self.wait()

    def wait(self) -> WrittenSnapshot | None:
        """As `poll`, after waiting for the one under way; `None` when there is none."""
        if self._thread is None:
            return None
        self._thread.join()
        self._thread = None
        outcome, self._outcome = self._outcome, None
        if isinstance(outcome, StateError):
            raise StateError(str(outcome)) from outcome
        if isinstance(outcome, Exception):
            raise outcome
        return outcome
