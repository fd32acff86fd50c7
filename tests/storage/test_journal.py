"""The journal gives back what was appended, whatever happens to its last segment."""

import random
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepahead.contract.errors import StateError
from stepahead.storage.journal import Journal
from stepahead.storage.record import Record, encode_record
from stepahead.storage.segment import frames, pack_header


def contents(journal: Journal, from_position: int = 0) -> list[int]:
    read = list(journal.read(from_position))
    assert [record.meta["number"] for _, record in read] == [position for position, _ in read]
    return [position for position, _ in read]


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("journal-*.log"))


@settings(deadline=None, max_examples=60)
@given(
    steps=st.lists(st.sampled_from(["append", "commit", "reopen", "truncate"]), max_size=60),
    segment_bytes=st.sampled_from([1, 300, 10_000]),
)
def test_any_sequence_of_steps_keeps_what_was_committed(
    tmp_path_factory: Any, steps: list[str], segment_bytes: int, record_of: Any, same_record: Any
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    journal = Journal(directory, segment_bytes=segment_bytes)
    appended = committed = truncated = 0
    for step in steps:
        if step == "append":
            assert journal.append(record_of(appended)) == appended
            appended += 1
        elif step == "commit":
            committed = appended
            assert journal.commit() == committed
        elif step == "reopen":
            journal = Journal(directory, segment_bytes=segment_bytes)  # without close: what waited is gone
            appended = committed
        else:
            truncated = max(truncated, committed - 2)
            journal.truncate_before(truncated)
        assert (journal.durable_position, journal.next_position) == (committed, appended)
        assert journal.first_position <= max(0, truncated)
        assert journal.bytes_on_disk == sum(path.stat().st_size for path in segments(directory))
        read = list(journal.read(truncated))
        assert [position for position, _ in read] == list(range(truncated, committed))
        assert all(same_record(record, record_of(position)) for position, record in read)
    journal.close()


def test_cut_at_every_length_the_committed_records_before_the_cut_are_there(
    numbered_journal: Path, memory_disk: Any, record_of: Any, same_record: Any
) -> None:
    data = segments(numbered_journal)[0].read_bytes()
    directory = Path("/state")
    records = [record_of(number) for number in range(30)]
    ends = [frame.end for frame in frames(data, "here")]
    assert len(ends) == 30
    for length in range(len(data) + 1):
        disk = memory_disk()
        disk.make_directory(directory)
        file = disk.create(directory / "journal-00000001.log")
        file.write(data[:length])
        journal = Journal(directory, filesystem=disk)
        whole = sum(end <= length for end in ends)
        read = list(journal.read(0))
        assert [position for position, _ in read] == list(range(whole))
        assert all(same_record(record, records[position]) for position, record in read[-3:])
        assert journal.recovery.torn_bytes == length - (ends[whole - 1] if whole else 0)
        assert not journal.recovery.damages
        if whole < 30 and length % 7 == 0:
            assert journal.append(records[whole]) == whole
            journal.close()
            assert contents(Journal(directory, filesystem=disk)) == list(range(whole + 1))


@pytest.mark.parametrize("tail", [bytes(5000), random.Random(1).randbytes(5000), b"saJ\x01" * 1000])
def test_a_tail_of_anything_is_cut_off_and_counted(numbered_journal: Path, tail: bytes) -> None:
    [segment] = segments(numbered_journal)
    size = segment.stat().st_size
    with segment.open("ab") as file:
        file.write(tail)
    journal = Journal(numbered_journal)
    assert journal.recovery.torn_bytes == len(tail)
    assert contents(journal) == list(range(30))
    assert segment.stat().st_size == size


def test_blocks_of_the_last_commit_that_came_out_of_order_are_a_torn_tail(tmp_path: Path, record_of: Any) -> None:
    journal = Journal(tmp_path)
    for number in range(10):
        journal.append(record_of(number))
        if number == 4:
            journal.commit()
    journal.close()
    [segment] = segments(tmp_path)
    data = bytearray(segment.read_bytes())
    found = list(frames(data, "here"))
    data[found[6].start : found[6].end] = bytes(found[6].end - found[6].start)
    segment.write_bytes(data)
    journal = Journal(tmp_path)
    assert contents(journal) == list(range(6))
    assert journal.recovery.torn_bytes == len(data) - found[5].end
    assert journal.recovery.damages == ()


def test_damage_before_the_last_commit_is_named_and_what_lies_behind_can_be_read(numbered_journal: Path) -> None:
    [segment] = segments(numbered_journal)
    data = bytearray(segment.read_bytes())
    frame = list(frames(data, "here"))[10]
    data[frame.end - 1] ^= 1
    segment.write_bytes(data)
    journal = Journal(numbered_journal)
    words = f"{segment.name} is damaged at offset {frame.start}: records 10 to 10 cannot be read"
    with pytest.raises(StateError, match=words):
        list(journal.read(0))
    with pytest.raises(StateError, match=words):
        list(journal.read(10))
    assert contents(journal, 11) == list(range(11, 30))
    assert [words in damage for damage in journal.recovery.damages] == [True]
    assert journal.next_position == 30


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_segment_that_is_gone_or_cut_is_noticed(tmp_path: Path, lost: int, record_of: Any) -> None:
    journal = Journal(tmp_path, segment_bytes=1)
    for number in range(4):
        journal.append(record_of(number))
        journal.commit()
    journal.close()
    paths = segments(tmp_path)
    assert len(paths) == 4
    paths[lost].write_bytes(paths[lost].read_bytes()[:-1])
    with pytest.raises(StateError, match=rf"records {lost} to {lost}"):
        list(Journal(tmp_path).read(0))
    paths[lost].unlink()
    with pytest.raises(StateError, match=rf"records {lost} to {lost}"):
        list(Journal(tmp_path).read(0))
    assert contents(Journal(tmp_path), lost + 1) == list(range(lost + 1, 4))


def test_a_frame_of_another_version_is_refused_in_words(numbered_journal: Path) -> None:
    header = bytearray(pack_header(30, 30, 0, 0))
    header[4] = 2
    header[32:] = struct.pack("<I", zlib.crc32(header[:32]))
    with segments(numbered_journal)[0].open("ab") as file:
        file.write(header)
    with pytest.raises(StateError, match=r"version 2.*start the release that wrote it"):
        Journal(numbered_journal)


def test_positions_never_fall_below_the_snapshots(tmp_path: Path, record_of: Any) -> None:
    journal = Journal(tmp_path, at_least=100)
    assert journal.append(record_of(100)) == 100
    journal.close()
    journal = Journal(tmp_path, at_least=50)
    assert journal.next_position == 101
    assert contents(journal, 100) == [100]
    with pytest.raises(StateError, match="records 50 to 99 are not there"):
        list(journal.read(50))


def test_old_segments_go_and_the_newest_stays(tmp_path: Path, record_of: Any) -> None:
    journal = Journal(tmp_path, segment_bytes=1)
    for number in range(6):
        journal.append(record_of(number))
        journal.commit()
    before = journal.bytes_on_disk
    freed = journal.truncate_before(3)
    assert (journal.first_position, len(segments(tmp_path)), journal.bytes_on_disk) == (3, 3, before - freed)
    journal.truncate_before(1000)
    assert len(segments(tmp_path)) == 1
    journal.close()
    journal = Journal(tmp_path, segment_bytes=1)
    journal.truncate_before(1000)
    assert journal.next_position == 6
    assert contents(journal, 5) == [5]


def test_nothing_is_reported_durable_before_the_fsync(faulty_disk: Any, memory_disk: Any, record_of: Any) -> None:
    disk = faulty_disk(memory_disk())
    journal = Journal(Path("/state/journal"), filesystem=disk)
    for group in range(3):
        journal.append(record_of(2 * group))
        journal.append(record_of(2 * group + 1))
        del disk.calls[:]
        assert journal.durable_position == 2 * group
        assert journal.commit() == 2 * group + 2
        names = [name for name, _ in disk.calls]
        assert names == (["create", "write", "sync", "sync_directory"] if group == 0 else ["write", "sync"])
    del disk.calls[:]
    assert journal.commit() == 6
    assert disk.calls == []


def test_a_commit_is_due_after_the_interval(tmp_path: Path, record_of: Any) -> None:
    now = 10.0
    journal = Journal(tmp_path, commit_interval_s=0.02, clock=lambda: now)
    assert journal.due_in_s() is None
    journal.append(record_of(0))
    now += 0.015
    journal.append(record_of(1))
    assert journal.due_in_s() == pytest.approx(0.005)
    assert journal.commit_due() == 0
    now += 0.006
    assert journal.commit_due() == 2
    assert journal.due_in_s() is None
    journal.append(Record("batch", {}, {"x": np.zeros(2**17 - 100)}))
    assert journal.due_in_s() == pytest.approx(0.02)
    journal.append(Record("batch", {}, {"x": np.zeros(100)}))
    assert journal.commit_due() == 4


def test_memory_is_bounded_while_the_disk_refuses(faulty_disk: Any, memory_disk: Any, record_of: Any) -> None:
    disk = faulty_disk(memory_disk())
    journal = Journal(Path("/state"), filesystem=disk, max_pending_bytes=1000)
    disk.fail_at, disk.lasting = len(disk.calls) + 1, True
    taken = 0
    while journal.pending_bytes < 900:
        journal.append(record_of(taken))
        taken += 1
        with pytest.raises(StateError, match="nothing was made durable"):
            journal.commit()
    with pytest.raises(StateError, match="no more are taken"):
        journal.append(Record("batch", {"number": taken}, {"x": np.zeros(100)}))
    assert 0 < journal.pending_bytes <= 1000
    assert journal.failures == taken
    disk.heal()
    assert journal.commit() == taken
    assert contents(journal) == list(range(taken))


def test_one_thread_appends_while_another_commits(tmp_path: Path, record_of: Any) -> None:
    journal = Journal(tmp_path, segment_bytes=5000)
    done = threading.Event()
    reported: list[int] = []

    def commit() -> None:
        while not done.is_set():
            reported.append(journal.commit())

    thread = threading.Thread(target=commit)
    thread.start()
    for number in range(500):
        assert journal.append(record_of(number)) == number
    done.set()
    thread.join()
    journal.close()
    assert reported == sorted(reported)
    assert contents(Journal(tmp_path)) == list(range(500))


def test_a_picture_of_a_frame_inside_a_record_is_not_a_record(tmp_path: Path) -> None:
    picture = pack_header(7, 7, 0, 0)
    journal = Journal(tmp_path)
    journal.append(Record("batch", {"number": 0}, {"x": np.frombuffer(picture * 20, np.uint8)}))
    journal.append(Record("batch", {"number": 1}))
    journal.close()
    assert contents(Journal(tmp_path)) == [0, 1]


def test_records_of_a_segment_that_was_given_up_yield_to_those_written_anew(tmp_path: Path) -> None:
    def segment(number: int, first: int, durable: int, values: list[int]) -> None:
        data = b""
        for position, value in enumerate(values, first):
            body = encode_record(Record("batch", {"value": value}))
            data += pack_header(position, durable, len(body), zlib.crc32(body)) + body
        (tmp_path / f"journal-{number:08d}.log").write_bytes(data)

    segment(1, 0, 0, [10, 11, 12, 13, 14])
    segment(2, 2, 2, [22, 23])
    journal = Journal(tmp_path)
    assert [record.meta["value"] for _, record in journal.read(0)] == [10, 11, 22, 23]
    assert journal.next_position == 4
    assert journal.recovery.damages == ()
    segment(3, 0, 0, [30])
    assert [record.meta["value"] for _, record in Journal(tmp_path).read(0)] == [30]
