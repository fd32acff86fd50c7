"""A disk that fails at any call, for a moment or for long, and a power cut at any call: what was reported is there."""

import errno
import random
from pathlib import Path
from typing import Any

import pytest

from stepahead.contract.errors import StateError
from stepahead.storage.journal import Journal
from stepahead.storage.snapshot import SnapshotStore

STATE = Path("/state")
RECORDS = 16


class Service:
    """What a service does with its state: batches, commits, now and then a snapshot, and cutting the journal."""

    def __init__(self, disk: Any, record_of: Any, state_of: Any) -> None:
        self.disk, self.record_of, self.state_of = disk, record_of, state_of
        self.durable = 0
        self.generation = 0
        self.refusals = 0

    def run(self) -> Journal | None:
        try:
            journal = Journal(STATE / "journal", filesystem=self.disk, segment_bytes=700)
        except StateError:
            self.refusals += 1
            return None
        store = SnapshotStore(STATE / "snapshots", keep=2, filesystem=self.disk)
        for number in range(journal.next_position, RECORDS):
            assert journal.append(self.record_of(number)) == number
            if number % 2:
                self._try(lambda: self._commit(journal))
            if number % 4 == 3:
                self._try(lambda: self._snapshot(store, journal))
        return journal

    def _try(self, step: Any) -> None:
        try:
            step()
        except StateError:
            self.refusals += 1

    def _commit(self, journal: Journal) -> None:
        self.durable = journal.commit()

    def _snapshot(self, store: SnapshotStore, journal: Journal) -> None:
        written = store.write(self.state_of(journal.durable_position), position=journal.durable_position)
        self.generation = written.generation
        journal.truncate_before(written.oldest_position)


def check(disk: Any, service: Service, same_record: Any, same_state: Any) -> None:
    """What was reported durable is there, and it is the truth."""
    snapshot = SnapshotStore(STATE / "snapshots", filesystem=disk).load_newest()
    position = 0
    assert (snapshot.manifest.generation if snapshot else 0) >= service.generation
    if snapshot:
        assert snapshot.passed_over == ()
        assert same_state(snapshot.state, service.state_of(snapshot.position))
        position = snapshot.position
    journal = Journal(STATE / "journal", at_least=position, filesystem=disk)
    assert journal.recovery.damages == ()
    assert journal.next_position >= service.durable
    expected = journal.first_position
    assert expected <= position
    for number, record in journal.read(expected):
        assert number == expected
        assert same_record(record, service.record_of(number))
        expected += 1
    assert expected >= service.durable
    assert journal.append(service.record_of(expected)) == expected
    journal.close()
    assert Journal(STATE / "journal", filesystem=disk).next_position == expected + 1


def calls_of_a_run(faulty_disk: Any, memory_disk: Any, record_of: Any, state_of: Any) -> int:
    disk = faulty_disk(memory_disk())
    service = Service(disk, record_of, state_of)
    service.run()
    assert (service.durable, service.generation, service.refusals) == (RECORDS, 4, 0)
    assert {name for name, _ in disk.calls} >= {"create", "write", "sync", "rename", "remove", "sync_directory", "list"}
    return len(disk.calls)


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=errno.errorcode.get)
def test_an_error_at_each_call_in_turn(
    error: int,
    lasting: bool,
    faulty_disk: Any,
    memory_disk: Any,
    record_of: Any,
    state_of: Any,
    same_record: Any,
    same_state: Any,
) -> None:
    for fail_at in range(1, calls_of_a_run(faulty_disk, memory_disk, record_of, state_of) + 1):
        memory = memory_disk()
        disk = faulty_disk(memory, fail_at, error, lasting)
        service = Service(disk, record_of, state_of)
        journal = service.run()
        assert disk.struck
        # Now and after a power cut the committed prefix is there …
        check(memory.after_power_cut(random.Random(fail_at)), service, same_record, same_state)
        # … and once the disk is back, so is everything else, in order and once.
        disk.heal()
        if journal is not None:
            assert journal.commit() == RECORDS
            service.durable = RECORDS
            numbers = [number for number, _ in journal.read(journal.first_position)]
            assert numbers == list(range(journal.first_position, RECORDS))
            check(memory.after_power_cut(random.Random(-fail_at)), service, same_record, same_state)


def test_a_power_cut_at_each_call_in_turn(
    faulty_disk: Any,
    memory_disk: Any,
    power_cut: Any,
    record_of: Any,
    state_of: Any,
    same_record: Any,
    same_state: Any,
    long_form: bool,
) -> None:
    calls = calls_of_a_run(faulty_disk, memory_disk, record_of, state_of)
    for seed in range(200 if long_form else 6):
        for cut_at in range(1, calls + 1):
            memory = memory_disk()
            service = Service(faulty_disk(memory, cut_at, power_cut), record_of, state_of)
            with pytest.raises(power_cut):
                service.run()
            survivor = memory.after_power_cut(random.Random(seed * 1000 + cut_at))
            check(survivor, service, same_record, same_state)


def test_a_cut_while_recovering_from_a_cut(
    faulty_disk: Any,
    memory_disk: Any,
    power_cut: Any,
    record_of: Any,
    state_of: Any,
    same_record: Any,
    same_state: Any,
    long_form: bool,
) -> None:
    calls = calls_of_a_run(faulty_disk, memory_disk, record_of, state_of)
    chance = random.Random(4)
    for _ in range(5000 if long_form else 300):
        memory = memory_disk()
        durable = generation = 0
        for _ in range(4):
            service = Service(faulty_disk(memory, chance.randint(1, calls), power_cut), record_of, state_of)
            service.durable, service.generation = durable, generation
            try:
                service.run()
            except power_cut:
                memory = memory.after_power_cut(chance)
            assert service.durable >= durable
            durable, generation = service.durable, service.generation
        check(memory, service, same_record, same_state)


def test_the_simulated_power_cut_takes_what_was_not_synced(memory_disk: Any) -> None:
    memory = memory_disk()
    memory.make_directory(STATE)
    file = memory.create(STATE / "a")
    file.write(b"safe")
    file.sync()
    memory.sync_directory(STATE)
    file.write(b"unsure")
    memory.create(STATE / "b")
    left = [memory.after_power_cut(random.Random(seed)) for seed in range(40)]
    kept = {bytes(disk.open(STATE / "a").read()) for disk in left}
    assert all(data.startswith(b"safe") for data in kept)
    assert {b"safe", b"safeunsure"} <= kept
    assert {tuple(disk.list(STATE)) for disk in left} == {("a",), ("a", "b")}


def test_after_a_failed_fsync_the_records_go_to_a_new_segment(
    faulty_disk: Any, memory_disk: Any, record_of: Any
) -> None:
    disk = faulty_disk(memory_disk())
    journal = Journal(STATE, filesystem=disk)
    journal.append(record_of(0))
    journal.commit()
    journal.append(record_of(1))
    disk.fail_at = len(disk.calls) + 2
    with pytest.raises(StateError, match="nothing was made durable"):
        journal.commit()
    assert disk.calls[-2:] == [("sync", "journal-00000001.log"), ("truncate", "journal-00000001.log")]
    journal.append(record_of(2))
    assert journal.commit() == 3
    assert disk.calls[-4:] == [
        ("create", "journal-00000002.log"),
        ("write", "journal-00000002.log"),
        ("sync", "journal-00000002.log"),
        ("sync_directory", "state"),
    ]
    assert [number for number, _ in journal.read(0)] == [0, 1, 2]


def test_what_was_read_at_opening_survives_a_power_cut_after_it(memory_disk: Any, record_of: Any) -> None:
    memory = memory_disk()
    journal = Journal(STATE, filesystem=memory)
    journal.append(record_of(0))
    journal.commit()
    written = memory.open(STATE / "journal-00000001.log").read()
    # Killed after the write and before the fsync: the page cache has the frame, the disk does not.
    cached = memory_disk()
    cached.make_directory(STATE)
    cached.create(STATE / "journal-00000001.log").write(written)
    assert Journal(STATE, filesystem=cached).next_position == 1
    for seed in range(20):
        survivor = cached.after_power_cut(random.Random(seed))
        assert [number for number, _ in Journal(STATE, filesystem=survivor).read(0)] == [0]
