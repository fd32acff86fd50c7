"""A pack stays as long as a snapshot that is kept may need it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from stepahead.service.shelf import PackShelf
from stepahead.storage.packs import PackStore

ROWS = np.arange(12, dtype=np.uint8).reshape(3, 4)


def laid(shelf: PackShelf) -> int:
    shelf.begin(ROWS)
    pack = shelf.poll()
    assert pack is not None
    return pack


@pytest.mark.parametrize("generations", [1, 3])
def test_a_spare_pack_goes_when_all_kept_snapshots_are_younger(tmp_path: Path, generations: int) -> None:
    store = PackStore(tmp_path)
    shelf = PackShelf(store, generations)
    pack, other = laid(shelf), laid(shelf)
    shelf.captured()
    shelf.written()  # this one needs it
    shelf.spare(pack)
    for younger in range(generations):
        assert store.numbers() == [pack, other], younger
        shelf.captured()
        shelf.written()
    assert store.numbers() == [other]


def test_a_snapshot_that_failed_counts_for_nothing(tmp_path: Path) -> None:
    store = PackStore(tmp_path)
    shelf = PackShelf(store, generations=1)
    pack = laid(shelf)
    shelf.spare(pack)
    for _ in range(5):
        shelf.captured()  # and never written
    assert store.numbers() == [pack]
    shelf.captured()
    shelf.written()
    assert store.numbers() == []


def test_what_became_spare_while_a_snapshot_was_written_is_needed_by_it(tmp_path: Path) -> None:
    store = PackStore(tmp_path)
    shelf = PackShelf(store, generations=1)
    pack = laid(shelf)
    shelf.captured()
    shelf.spare(pack)
    shelf.written()
    assert store.numbers() == [pack]
    shelf.captured()
    shelf.written()
    assert store.numbers() == []


def test_what_an_earlier_life_left_goes_too_but_not_before_its_snapshots(tmp_path: Path) -> None:
    first = PackShelf(PackStore(tmp_path), generations=2)
    packs = [laid(first) for _ in range(3)]
    store = PackStore(tmp_path)
    second = PackShelf(store, generations=2)
    assert second.found([packs[1], 77]) == [77]
    second.captured()
    second.written()
    assert store.numbers() == packs
    second.captured()
    second.written()
    assert store.numbers() == [packs[1]]


def test_a_thread_writes_and_nobody_waits(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as beside:
        shelf = PackShelf(PackStore(tmp_path), generations=1, beside=beside)
        shelf.begin(ROWS)
        assert shelf.busy
        while (pack := shelf.poll()) is None:
            assert shelf.busy
        assert not shelf.busy
        assert shelf.poll() is None
        np.testing.assert_array_equal(shelf.read(pack, np.array([2, 0]), 4), ROWS[[2, 0]])


def test_a_disk_that_refuses_is_told_of(tmp_path: Path) -> None:
    store = PackStore(tmp_path / "silent")
    (tmp_path / "silent").write_text("a file where a directory should be")
    shelf = PackShelf(store, generations=1)
    shelf.begin(ROWS)
    assert shelf.poll() is None
    assert not shelf.busy
    assert "pack 1 in" in (shelf.trouble or "")
