"""The replay buffer: windows of the recent past and of all history, within a bound of bytes."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column
from stepahead.contract.errors import StateError
from stepahead.replay.history import Windows

__all__ = ["ReplayBuffer"]


class WindowStore(Bank):
    """Rows of windows as arrays; a row is not a series, but it grows, saves and loads as a bank does."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._names = tuple(columns)
        super().__init__(columns)

    def put(self, rows: NDArray[np.int64], windows: Windows) -> None:
        for name in self._names:
            getattr(self, name)[rows] = getattr(windows, name)

    def take(self, rows: NDArray[np.int64]) -> Windows:
        return Windows(**{name: getattr(self, name)[rows] for name in self._names})


class ReplayBuffer:
    """Half a ring of the newest windows, half a reservoir over all windows ever added.

    The reservoir is Vitter's Algorithm R (ACM TOMS 11(1), 1985): after N windows each of them is in it with
    probability capacity / N.

    Args:
        members: G, series of a unit.
        steps: T, steps of a window.
        context: C, numbers beside the difference at each step.
        max_bytes: bound of both halves together; at least one window each is kept.
        seed: seed of the generator that decides who is kept and who is sampled; it is part of the state.

    Example:
        >>> ReplayBuffer(members=1, steps=4, context=2, max_bytes=4096, seed=0).capacity
        18
    """

    def __init__(self, members: int, steps: int, context: int, max_bytes: int, seed: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(seed))
        columns = Windows.columns(members, steps, context)
        self._recent = WindowStore(columns)
        self._reservoir = WindowStore(columns)
        self.capacity = max(1, max_bytes // (2 * self._recent.bytes_per_series()))
        self.added = 0

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    @property
    def bytes_used(self) -> int:
        """Memory held by both halves."""
        return (self._recent.capacity + self._reservoir.capacity) * self._recent.bytes_per_series()

    def add(self, windows: Windows) -> None:
        """Add windows, in order."""
        if not len(windows):
            return
        number = self.added + np.arange(len(windows))  # how many windows came before each
        self._make_room(int(number[-1]) + 1)
        # Of two windows for one row the later one stays, which NumPy does not promise for repeated rows.
        newest = slice(max(0, len(windows) - self.capacity), None)
        self._recent.put(number[newest] % self.capacity, windows[newest])
        draw = np.floor(self._generator.random(len(windows)) * (number + 1)).astype(np.int64)
        row = np.where(number < self.capacity, number, draw)
        kept = np.flatnonzero(row < self.capacity)
        last_for_row = len(kept) - 1 - np.unique(row[kept][::-1], return_index=True)[1]
        kept = kept[last_for_row]
        self._reservoir.put(row[kept], windows[kept])
        self.added += len(windows)

    def _make_room(self, needed: int) -> None:
        rows = min(self.capacity, max(64, 1 << (needed - 1).bit_length()))
        self._recent.grow(rows)
        self._reservoir.grow(rows)

    def sample(self, n: int, recent_share: float, recent_windows: int) -> Windows:
        """Draw n windows with replacement.

        Args:
            n: number of windows.
            recent_share: share that is drawn from the newest `recent_windows` windows; the rest comes from the
                reservoir, that is from all history.
            recent_windows: how many of the newest windows count as recent.

        Raises:
            ValueError: the buffer is empty.
        """
        if not self.added:
            raise ValueError("the replay buffer is empty")
        n_recent = round(n * recent_share)
        depth = min(len(self), max(1, recent_windows))
        back = np.floor(self._generator.random(n_recent) * depth).astype(np.int64)
        recent = self._recent.take((self.added - 1 - back) % self.capacity)
        rows = np.floor(self._generator.random(n - n_recent) * len(self)).astype(np.int64)
        return Windows.concatenate([recent, self._reservoir.take(rows)])

    def state_dict(self) -> dict[str, Any]:
        """Everything, the generator included, as a tree of arrays, numbers and text."""
        return {
            "recent": self._recent.state_dict(),
            "reservoir": self._reservoir.state_dict(),
            "added": self.added,
            "generator": json.dumps(self._generator.bit_generator.state),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Raises:
            StateError: windows of another shape, or more than this buffer's bound allows.
        """
        if len(state["recent"]["series"]) > self.capacity:
            raise StateError("the stored replay buffer is larger than replay.max_bytes allows")
        self._recent.load_state_dict(state["recent"])
        self._reservoir.load_state_dict(state["reservoir"])
        self.added = int(state["added"])
        self._generator.bit_generator.state = json.loads(state["generator"])
