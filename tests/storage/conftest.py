"""Disks that fail: one that answers with an error at a chosen call, and one whose power can be cut."""

import errno
import io
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from stepahead.storage.filesystem import Bytes, Filesystem, WritableFile
from stepahead.storage.journal import Journal
from stepahead.storage.record import Record


class PowerCutError(BaseException):
    """Nothing after this call happens."""


class FileNode:
    def __init__(self) -> None:
        self.data = bytearray()
        self.synced = b""


class DirectoryNode:
    def __init__(self) -> None:
        self.entries: dict[str, Any] = {}
        self.synced: dict[str, Any] = {}


class MemoryFile:
    def __init__(self, node: FileNode) -> None:
        self.node = node

    def write(self, data: Bytes) -> None:
        self.node.data += data

    def sync(self) -> None:
        self.node.synced = bytes(self.node.data)

    def truncate(self, size: int) -> None:
        del self.node.data[size:]

    def close(self) -> None:
        pass


class MemoryFilesystem:
    """Files in memory that remember what was synced; `after_power_cut` gives what a disk may hold then."""

    def __init__(self, root: DirectoryNode | None = None) -> None:
        self.root = root or DirectoryNode()

    def _directory(self, path: Path) -> DirectoryNode:
        node = self.root
        for part in path.parts[1:]:
            node = node.entries.get(part)
            if not isinstance(node, DirectoryNode):
                raise FileNotFoundError(errno.ENOENT, "no such directory", str(path))
        return node

    def _file(self, path: Path) -> FileNode:
        node = self._directory(path.parent).entries.get(path.name)
        if not isinstance(node, FileNode):
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        return node

    def create(self, path: Path) -> WritableFile:
        entries = self._directory(path.parent).entries
        if path.name in entries:
            raise FileExistsError(errno.EEXIST, "there already", str(path))
        node = entries[path.name] = FileNode()
        return MemoryFile(node)

    def append(self, path: Path) -> WritableFile:
        return MemoryFile(self._file(path))

    def open(self, path: Path) -> BinaryIO:
        return io.BytesIO(bytes(self._file(path).data))

    def size(self, path: Path) -> int:
        return len(self._file(path).data)

    def list(self, directory: Path) -> list[str]:
        try:
            return sorted(self._directory(directory).entries)
        except FileNotFoundError:
            return []

    def make_directory(self, path: Path) -> None:
        node = self.root
        for part in path.parts[1:]:
            if part not in node.entries:
                node.entries[part] = node.synced[part] = DirectoryNode()
            node = node.entries[part]

    def rename(self, source: Path, target: Path) -> None:
        node = self._directory(source.parent).entries.pop(source.name)
        self._directory(target.parent).entries[target.name] = node

    def remove(self, path: Path) -> None:
        self._file(path)
        del self._directory(path.parent).entries[path.name]

    def remove_directory(self, path: Path) -> None:
        if self._directory(path).entries:
            raise OSError(errno.ENOTEMPTY, "not empty", str(path))
        del self._directory(path.parent).entries[path.name]

    def sync_directory(self, path: Path) -> None:
        node = self._directory(path)
        node.synced = dict(node.entries)

    def free_bytes(self, path: Path) -> int:
        return 2**40

    def after_power_cut(self, chance: random.Random) -> "MemoryFilesystem":
        return MemoryFilesystem(self._survivor(self.root, chance))

    def _survivor(self, node: Any, chance: random.Random) -> Any:
        if isinstance(node, DirectoryNode):
            left = DirectoryNode()
            for name in sorted({*node.entries, *node.synced}):
                new, old = node.entries.get(name), node.synced.get(name)
                kept = new if new is old or chance.random() < 0.5 else old
                if kept is not None:
                    left.entries[name] = self._survivor(kept, chance)
            left.synced = dict(left.entries)
            return left
        file = FileNode()
        if len(node.data) < len(node.synced):  # a cut that was not synced
            file.data = bytearray(node.data if chance.random() < 0.5 else node.synced)
        else:
            unsure = bytearray(node.data[len(node.synced) :])
            del unsure[chance.randint(0, len(unsure)) :]
            if unsure and chance.random() < 0.5:  # blocks reach the disk in any order
                hole = chance.randrange(len(unsure))
                unsure[hole : hole + 64] = bytes(len(unsure[hole : hole + 64]))
            file.data = bytearray(node.synced + unsure)
        file.synced = bytes(file.data)
        return file


class FaultyFile:
    def __init__(self, disk: "FaultyFilesystem", file: WritableFile, path: Path) -> None:
        self.disk, self.file, self.path, self.lost = disk, file, path, False

    def write(self, data: Bytes) -> None:
        half = memoryview(data)[: len(data) // 2]
        self.disk.call("write", self.path, before_error=lambda: self.file.write(half))
        self.file.write(data)

    def sync(self) -> None:
        self.disk.call("sync", self.path, before_error=self._lose)
        if not self.lost:
            self.file.sync()

    def _lose(self) -> None:
        self.lost = True  # from now on the kernel calls the pages clean: fsync succeeds and writes nothing

    def truncate(self, size: int) -> None:
        self.disk.call("truncate", self.path)
        self.file.truncate(size)

    def close(self) -> None:
        self.file.close()


class FaultyFilesystem:
    """Passes calls on to another file system, notes them, and raises at the chosen one.

    Args:
        inner: the file system below.
        fail_at: number of the call that raises, from 1; 0 = none.
        error: what is raised: an errno, or `PowerCutError`.
        lasting: every later call raises too, until `heal`.
    """

    def __init__(self, inner: Filesystem, fail_at: int = 0, error: Any = errno.EIO, lasting: bool = False) -> None:
        self.inner, self.fail_at, self.error, self.lasting = inner, fail_at, error, lasting
        self.calls: list[tuple[str, str]] = []
        self.struck = False

    def heal(self) -> None:
        self.fail_at = 0

    def call(self, name: str, path: Path, before_error: Callable[[], None] = lambda: None) -> None:
        self.calls.append((name, path.name))
        count = len(self.calls)
        if self.fail_at and (count == self.fail_at or (self.lasting and count > self.fail_at)):
            self.struck = True
            before_error()
            raise (
                PowerCutError
                if self.error is PowerCutError
                else OSError(self.error, os.strerror(self.error), str(path))
            )

    def create(self, path: Path) -> WritableFile:
        self.call("create", path)
        return FaultyFile(self, self.inner.create(path), path)

    def append(self, path: Path) -> WritableFile:
        self.call("append", path)
        return FaultyFile(self, self.inner.append(path), path)

    def open(self, path: Path) -> BinaryIO:
        self.call("open", path)
        return self.inner.open(path)

    def size(self, path: Path) -> int:
        self.call("size", path)
        return self.inner.size(path)

    def list(self, directory: Path) -> list[str]:
        self.call("list", directory)
        return self.inner.list(directory)

    def make_directory(self, path: Path) -> None:
        self.call("make_directory", path)
        self.inner.make_directory(path)

    def rename(self, source: Path, target: Path) -> None:
        self.call("rename", source)
        self.inner.rename(source, target)

    def remove(self, path: Path) -> None:
        self.call("remove", path)
        self.inner.remove(path)

    def remove_directory(self, path: Path) -> None:
        self.call("remove_directory", path)
        self.inner.remove_directory(path)

    def sync_directory(self, path: Path) -> None:
        self.call("sync_directory", path)
        self.inner.sync_directory(path)

    def free_bytes(self, path: Path) -> int:
        return self.inner.free_bytes(path)


def numbered_record(number: int) -> Record:
    """A record that is known from its position alone."""
    generator = np.random.default_rng(number)
    count = number % 7
    value = generator.normal(size=count)
    return Record("batch", {"number": number}, {"series": np.arange(count, dtype=np.int32), "value": value})


def numbered_state(number: int) -> dict[str, Any]:
    """A state tree that is known from its number alone."""
    generator = np.random.default_rng(number)
    return {"bank": {"mean": generator.normal(size=(5, 2)), "seen": generator.integers(0, 9, 5)}, "number": number}


@pytest.fixture
def memory_disk() -> type[MemoryFilesystem]:
    return MemoryFilesystem


@pytest.fixture
def faulty_disk() -> type[FaultyFilesystem]:
    return FaultyFilesystem


@pytest.fixture
def power_cut() -> type[BaseException]:
    return PowerCutError


@pytest.fixture(scope="session")
def record_of() -> Callable[[int], Record]:
    return numbered_record


@pytest.fixture(scope="session")
def state_of() -> Callable[[int], dict[str, Any]]:
    return numbered_state


@pytest.fixture(scope="session")
def same_record() -> Callable[[Record, Record], bool]:
    def same(one: Record, other: Record) -> bool:
        return (
            (one.kind, one.meta) == (other.kind, other.meta)
            and list(one.arrays) == list(other.arrays)
            and all(same_array(one.arrays[name], other.arrays[name]) for name in one.arrays)
        )

    return same


@pytest.fixture(scope="session")
def same_state() -> Callable[[Any, Any], bool]:
    return equal_trees


def same_array(one: np.ndarray, other: np.ndarray) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def equal_trees(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return isinstance(other, dict) and set(one) == set(other) and all(equal_trees(one[k], other[k]) for k in one)
    if isinstance(one, np.ndarray | np.generic):
        return type(one) is type(other) and same_array(np.asarray(one), np.asarray(other))
    return type(one) is type(other) and one == other


@pytest.fixture
def numbered_journal(tmp_path: Path) -> Path:
    """A closed journal of one segment: records 0 to 29 in commits of one to four."""
    journal = Journal(tmp_path / "journal")
    for number in range(30):
        journal.append(numbered_record(number))
        if number % 4 in (0, 3):
            journal.commit()
    journal.close()
    return tmp_path / "journal"
