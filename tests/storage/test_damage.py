"""A flipped bit anywhere is detected or harmless: never a silent wrong answer."""

import random
from pathlib import Path
from typing import Any

import pytest

from stepahead.contract.errors import StateError
from stepahead.storage.journal import Journal
from stepahead.storage.manifest import Manifest, dump_manifest, load_manifest
from stepahead.storage.snapshot import SnapshotStore

RECORDS = 60


@pytest.fixture
def state_directory(tmp_path: Path, record_of: Any, state_of: Any) -> Path:
    journal = Journal(tmp_path / "journal", segment_bytes=2000)
    store = SnapshotStore(tmp_path / "snapshots")
    for number in range(RECORDS):
        journal.append(record_of(number))
        if number % 5 == 4:
            journal.commit()
        if number in (24, 49):
            store.write(state_of(number + 1), position=number + 1)
    journal.close()
    assert len(list((tmp_path / "journal").iterdir())) > 2
    return tmp_path


def test_every_flipped_bit_is_detected_or_harmless(
    state_directory: Path, record_of: Any, state_of: Any, same_record: Any, same_state: Any, long_form: bool
) -> None:
    flips = 2000 if long_form else 300
    chance = random.Random(20261122)
    files = sorted(path for path in state_directory.rglob("*") if path.is_file())
    sizes = [path.stat().st_size for path in files]
    last_commit = RECORDS - 5
    seen = {"passed over": 0, "refused": 0, "torn": 0, "harmless": 0}
    for _ in range(flips):
        path = chance.choices(files, weights=sizes)[0]
        whole = path.read_bytes()
        at = chance.randrange(len(whole) * 8)
        data = bytearray(whole)
        data[at // 8] ^= 1 << at % 8
        path.write_bytes(data)

        snapshot = SnapshotStore(state_directory / "snapshots").load_newest()
        assert snapshot is not None, "one flip cannot damage both generations"
        assert same_state(snapshot.state, state_of(snapshot.position))
        assert snapshot.position == (25 if snapshot.passed_over else 50)
        journal = Journal(state_directory / "journal", at_least=snapshot.position)
        expected = 0
        refused = False
        try:
            for position, record in journal.read(0):
                assert position == expected
                assert same_record(record, record_of(position))
                expected += 1
        except StateError:
            refused = True
        torn = journal.recovery.torn_bytes > 0
        assert refused == bool(journal.recovery.damages)
        if not refused:
            assert expected == RECORDS or (torn and last_commit <= expected < RECORDS)
        seen["passed over"] += bool(snapshot.passed_over)
        seen["refused"] += refused
        seen["torn"] += torn
        seen["harmless"] += not (snapshot.passed_over or refused or torn)
        path.write_bytes(whole)
    assert seen["passed over"] > 0
    assert seen["refused"] > 0
    assert seen["torn"] > 0
    print(flips, "flips:", seen)


def test_every_flipped_bit_of_a_manifest_is_detected() -> None:
    manifest = Manifest(7, 1, 12, 5, {"series": 3}, {"values.json": (2, "ab")})
    data = dump_manifest(manifest)
    for at in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(StateError, match=r"snapshot 7: manifest\.json"):
            load_manifest(bytes(flipped), 7)
    with pytest.raises(StateError, match="is that of snapshot 7"):
        load_manifest(data, 8)
