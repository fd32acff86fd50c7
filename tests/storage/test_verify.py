"""Verify, inspect and export see what is there and change nothing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from stepahead.contract.errors import StateError, UsageError
from stepahead.storage.journal import Journal
from stepahead.storage.record import Record
from stepahead.storage.snapshot import SCHEMA, SnapshotStore
from stepahead.storage.verify import export_state, verify_state


@pytest.fixture
def state_directory(tmp_path: Path, state_of: Any) -> Path:
    state = tmp_path / "state"
    journal = Journal(state / "journal", segment_bytes=200)
    store = SnapshotStore(state / "snapshots", wall_clock=lambda: 77)
    for number in range(10):
        journal.append(Record("weights", {}, {"head": np.full(3, number)}) if number % 4 == 3 else Record("batch"))
        journal.commit()
        if number in (2, 5):
            store.write(state_of(number), position=number + 1, meta={"series": number})
    journal.close()
    return state


def bytes_of(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_whole_state(state_directory: Path) -> None:
    before = bytes_of(state_directory)
    report = verify_state(state_directory)
    assert report.ok
    assert report.resumable
    assert (report.first_position, report.next_position, report.torn_bytes) == (0, 10, 0)
    assert report.records == {"batch": 8, "weights": 2}
    assert sum(report.segments.values()) == sum(p.stat().st_size for p in (state_directory / "journal").iterdir())
    assert [(s.generation, s.schema, s.position, s.written_ns, s.arrays, s.meta) for s in report.snapshots] == [
        (2, SCHEMA, 6, 77, 2, {"series": 5}),
        (1, SCHEMA, 3, 77, 2, {"series": 2}),
    ]
    assert bytes_of(state_directory) == before


def test_damage_is_named_and_a_torn_tail_is_not_damage(state_directory: Path) -> None:
    newest = sorted((state_directory / "journal").iterdir())[-1]
    with newest.open("ab") as file:
        file.write(b"half a frame")
    before = bytes_of(state_directory)
    report = verify_state(state_directory)
    assert (report.ok, report.resumable, report.torn_bytes) == (True, True, 12)
    assert bytes_of(state_directory) == before

    path = state_directory / "snapshots" / "snapshot-00000002" / "arrays.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    report = verify_state(state_directory)
    assert (report.ok, report.resumable) == (False, True)
    assert ["snapshot 2" in trouble for trouble in report.troubles] == [True]

    first, second, *_ = sorted((state_directory / "journal").iterdir())
    second.write_bytes(bytes(second.stat().st_size))
    report = verify_state(state_directory)
    assert not report.resumable
    assert any(f"{first.name} is damaged at offset" in trouble for trouble in report.troubles)


def test_what_is_no_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="not a state directory"):
        verify_state(tmp_path)
    with pytest.raises(StateError, match="there is none"):
        export_state(tmp_path, tmp_path / "out")


def test_export_writes_what_other_tools_read(state_directory: Path, tmp_path: Path, state_of: Any) -> None:
    target = tmp_path / "out"
    paths = export_state(state_directory, target)
    assert sorted(path.name for path in paths) == ["arrays.safetensors", "values.json", "weights-7.safetensors"]
    arrays = safetensors.numpy.load_file(target / "arrays.safetensors")
    assert np.array_equal(arrays["/bank/mean"], state_of(5)["bank"]["mean"])
    assert json.loads((target / "values.json").read_text()) == {"/number": 5}
    assert safetensors.numpy.load_file(target / "weights-7.safetensors")["head"].tolist() == [7, 7, 7]
    with pytest.raises(UsageError, match="there already"):
        export_state(state_directory, target)


def test_export_takes_a_part_and_an_older_generation(state_directory: Path, tmp_path: Path, state_of: Any) -> None:
    export_state(state_directory, tmp_path / "out", generation=1, only=["/bank/seen"], events=())
    arrays = safetensors.numpy.load_file(tmp_path / "out" / "arrays.safetensors")
    assert list(arrays) == ["/bank/seen"]
    assert np.array_equal(arrays["/bank/seen"], state_of(2)["bank"]["seen"])
    assert (tmp_path / "out" / "values.json").read_text() == "{}"
