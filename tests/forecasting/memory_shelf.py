"""A shelf in memory, as slow and as unwilling as a test wants it."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.errors import StateError
from stepahead.contract.records import IntArray


class MemoryShelf:
    """Packs by number.

    Args:
        polls: a pack is safe when it was asked for so many times.
        refuses: whether the pack with this number fails.
    """

    def __init__(self, polls: int = 0, refuses: Callable[[int], bool] = lambda number: False) -> None:
        self.polls, self.refuses = polls, refuses
        self.packs: dict[int, NDArray[np.uint8]] = {}
        self.begun = 0
        self.spared: set[int] = set()
        self.reads = 0
        self.waits: int | None = None
        self.unreadable = False

    @property
    def busy(self) -> bool:
        return self.waits is not None

    def begin(self, rows: NDArray[np.uint8]) -> None:
        assert not self.busy
        self.begun += 1
        self.packs[self.begun] = rows.copy()
        self.waits = self.polls

    def poll(self) -> int | None:
        if self.waits is None:
            return None
        if self.waits:
            self.waits -= 1
            return None
        self.waits = None
        if self.refuses(self.begun):
            del self.packs[self.begun]
            return None
        return self.begun

    def read(self, pack: int, rows: IntArray, size: int) -> NDArray[np.uint8]:
        assert pack not in self.spared
        self.reads += 1
        if self.unreadable:
            raise StateError("it cannot be read")
        return self.packs[pack][rows]

    def spare(self, pack: int) -> None:
        assert pack not in self.spared
        self.spared.add(pack)
