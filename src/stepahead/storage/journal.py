"""The journal: an append-only log of batches and events that survives a power cut.

Why a file format of our own and not SQLite (WAL, synchronous=FULL, one blob row per batch), which holds the rate too:
`python tests/bench/journal.py`, 2026-11-22, two shared and busy x86-64 cores, ext4, medians of 3, write + fsync 4 ms:

| readings a batch, commit | journal: readings/s, p99, bytes written/reading | SQLite: the same |
|---|---|---|
| 1, every 20 ms | 35,900, 31 ms, 150 | 27,700, 39 ms, 285 |
| 100, every 20 ms | 2,741,000, 26 ms, 22 | 1,072,000, 67 ms, 84 |
| 1, each | 269, 8 ms, 150 | 256, 9 ms, 4,635 |
| 100, each | 26,100, 8 ms, 21 | 20,800, 12 ms, 166 |
| 8,192, each | 1,886,000, 12 ms, 20 | 1,365,000, 33 ms, 42 |

A commit every 20 ms therefore holds tens of thousands of single-reading messages a second. SQLite writes every page
twice, into its log and at a checkpoint, which wears a small box's flash and makes a batch wait. What decides: the
standard library gives no way to put a failing disk under SQLite, so the promises below could not be tested at every
call; and one flipped bit in a page of its tree can hide rows, where here it costs one record, by name.
"""

import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stepahead.contract.errors import StateError
from stepahead.storage.filesystem import Filesystem, OsFilesystem
from stepahead.storage.index import Run, index_journal, read_records, settle_journal
from stepahead.storage.record import Record, encode_record
from stepahead.storage.segment import HEADER_BYTES, SegmentWriter, pack_header, segment_name, segment_number

__all__ = ["Journal", "Recovery"]


@dataclass(frozen=True, slots=True)
class Recovery:
    """What opening found: bytes cut off because their writing was never finished, and damaged places in words."""

    torn_bytes: int
    damages: tuple[str, ...]


@dataclass(slots=True)
class _Pending:
    body: bytes
    crc: int
    appended_s: float


class Journal:
    """Records in order, each with a position; what `commit` has returned for is on the disk.

    `append` and `commit` may be called from two threads. After an error the journal stays usable: what was appended
    waits in memory, and `commit` may be tried again at any time.

    Args:
        directory: where the segments lie; made if need be, mode 0700. One process at a time: see `StateLock`.
        at_least: positions start no lower than this: the position of the snapshot that was loaded.
        segment_bytes: a segment that is as large as this is followed by a new one.
        commit_interval_s: how long an appended record may wait for `commit_due`.
        commit_bytes: so much need not wait for `commit_interval_s`.
        max_pending_bytes: so much may wait in memory while the disk refuses; then `append` refuses too.
        filesystem: the door to the disk.
        clock: seconds, never running back.

    Raises:
        StateError: the directory cannot be read or written, or was written by another version.

    Example:
        >>> import tempfile, numpy as np
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     journal = Journal(Path(directory))
        ...     position = journal.append(Record("batch", {}, {"value": np.array([20.5, 21.0])}))
        ...     durable = journal.commit()
        ...     values = [record.arrays["value"].tolist() for _, record in journal.read(0)]
        ...     journal.close()
        >>> position, durable, values
        (0, 1, [[20.5, 21.0]])
    """

    def __init__(
        self,
        directory: Path,
        *,
        at_least: int = 0,
        segment_bytes: int = 64 * 2**20,
        commit_interval_s: float = 0.02,
        commit_bytes: int = 2**20,
        max_pending_bytes: int = 256 * 2**20,
        filesystem: Filesystem | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._interval_s = commit_interval_s
        self._commit_bytes = commit_bytes
        self._max_pending_bytes = max_pending_bytes
        self._filesystem = filesystem or OsFilesystem()
        self._clock = clock
        self._appending = threading.Lock()
        self._committing = threading.Lock()
        self._pending: list[_Pending] = []
        self._pending_bytes = 0
        self._segment: SegmentWriter | None = None
        self.failures = 0
        try:
            self._open()
        except OSError as error:
            raise StateError(f"journal {directory} cannot be opened: {error}") from error
        self._durable = max(self._index.next_position, at_least)

    def _open(self) -> None:
        self._filesystem.make_directory(self._directory)
        self._index = index_journal(self._directory, self._filesystem)
        self.recovery = Recovery(self._index.torn_bytes, tuple(map(str, self._index.damages)))
        self._sequence = 1 + max((segment_number(path) for path in self._index.sizes), default=0)
        settle_journal(self._index, self._directory, self._filesystem)

    @property
    def first_position(self) -> int:
        """Position of the oldest record that is still there; `durable_position` when there is none."""
        return self._index.first_position if self._index.runs else self._durable

    @property
    def durable_position(self) -> int:
        """Every record before this position is on the disk."""
        return self._durable

    @property
    def next_position(self) -> int:
        """Position that the next appended record gets."""
        with self._appending:
            return self._durable + len(self._pending)

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait in memory for a commit."""
        return self._pending_bytes

    @property
    def bytes_on_disk(self) -> int:
        """Bytes of all segments."""
        active = self._segment.size if self._segment else 0
        return sum(self._index.sizes.values()) + active

    def append(self, record: Record) -> int:
        """Take a record in, to be written by the next commit.

        Returns:
            Its position.

        Raises:
            StateError: `max_pending_bytes` wait already: the disk has refused for long.
            TypeError, ValueError: the record holds something that is not stored.
        """
        body = encode_record(record)
        pending = _Pending(body, zlib.crc32(body), self._clock())
        size = len(body) + HEADER_BYTES
        with self._appending:
            if self._pending and self._pending_bytes + size > self._max_pending_bytes:
                raise StateError(
                    f"journal {self._directory}: {self._pending_bytes} bytes wait to be written, no more are taken"
                )
            self._pending.append(pending)
            self._pending_bytes += size
            return self._durable + len(self._pending) - 1

    def due_in_s(self) -> float | None:
        """Seconds until a commit is due (0 when it is), `None` when nothing waits."""
        with self._appending:
            if not self._pending:
                return None
            if self._pending_bytes >= self._commit_bytes:
                return 0.0
            return max(0.0, self._pending[0].appended_s + self._interval_s - self._clock())

    def commit_due(self) -> int:
        """`commit` if the oldest record has waited for `commit_interval_s`, or `commit_bytes` wait."""
        return self.commit() if self.due_in_s() == 0 else self._durable

    def commit(self) -> int:
        """One write and one fsync for all that was appended before the call.

        Returns:
            `durable_position`: all records before it are on the disk.

        Raises:
            StateError: nothing more became durable; what waited still waits, and a later commit tries again.
        """
        with self._committing:
            with self._appending:
                group = list(self._pending)
            if not group:
                return self._durable
            first = self._durable
            parts: list[bytes] = []
            for position, pending in enumerate(group, first):
                parts += (pack_header(position, first, len(pending.body), pending.crc), pending.body)
            data = b"".join(parts)
            try:
                self._write(data, first, len(group))
            except OSError as error:
                self.failures += 1
                raise StateError(f"journal {self._directory}: nothing was made durable: {error}") from error
            with self._appending:
                del self._pending[: len(group)]
                self._pending_bytes -= len(data)
                self._durable += len(group)
            return self._durable

    def _write(self, data: bytes, first: int, count: int) -> None:
        if self._segment and (not self._segment.usable or self._segment.size >= self._segment_bytes):
            self._leave_segment()
        if self._segment is None:
            sequence, self._sequence = self._sequence, self._sequence + 1
            self._segment = SegmentWriter(self._directory / segment_name(sequence), self._filesystem)
        start = self._segment.size
        self._segment.write(data)
        runs = self._index.runs
        if start and runs and runs[-1].path == self._segment.path:
            runs[-1].end, runs[-1].stop, runs[-1].durable = self._segment.size, first + count, first
        else:
            runs.append(Run(self._segment.path, start, self._segment.size, first, first + count, first))

    def _leave_segment(self) -> None:
        if self._segment:
            self._segment.close()
            if self._segment.size:
                self._index.sizes[self._segment.path] = self._segment.size
            self._segment = None

    def read(self, from_position: int = 0) -> Iterator[tuple[int, Record]]:
        """Durable records from a position on, in order; those committed while this runs may come too.

        Raises:
            StateError: a record asked for is damaged or was removed; the text names segment and offset.
        """
        return read_records(self._index, from_position, self._filesystem)

    def truncate_before(self, position: int) -> int:
        """Remove the segments that hold only records before `position`; the newest always stays.

        Args:
            position: that of the *oldest* kept snapshot, so that every generation can be resumed from.

        Returns:
            Bytes given back.

        Raises:
            StateError: the disk refuses; the journal is whole and this may be tried again.
        """
        freed = 0
        with self._committing:
            try:
                active = self._segment is not None and self._segment.size > 0
                paths = list(self._index.sizes)
                for path in paths if active else paths[:-1]:
                    if any(run.path == path and run.stop > position for run in self._index.runs):
                        break
                    self._filesystem.remove(path)
                    freed += self._index.sizes.pop(path)
                    self._index.runs = [run for run in self._index.runs if run.path != path]
                    # Synced one by one: a power cut must not bring an older segment back without its successor.
                    self._filesystem.sync_directory(self._directory)
            except OSError as error:
                raise StateError(f"journal {self._directory}: old segments cannot be removed: {error}") from error
        return freed

    def close(self) -> None:
        """Commit what waits and give the files back.

        Raises:
            StateError: what waits could not be made durable; the journal is closed nevertheless.
        """
        try:
            self.commit()
        finally:
            with self._committing:
                self._leave_segment()
