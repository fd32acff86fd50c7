"""Snapshots: everything the service knows, at one position of the journal, written whole or not at all.

A snapshot is a directory: `arrays.safetensors`, `values.json`, and `manifest.json` with the schema version and the
SHA-256 of both. It is written under another name, every file and the directory synced, then renamed, and the
directory above synced; so a snapshot that is there under its name is whole. The newest few are kept.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from stepahead.contract.errors import StateError
from stepahead.storage.filesystem import Filesystem, OsFilesystem
from stepahead.storage.manifest import MANIFEST, MAX_MANIFEST_BYTES, Manifest, dump_manifest, load_manifest
from stepahead.storage.plain import check_plain, load_plain, plain_chunks
from stepahead.storage.tensors import HashedReader, HashedWriter, read_tensors, write_tensors
from stepahead.storage.tree import FlatState, flatten, unflatten

__all__ = ["SCHEMA", "Migration", "Snapshot", "SnapshotStore", "WrittenSnapshot"]

SCHEMA = 3
"""Version of what a state tree holds: raised, with a migration, whenever an older tree would not load as it is."""

State: TypeAlias = dict[str, Any]
Migration: TypeAlias = Callable[[State], State]
"""Makes the state tree of schema n + 1 from that of schema n."""

ARRAYS, VALUES = "arrays.safetensors", "values.json"
_PREFIX, _WRITING, _LEAVING = "snapshot-", ".writing-", ".leaving-"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A loaded snapshot, and in words why newer ones were passed over."""

    manifest: Manifest
    state: State
    passed_over: tuple[str, ...]

    @property
    def position(self) -> int:
        """First journal record that is not in the state."""
        return self.manifest.position


@dataclass(frozen=True, slots=True)
class WrittenSnapshot:
    """A snapshot that is on the disk.

    Attributes:
        generation, position: its own.
        oldest_position: least position of the kept generations: what the journal may forget up to.
        size: bytes of its files.
    """

    generation: int
    position: int
    oldest_position: int
    size: int


class SnapshotStore:
    """The snapshots of one directory.

    Args:
        directory: where they lie; made if need be, mode 0700.
        keep: generations that are kept, at least 1.
        schema: version of the state trees that are written and read.
        migrations: by the schema they start from.
        filesystem: the door to the disk.
        wall_clock: UTC nanoseconds; only written down, nothing depends on it.

    Example:
        >>> import tempfile, numpy as np
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     store = SnapshotStore(Path(directory))
        ...     written = store.write({"bank": {"mean": np.arange(2.0)}, "count": 7}, position=12)
        ...     snapshot = store.load_newest()
        >>> snapshot.position, snapshot.state
        (12, {'count': 7, 'bank': {'mean': array([0., 1.])}})
    """

    def __init__(
        self,
        directory: Path,
        *,
        keep: int = 3,
        schema: int = SCHEMA,
        migrations: Mapping[int, Migration] | None = None,
        filesystem: Filesystem | None = None,
        wall_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        self._directory = directory
        self._keep = keep
        self._schema = schema
        self._migrations = dict(migrations or {})
        self._filesystem = filesystem or OsFilesystem()
        self._wall_clock = wall_clock

    def generations(self) -> list[int]:
        """Numbers of the snapshots that are there, good or not, oldest first."""
        try:
            names = self._filesystem.list(self._directory)
        except OSError as error:
            raise StateError(f"snapshots in {self._directory} cannot be listed: {error}") from error
        return sorted(int(name.removeprefix(_PREFIX)) for name in names if _is_numbered(name, _PREFIX))

    def path(self, generation: int) -> Path:
        """Directory of a snapshot."""
        return self._directory / f"{_PREFIX}{generation:08d}"

    def write(self, state: Mapping[str, Any], position: int, meta: Mapping[str, Any] | None = None) -> WrittenSnapshot:
        """Write a new generation and remove those beyond `keep`.

        Args:
            state: see `flatten`; must not change meanwhile.
            position: first journal record that is not in it. It must be durable: commit the journal first.
            meta: plain values to stand in the manifest.

        Raises:
            StateError: the disk refused; the generations that were there are untouched.
            TypeError, ValueError: the state holds something that is not stored.
        """
        flat = flatten(state)
        told = dict(meta or {})
        check_plain(told, "meta of the snapshot")
        try:
            self._filesystem.make_directory(self._directory)
            self._sweep()
            generation = max(self.generations(), default=0) + 1
            temporary = self._directory / f"{_WRITING}{generation:08d}"
            try:
                size = self._write(flat, temporary, generation, position, told)
            except OSError:
                with contextlib.suppress(OSError):
                    self._clear(temporary)  # a disk that is full needs the room now
                raise
        except OSError as error:
            raise StateError(f"snapshot in {self._directory} cannot be written: {error}") from error
        return WrittenSnapshot(generation, position, self._prune(position), size)

    def _write(self, flat: FlatState, temporary: Path, generation: int, position: int, meta: State) -> int:
        self._filesystem.make_directory(temporary)
        written: dict[str, tuple[int, str]] = {}
        with self._file(temporary / ARRAYS) as arrays:
            write_tensors(arrays, flat.arrays)
        written[ARRAYS] = (arrays.size, arrays.sha256)
        with self._file(temporary / VALUES) as values:
            for chunk in plain_chunks({"values": flat.values, "scalars": flat.scalars}):
                values.write(chunk)
        written[VALUES] = (values.size, values.sha256)
        manifest = Manifest(generation, self._schema, position, self._wall_clock(), meta, written)
        with self._file(temporary / MANIFEST) as file:
            file.write(dump_manifest(manifest))
        self._filesystem.sync_directory(temporary)
        self._filesystem.rename(temporary, self.path(generation))
        self._filesystem.sync_directory(self._directory)
        return arrays.size + values.size + file.size

    @contextlib.contextmanager
    def _file(self, path: Path) -> Iterator[HashedWriter]:
        file = self._filesystem.create(path)
        try:
            writer = HashedWriter(file)
            yield writer
            writer.flush()
            file.sync()
        finally:
            file.close()

    def _prune(self, position: int) -> int:
        """Remove what is beyond `keep`; a disk that refuses only leaves more behind, and the next write tries again."""
        try:
            generations = self.generations()
        except StateError:
            return 0  # the new one is safe; until the next, the journal keeps everything
        oldest = position
        for generation in generations[: -self._keep]:
            with contextlib.suppress(OSError):
                self._leave(generation)
        for generation in generations[-self._keep :]:
            with contextlib.suppress(StateError):
                oldest = min(oldest, self.manifest(generation).position)
        return oldest

    def _leave(self, generation: int) -> None:
        leaving = self._directory / f"{_LEAVING}{generation:08d}"
        self._filesystem.rename(self.path(generation), leaving)
        self._clear(leaving)

    def _sweep(self) -> None:
        """Remove what a crash left half written or half removed."""
        for name in self._filesystem.list(self._directory):
            if _is_numbered(name, _WRITING) or _is_numbered(name, _LEAVING):
                self._clear(self._directory / name)

    def _clear(self, directory: Path) -> None:
        for name in self._filesystem.list(directory):
            self._filesystem.remove(directory / name)
        self._filesystem.remove_directory(directory)

    def manifest(self, generation: int) -> Manifest:
        """What a snapshot says about itself, its own checksum checked.

        Raises:
            StateError: it cannot be read or is damaged.
        """
        path = self.path(generation) / MANIFEST
        try:
            with self._filesystem.open(path) as file:
                data = file.read(MAX_MANIFEST_BYTES)
        except OSError as error:
            raise StateError(f"snapshot {generation}: {MANIFEST} cannot be read: {error}") from error
        return load_manifest(data, generation)

    def load_newest(self) -> Snapshot | None:
        """The newest snapshot that is whole, or `None` where there is none yet.

        Raises:
            StateError: there are snapshots but none is whole, or the newest whole one has a schema that can be
                neither read nor migrated: state is never dropped in silence.
        """
        passed_over: list[str] = []
        for generation in reversed(self.generations()):
            try:
                manifest = self.manifest(generation)
                self._check_schema(manifest)
                state = unflatten(self._load(manifest))
            except _SchemaError:
                raise
            except StateError as error:
                passed_over.append(str(error))
                continue
            for schema in range(manifest.schema, self._schema):
                state = self._migrations[schema](state)
            return Snapshot(manifest, state, tuple(passed_over))
        if passed_over:
            raise StateError(
                f"no snapshot in {self._directory} is whole ({'; '.join(passed_over)}): restore the directory from a "
                "backup, or move it away to begin anew"
            )
        return None

    def _check_schema(self, manifest: Manifest) -> None:
        found, wanted = manifest.schema, self._schema
        if found > wanted or any(schema not in self._migrations for schema in range(found, wanted)):
            age = "a newer" if found > wanted else "an older"
            raise _SchemaError(
                f"snapshot {manifest.generation} in {self._directory} has schema {found}, from {age} release; this one "
                f"reads schema {wanted}: start the release that wrote it, or move the directory away to begin anew"
            )

    def load(self, generation: int) -> FlatState:
        """The state of one snapshot, flat and as it was written, every checksum checked.

        Raises:
            StateError: it cannot be read or is damaged.
        """
        return self._load(self.manifest(generation))

    def _load(self, manifest: Manifest) -> FlatState:
        where = f"snapshot {manifest.generation}"
        path = self.path(manifest.generation)
        flat = FlatState()
        try:
            for name in (ARRAYS, VALUES):
                size, digest = manifest.files[name]
                if self._filesystem.size(path / name) != size:
                    raise StateError(f"{where}: {name} is not {size} bytes long")
                with self._filesystem.open(path / name) as file:
                    reader = HashedReader(file)
                    if name == ARRAYS:
                        flat.arrays = read_tensors(reader, size, f"{where}: {name}")
                    else:
                        content = reader.read(size)
                if reader.sha256 != digest:
                    raise StateError(f"{where}: {name} does not match its checksum")
        except OSError as error:
            raise StateError(f"{where} cannot be read: {error}") from error
        except KeyError as error:
            raise StateError(f"{where}: {error} is not in the manifest") from error
        match load_plain(content, f"{where}: {VALUES}"):
            case {"values": dict(values), "scalars": list(scalars)}:
                flat.values, flat.scalars = values, scalars
                return flat
            case _:
                raise StateError(f"{where}: {VALUES} lacks an entry")


class _SchemaError(StateError):
    """Refusal that no older generation makes good."""


def _is_numbered(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and name.removeprefix(prefix).isdecimal()
