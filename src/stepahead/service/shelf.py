"""The shelf for the state of silent series: packs in the state directory, written beside the stream.

A pack that the living state needs no more may still be needed by a snapshot. So it stays until as many snapshots have
been written since as are kept.
"""

import contextlib
from collections import deque
from collections.abc import Collection
from concurrent.futures import Executor, Future

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.errors import StateError
from stepahead.contract.records import IntArray
from stepahead.storage.packs import PackStore

__all__ = ["PackShelf"]


class PackShelf:
    """Lays rows down in the packs of a store.

    Args:
        store: of the packs.
        generations: snapshots that are kept.
        beside: a thread for the writing; None = it is done in the caller's.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     shelf = PackShelf(PackStore(Path(directory) / "silent"), generations=2)
        ...     shelf.begin(np.ones((3, 4), np.uint8))
        ...     pack = shelf.poll()
        ...     pack, shelf.busy, shelf.read(pack, np.array([1]), 4).tolist()
        (1, False, [[1, 1, 1, 1]])
    """

    def __init__(self, store: PackStore, generations: int, beside: Executor | None = None) -> None:
        self._store = store
        self._beside = beside
        self._under_way: Future[int] | None = None
        self._captures = 0
        self._kept: deque[int] = deque(maxlen=generations)  # captures that the kept snapshots were made from
        self._spare: dict[int, int] = {}  # pack -> captures that were made before it became so
        self.trouble: str | None = None
        """Why the last pack could not be written, in words."""

    @property
    def busy(self) -> bool:
        """Whether a pack is being written, or what became of it was not told yet."""
        return self._under_way is not None

    def begin(self, rows: NDArray[np.uint8]) -> None:
        """Start to write a pack; only when not busy."""
        if self._beside is not None:
            self._under_way = self._beside.submit(self._store.write, rows)
            return
        self._under_way = Future()
        try:
            self._under_way.set_result(self._store.write(rows))
        except StateError as error:
            self._under_way.set_exception(error)

    def poll(self) -> int | None:
        """The number of the pack that is on the disk now, once; None while it is not, and when it failed."""
        if self._under_way is None or not self._under_way.done():
            return None
        done, self._under_way = self._under_way, None
        self.trouble = None
        try:
            return done.result()
        except StateError as error:
            self.trouble = str(error)
            return None

    def read(self, pack: int, rows: IntArray, size: int) -> NDArray[np.uint8]:
        """Rows of a pack.

        Raises:
            StateError: they cannot be read.
        """
        return self._store.read(pack, rows.tolist(), size)

    def spare(self, pack: int) -> None:
        """The living state needs nothing of this pack any more."""
        self._spare[pack] = self._captures

    def found(self, living: Collection[int]) -> list[int]:
        """Told at a start which packs the living state needs; which of them are missing."""
        there = self._store.numbers()
        self._spare |= dict.fromkeys(set(there) - set(living), 0)
        return sorted(set(living) - set(there))

    def captured(self) -> None:
        """The state is being copied for a snapshot."""
        self._captures += 1

    def written(self) -> None:
        """The snapshot is on the disk: packs that no kept one needs can go."""
        self._kept.append(self._captures)
        if len(self._kept) == self._kept.maxlen:
            for pack in [pack for pack, captures in self._spare.items() if captures < self._kept[0]]:
                with contextlib.suppress(StateError):  # a disk that refuses is asked again at the next snapshot
                    self._store.remove(pack)
                    del self._spare[pack]
