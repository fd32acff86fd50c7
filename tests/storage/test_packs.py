"""Packs: what `write` said is on the disk, whatever the disk does; damage is found."""

import errno
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stepahead.contract.errors import StateError
from stepahead.storage.packs import PackStore

SILENT = Path("/state/silent")


def numbered(seed: int, count: int = 5, size: int = 40) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, size)).astype(np.uint8)


def test_rows_come_back_to_the_bit_in_any_order_and_numbers_go_on(tmp_path: Path) -> None:
    store = PackStore(tmp_path / "silent")
    assert store.numbers() == []
    assert not (tmp_path / "silent").exists()
    packs = {store.write(numbered(seed, count=1 + seed)): seed for seed in range(4)}
    assert store.numbers() == list(packs) == [1, 2, 3, 4]
    for number, seed in packs.items():
        rows = numbered(seed, count=1 + seed)
        order = [int(row) for row in np.random.default_rng(seed).permutation(1 + seed)]
        np.testing.assert_array_equal(store.read(number, order, 40), rows[order])
        assert store.check(number) == store.path(number).stat().st_size
        assert store.path(number).stat().st_mode & 0o777 == 0o600
    store.remove(2)
    store.remove(2)
    again = PackStore(tmp_path / "silent")
    assert again.numbers() == [1, 3, 4]
    assert again.write(numbered(9)) == 5


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=errno.errorcode.get)
def test_an_error_at_each_call_leaves_what_was_written(
    error: int, lasting: bool, memory_disk: Any, faulty_disk: Any
) -> None:
    counting = faulty_disk(memory_disk())
    run(counting)
    assert {name for name, _ in counting.calls} >= {"make_directory", "create", "write", "sync", "sync_directory"}
    for fail_at in range(2, len(counting.calls) + 1):  # the first lists, at a start: refused in words
        memory = memory_disk()
        disk = faulty_disk(memory, fail_at, error, lasting)
        written = run(disk)
        assert disk.struck
        for kept in (memory, memory.after_power_cut(random.Random(fail_at))):
            check(kept, written)
        disk.heal()
        store = PackStore(SILENT, disk)
        number = store.write(numbered(99))
        assert number > max(written, default=0)
        check(memory.after_power_cut(random.Random(-fail_at)), {**written, number: 99})


def test_a_power_cut_at_each_call_leaves_what_was_written(memory_disk: Any, faulty_disk: Any, power_cut: Any) -> None:
    counting = faulty_disk(memory_disk())
    run(counting)
    for fail_at in range(1, len(counting.calls) + 1):
        memory = memory_disk()
        written: dict[int, int] = {}
        with pytest.raises(power_cut):
            run(faulty_disk(memory, fail_at, power_cut), written)
        check(memory.after_power_cut(random.Random(fail_at)), written)


def run(disk: Any, written: dict[int, int] | None = None) -> dict[int, int]:
    """Three packs, as far as they go: number -> seed."""
    written = {} if written is None else written
    store = PackStore(SILENT, disk)
    for seed in range(3):
        try:
            written[store.write(numbered(seed))] = seed
        except StateError as refusal:
            assert "cannot be written" in str(refusal)  # noqa: PT017
    return written


def check(disk: Any, written: dict[int, int]) -> None:
    store = PackStore(SILENT, disk)
    for number, seed in written.items():
        np.testing.assert_array_equal(store.read(number, range(5), 40), numbered(seed))
        assert store.check(number)


def test_every_flipped_bit_and_every_cut_is_found(tmp_path: Path) -> None:
    store = PackStore(tmp_path)
    number = store.write(numbered(1, count=2, size=16))
    whole = store.path(number).read_bytes()
    for bit in range(8 * len(whole)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        store.path(number).write_bytes(data)
        with pytest.raises(StateError, match="checksum"):
            store.check(number)
    for length in range(len(whole)):
        store.path(number).write_bytes(whole[:length])
        with pytest.raises(StateError, match="checksum"):
            store.check(number)
        with pytest.raises(StateError, match=r"read|cut off"):
            store.read(number, [0, 1], 16)


def test_rows_that_are_not_there_are_refused(tmp_path: Path) -> None:
    store = PackStore(tmp_path)
    number = store.write(numbered(1))
    for rows, size in (([5], 40), ([0], 41), ([0], 39)):
        with pytest.raises(StateError, match="does not hold"):
            store.read(number, rows, size)
    with pytest.raises(StateError, match="cannot be read"):
        store.read(7, [0], 40)
