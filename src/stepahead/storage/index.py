"""What a journal directory holds: its good runs of records, what is torn, what is damaged."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from stepahead.contract.errors import StateError
from stepahead.storage.filesystem import Filesystem
from stepahead.storage.record import Record, decode_record
from stepahead.storage.segment import frames, segment_number

__all__ = ["Damage", "JournalIndex", "Run", "index_journal", "read_records", "segment_files", "settle_journal"]


@dataclass(slots=True)
class Run:
    """Good frames that follow each other in one segment: records `first` to `stop - 1` in bytes `start` to `end`."""

    path: Path
    start: int
    end: int
    first: int
    stop: int
    durable: int


@dataclass(frozen=True, slots=True)
class Damage:
    """Records `first` to `stop - 1` were once on the disk and cannot be read; the trouble begins at `offset`."""

    path: Path
    offset: int
    first: int
    stop: int

    def __str__(self) -> str:
        return (
            f"journal segment {self.path} is damaged at offset {self.offset}: "
            f"records {self.first} to {self.stop - 1} cannot be read"
        )


@dataclass(slots=True)
class JournalIndex:
    """What a journal directory holds.

    Attributes:
        sizes: bytes of each segment by path, oldest first.
        runs: readable records, positions rising.
        damages: gaps between the runs that were on the disk once.
        torn_bytes: bytes at the end whose writing was never finished; nobody was told that they were safe.
    """

    sizes: dict[Path, int] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)
    torn_bytes: int = 0

    @property
    def first_position(self) -> int:
        """Position of the oldest record."""
        return self.runs[0].first if self.runs else 0

    @property
    def next_position(self) -> int:
        """Position after the newest record."""
        return self.runs[-1].stop if self.runs else 0


def segment_files(directory: Path, filesystem: Filesystem) -> list[Path]:
    """The segments of a journal, oldest first."""
    paths = [directory / name for name in filesystem.list(directory)]
    return sorted((path for path in paths if segment_number(path)), key=segment_number)


def index_journal(directory: Path, filesystem: Filesystem) -> JournalIndex:
    """Read every segment and check every checksum.

    Raises:
        StateError: a frame of another version.
        OSError: the disk does not answer.
    """
    index = JournalIndex()
    runs: list[Run] = []
    for path in segment_files(directory, filesystem):
        with filesystem.open(path) as file:
            data = file.read()
        index.sizes[path] = len(data)
        runs += _runs(path, data)
    runs = _superseded_cut(runs)
    for number, run in enumerate(runs):
        if index.runs and index.runs[-1].stop < run.first:
            before = index.runs[-1]
            if max(later.durable for later in runs[number:]) <= before.stop:
                break
            index.damages.append(Damage(before.path, before.end, before.stop, run.first))
        index.runs.append(run)
    _find_damage_before(index)
    index.torn_bytes = sum(index.sizes[path] - kept for path, kept in _tail(index))
    return index


def _find_damage_before(index: JournalIndex) -> None:
    """What was removed as old went in whole segments: bytes before the oldest good record were records once."""
    first = index.runs[0] if index.runs else None
    if first and first.first > 0:
        path = next(path for path, size in index.sizes.items() if size)
        if first.path != path or first.start > 0:
            index.damages.insert(0, Damage(path, 0, 0, first.first))


def _tail(index: JournalIndex) -> Iterator[tuple[Path, int]]:
    """The segments from the newest back to that of the last good record, each with the bytes of it to keep."""
    for path in reversed(index.sizes):
        kept = max((run.end for run in index.runs if run.path == path), default=0)
        yield path, kept
        if kept:
            return


def settle_journal(index: JournalIndex, directory: Path, filesystem: Filesystem) -> None:
    """Cut off what is torn, and make sure that what was read is on the disk, not in the page cache only.

    Raises:
        OSError: the disk refuses.
    """
    for path, kept in list(_tail(index)):
        if not kept:
            filesystem.remove(path)
            del index.sizes[path]
            continue
        file = filesystem.append(path)
        try:
            if kept < index.sizes[path]:
                file.truncate(kept)
            file.sync()
        finally:
            file.close()
        index.sizes[path] = kept
    filesystem.sync_directory(directory)


def _runs(path: Path, data: bytes) -> list[Run]:
    runs: list[Run] = []
    for frame in frames(data, str(path)):
        last = runs[-1] if runs else None
        if last and frame.position < last.stop:
            continue  # a picture of a frame inside a damaged record: positions never fall within a segment
        if last and frame.start == last.end and frame.position == last.stop:
            last.end, last.stop, last.durable = frame.end, last.stop + 1, frame.durable
        else:
            runs.append(Run(path, frame.start, frame.end, frame.position, frame.position + 1, frame.durable))
    return runs


def _superseded_cut(runs: list[Run]) -> list[Run]:
    """After a failed fsync a segment is given up and its unsafe records are written anew in the next: those count."""
    kept: list[Run] = []
    for run in runs:
        while kept and kept[-1].first >= run.first:
            kept.pop()
        if kept and kept[-1].stop > run.first:
            kept[-1].stop = run.first
        kept.append(run)
    return kept


def read_records(index: JournalIndex, from_position: int, filesystem: Filesystem) -> Iterator[tuple[int, Record]]:
    """Records from a position on, in order.

    Raises:
        StateError: a record that was asked for is missing or damaged; the text names segment and offset.
    """
    expected = from_position
    for run in list(index.runs):
        if run.stop <= expected:
            continue
        if run.first > expected:
            _refuse_gap(index, expected, run)
        stop = run.stop  # before `end`, which a commit in another thread moves first
        try:
            with filesystem.open(run.path) as file:
                file.seek(run.start)
                data = file.read(run.end - run.start)
        except OSError as error:
            raise StateError(f"journal segment {run.path} cannot be read: {error}") from error
        for frame in frames(data, str(run.path)):
            if expected == stop:
                break
            if frame.position == expected:
                where = f"journal segment {run.path}, offset {run.start + frame.start}"
                yield expected, decode_record(memoryview(data)[frame.body], where)
                expected += 1
        if expected < stop:
            raise StateError(f"journal segment {run.path} changed while it was read: record {expected} is gone")


def _refuse_gap(index: JournalIndex, expected: int, run: Run) -> None:
    for damage in index.damages:
        if damage.first <= expected < damage.stop:
            raise StateError(str(damage))
    raise StateError(
        f"journal segment {run.path} begins with record {run.first}: "
        f"records {expected} to {run.first - 1} are not there any more"
    )
