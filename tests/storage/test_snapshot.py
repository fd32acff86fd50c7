"""Snapshots are whole or not there, and older ones stand behind them."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from stepahead.contract.errors import StateError
from stepahead.storage.filesystem import OsFilesystem
from stepahead.storage.snapshot import SnapshotStore
from stepahead.storage.tree import copy_state
from stepahead.storage.writer import SnapshotWriter


def test_the_newest_comes_back_with_its_position_and_meta(tmp_path: Path, state_of: Any, same_state: Any) -> None:
    store = SnapshotStore(tmp_path / "snapshots", wall_clock=lambda: 5)
    assert store.load_newest() is None
    for number in range(1, 6):
        written = store.write(state_of(number), position=10 * number, meta={"number": number})
        assert (written.generation, written.position) == (number, 10 * number)
        assert written.oldest_position == 10 * max(1, number - 2)
        assert written.size == sum(path.stat().st_size for path in store.path(number).iterdir())
    assert store.generations() == [3, 4, 5]
    snapshot = store.load_newest()
    assert snapshot is not None
    assert same_state(snapshot.state, state_of(5))
    assert (snapshot.position, snapshot.manifest.meta, snapshot.manifest.written_ns) == (50, {"number": 5}, 5)
    assert snapshot.passed_over == ()


def test_only_the_owner_may_look(tmp_path: Path, state_of: Any) -> None:
    (tmp_path / "snapshots").mkdir(mode=0o755)
    store = SnapshotStore(tmp_path / "snapshots")
    store.write(state_of(1), position=0)
    modes = {path.stat().st_mode & 0o777 for path in [tmp_path / "snapshots", store.path(1)]}
    assert modes == {0o700}
    assert {path.stat().st_mode & 0o777 for path in store.path(1).iterdir()} == {0o600}


@pytest.mark.parametrize("name", ["arrays.safetensors", "values.json", "manifest.json"])
@pytest.mark.parametrize("how", ["cut", "flip", "gone", "longer"])
def test_a_damaged_one_is_passed_over_and_said(
    tmp_path: Path, name: str, how: str, state_of: Any, same_state: Any
) -> None:
    store = SnapshotStore(tmp_path)
    for number in (1, 2):
        store.write(state_of(number), position=number)
    path = store.path(2) / name
    data = bytearray(path.read_bytes())
    if how == "flip":
        data[len(data) // 2] ^= 4
    path.write_bytes(data[:-1] if how == "cut" else data + b"1" if how == "longer" else data)
    if how == "gone":
        path.unlink()
    snapshot = store.load_newest()
    assert snapshot is not None
    assert same_state(snapshot.state, state_of(1))
    assert ["snapshot 2" in trouble for trouble in snapshot.passed_over] == [True]
    (store.path(1) / name).unlink()
    with pytest.raises(StateError, match=r"no snapshot in .* is whole .* restore the directory from a backup"):
        store.load_newest()


def test_a_newer_schema_is_refused_with_what_to_do(tmp_path: Path, state_of: Any) -> None:
    SnapshotStore(tmp_path, schema=1).write(state_of(1), position=0)
    SnapshotStore(tmp_path, schema=3).write(state_of(2), position=0)
    with pytest.raises(
        StateError, match=r"snapshot 2 .* schema 3, from a newer release; this one reads schema 1: start"
    ):
        SnapshotStore(tmp_path, schema=1).load_newest()


def test_an_older_schema_is_migrated_or_refused(tmp_path: Path) -> None:
    SnapshotStore(tmp_path, schema=1).write({"count": 3}, position=0)
    steps: dict[int, Any] = {1: lambda state: {"counts": [state["count"]]}}
    with pytest.raises(StateError, match="schema 1, from an older release; this one reads schema 3"):
        SnapshotStore(tmp_path, schema=3, migrations=steps).load_newest()
    steps[2] = lambda state: {**state, "total": sum(state["counts"])}
    snapshot = SnapshotStore(tmp_path, schema=3, migrations=steps).load_newest()
    assert snapshot is not None
    assert snapshot.state == {"counts": [3], "total": 3}


def test_what_a_crash_left_is_swept(tmp_path: Path, state_of: Any) -> None:
    for left in (".writing-00000009", ".leaving-00000001"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "arrays.safetensors").write_bytes(b"half")
    store = SnapshotStore(tmp_path)
    assert store.load_newest() is None
    store.write(state_of(1), position=0)
    assert [path.name for path in tmp_path.iterdir()] == ["snapshot-00000001"]


def test_everything_is_synced_before_the_name_and_the_name_before_the_return(
    faulty_disk: Any, memory_disk: Any, state_of: Any
) -> None:
    disk = faulty_disk(memory_disk())
    SnapshotStore(Path("/s"), filesystem=disk).write(state_of(1), position=0)
    names = [name for name, _ in disk.calls]
    rename = names.index("rename")
    assert names[:rename].count("create") == names[:rename].count("sync") == 3
    assert disk.calls[rename - 1] == ("sync_directory", ".writing-00000001")
    assert disk.calls[rename + 1] == ("sync_directory", "s")


def test_what_cannot_be_stored_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="state /a/b"):
        SnapshotStore(tmp_path).write({"a": {"b": object()}}, position=0)
    assert list(tmp_path.iterdir()) == []


def test_other_tools_read_the_arrays(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path)
    store.write({"a": {"b": np.arange(3.0)}}, position=0)
    arrays = safetensors.numpy.load_file(store.path(1) / "arrays.safetensors")
    assert {name: array.tolist() for name, array in arrays.items()} == {"/a/b": [0.0, 1.0, 2.0]}


def test_the_writer_takes_one_at_a_time_and_hands_its_outcome_over(tmp_path: Path, state_of: Any) -> None:
    gate = threading.Event()

    class Waiting(OsFilesystem):
        def rename(self, source: Path, target: Path) -> None:
            assert gate.wait(200)
            super().rename(source, target)

    writer = SnapshotWriter(SnapshotStore(tmp_path, filesystem=Waiting()))
    assert writer.poll() is None
    state = state_of(1)
    assert writer.start(copy_state(state), position=4)
    state["bank"]["mean"][:] = 0
    assert writer.busy
    assert writer.poll() is None
    assert not writer.start(state_of(2), position=5)
    gate.set()
    written = writer.wait()
    assert written is not None
    assert (written.generation, written.position, writer.busy) == (1, 4, False)
    snapshot = SnapshotStore(tmp_path).load_newest()
    assert snapshot is not None
    assert np.array_equal(snapshot.state["bank"]["mean"], state_of(1)["bank"]["mean"])


def test_the_writer_hands_errors_over_and_goes_on(faulty_disk: Any, memory_disk: Any, state_of: Any) -> None:
    disk = faulty_disk(memory_disk(), fail_at=1, lasting=True)
    writer = SnapshotWriter(SnapshotStore(Path("/s"), filesystem=disk))
    assert writer.start(state_of(1), position=0)
    with pytest.raises(StateError, match="cannot be written"):
        writer.wait()
    assert writer.start({"a": object()}, position=0)
    with pytest.raises(TypeError, match="state /a"):
        writer.wait()
    disk.heal()
    assert writer.start(state_of(1), position=0)
    written = writer.wait()
    assert written is not None
    assert written.generation == 1
