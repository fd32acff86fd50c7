"""Looking at a state directory without changing it: what is there, whether it is whole, and taking arrays out."""

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from stepahead.contract.errors import StateError, UsageError
from stepahead.storage.filesystem import Filesystem, OsFilesystem
from stepahead.storage.index import JournalIndex, index_journal, read_records
from stepahead.storage.packs import PackStore
from stepahead.storage.plain import dump_plain
from stepahead.storage.record import Record
from stepahead.storage.snapshot import SnapshotStore
from stepahead.storage.tensors import HashedWriter, write_tensors

__all__ = ["JOURNAL", "SILENT", "SNAPSHOTS", "SnapshotReport", "StateReport", "export_state", "verify_state"]

JOURNAL, SNAPSHOTS, SILENT = "journal", "snapshots", "silent"
"""Names of the directories inside a state directory; the last one is there when series have fallen silent."""


@dataclass(frozen=True, slots=True)
class SnapshotReport:
    """One generation: what its manifest says, and what is wrong with it (`None`: every checksum matches)."""

    generation: int
    schema: int | None
    position: int | None
    written_ns: int | None
    size: int
    arrays: int
    meta: Mapping[str, Any]
    trouble: str | None


@dataclass(frozen=True, slots=True)
class StateReport:
    """What a state directory holds.

    Attributes:
        snapshots: newest first.
        segments: bytes by segment name, oldest first.
        first_position, next_position: records of the journal, the latter excluded.
        records: how many of each kind can be read.
        packs: bytes by number, of those that are whole, with the state of silent series.
        torn_bytes: end of the journal whose writing was never finished; harmless, cut off at the next start.
        troubles: everything that is damaged, in words.
        resumable: whether the newest whole snapshot and the journal after it can be read to the end.
    """

    snapshots: tuple[SnapshotReport, ...]
    segments: Mapping[str, int]
    first_position: int
    next_position: int
    records: Mapping[str, int]
    packs: Mapping[int, int]
    torn_bytes: int
    troubles: tuple[str, ...]
    resumable: bool

    @property
    def ok(self) -> bool:
        """Nothing is damaged."""
        return not self.troubles


def verify_state(directory: Path, filesystem: Filesystem | None = None) -> StateReport:
    """Check every checksum below a state directory.

    Args:
        directory: the state directory; may be in use: then what is being written may count as torn.
        filesystem: the door to the disk.

    Raises:
        StateError: there is no state, or the disk does not answer.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     written = SnapshotStore(Path(directory) / SNAPSHOTS).write({"count": 1}, position=0)
        ...     report = verify_state(Path(directory))
        >>> report.ok, report.resumable, report.snapshots[0].generation
        (True, True, 1)
    """
    disk = filesystem or OsFilesystem()
    try:
        names = disk.list(directory)
    except OSError as error:
        raise StateError(f"{directory} cannot be read: {error}") from error
    if not {JOURNAL, SNAPSHOTS} & set(names):
        raise StateError(f"{directory} is not a state directory: neither {JOURNAL} nor {SNAPSHOTS} is in it")
    snapshots = [_snapshot_report(directory, generation, disk) for generation in _generations(directory, disk)]
    troubles = [report.trouble for report in snapshots if report.trouble]
    index = JournalIndex()
    try:
        index = index_journal(directory / JOURNAL, disk)
    except (OSError, StateError) as error:
        troubles.append(str(error))
    troubles += map(str, index.damages)
    records: Counter[str] = Counter()
    for run in index.runs:
        try:
            records.update(record.kind for _, record in read_records(JournalIndex(runs=[run]), run.first, disk))
        except StateError as error:
            troubles.append(str(error))
    packs: dict[int, int] = {}
    store = PackStore(directory / SILENT, disk)
    for number in store.numbers():
        try:
            packs[number] = store.check(number)
        except StateError as error:
            troubles.append(str(error))
    whole = next((report.position for report in snapshots if not report.trouble), None)
    return StateReport(
        snapshots=tuple(snapshots),
        segments={path.name: size for path, size in index.sizes.items()},
        first_position=index.first_position,
        next_position=index.next_position,
        records=dict(sorted(records.items())),
        packs=packs,
        torn_bytes=index.torn_bytes,
        troubles=tuple(troubles),
        resumable=(whole is not None or not snapshots) and _readable(index, whole or 0, disk),
    )


def _generations(directory: Path, disk: Filesystem) -> list[int]:
    return SnapshotStore(directory / SNAPSHOTS, filesystem=disk).generations()[::-1]


def _readable(index: JournalIndex, position: int, disk: Filesystem) -> bool:
    try:
        for _ in read_records(index, position, disk):
            pass
    except StateError:
        return False
    return True


def _snapshot_report(directory: Path, generation: int, disk: Filesystem) -> SnapshotReport:
    store = SnapshotStore(directory / SNAPSHOTS, filesystem=disk)
    size = 0
    for name in disk.list(store.path(generation)):
        with contextlib.suppress(OSError):
            size += disk.size(store.path(generation) / name)
    try:
        manifest = store.manifest(generation)
    except StateError as error:
        return SnapshotReport(generation, None, None, None, size, 0, {}, str(error))
    arrays, trouble = 0, None
    try:
        arrays = len(store.load(generation).arrays)
    except StateError as error:
        trouble = str(error)
    return SnapshotReport(
        generation, manifest.schema, manifest.position, manifest.written_ns, size, arrays, manifest.meta, trouble
    )


def export_state(
    directory: Path,
    target: Path,
    *,
    generation: int | None = None,
    only: Sequence[str] = (),
    events: Sequence[str] = ("weights",),
    filesystem: Filesystem | None = None,
) -> list[Path]:
    """Take arrays and values out of a state directory, in formats that other tools read.

    Args:
        directory: the state directory.
        target: a new directory for `arrays.safetensors`, `values.json`, and one safetensors file per exported event.
        generation: which snapshot; the newest whole one if not given.
        only: JSON pointers (see `flatten`); what lies at or below any of them is taken; all if empty.
        events: kinds of journal record of which the newest after the snapshot is taken too.
        filesystem: the door to the disk.

    Returns:
        The files written.

    Raises:
        StateError: nothing whole is there, or `target` cannot be written.
        UsageError: `target` is there already.
    """
    disk = filesystem or OsFilesystem()
    if target.name in disk.list(target.parent):
        raise UsageError(f"{target} is there already: name a new directory")
    store = SnapshotStore(directory / SNAPSHOTS, filesystem=disk)
    troubles: list[str] = []
    for candidate in [generation] if generation is not None else _generations(directory, disk):
        try:
            flat, position = store.load(candidate), store.manifest(candidate).position
            break
        except StateError as error:
            troubles.append(str(error))
    else:
        raise StateError(f"no whole snapshot in {directory}: {'; '.join(troubles) or 'there is none'}")

    def wanted(name: str) -> bool:
        return not only or any(name == prefix or name.startswith(prefix.rstrip("/") + "/") for prefix in only)

    values = {name: value for name, value in flat.values.items() if wanted(name)}
    newest: dict[str, tuple[int, Record]] = {}
    if events:
        try:
            for number, record in read_records(index_journal(directory / JOURNAL, disk), position, disk):
                if record.kind in events:
                    newest[record.kind] = (number, record)
        except OSError as error:
            raise StateError(f"journal in {directory} cannot be read: {error}") from error
    try:
        disk.make_directory(target)
        paths = [
            _export_arrays(disk, target / "arrays.safetensors", {n: a for n, a in flat.arrays.items() if wanted(n)})
        ]
        paths.append(_export(disk, target / "values.json", dump_plain(values)))
        for kind, (number, record) in newest.items():
            paths.append(_export_arrays(disk, target / f"{kind}-{number}.safetensors", record.arrays))
    except OSError as error:
        raise StateError(f"cannot export to {target}: {error}") from error
    return paths


def _export_arrays(disk: Filesystem, path: Path, arrays: Mapping[str, NDArray[Any]]) -> Path:
    file = disk.create(path)
    try:
        write_tensors(HashedWriter(file), arrays)
    finally:
        file.close()
    return path


def _export(disk: Filesystem, path: Path, data: bytes) -> Path:
    file = disk.create(path)
    try:
        file.write(data)
    finally:
        file.close()
    return path
