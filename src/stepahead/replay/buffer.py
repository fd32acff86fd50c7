"""The replay buffer: windows of the recent past and of all history, within a bound of bytes."""

import json
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank
from stepahead.contract.errors import StateError
from stepahead.replay.history import Windows

__all__ = ["ReplayBuffer"]


class WindowStore(Bank):
    """Rows of windows as arrays; a row is not a series, but it grows, saves and loads as a bank does."""

    def note(self, rows: NDArray[np.int64], windows: Windows) -> None:
        """Put windows into these rows."""
        self.put(rows, {name: getattr(windows, name) for name in self.columns})

    def windows(self, rows: NDArray[np.int64]) -> Windows:
        """The windows in these rows."""
        return Windows(**self.take(rows))


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
        newest = windows if len(windows) <= self.capacity else windows[-self.capacity :]
        self._recent.note(number[-self.capacity :] % self.capacity, newest)
        draw = np.floor(self._generator.random(len(windows)) * (number + 1)).astype(np.int64)
        if number[-1] < self.capacity:
            self._reservoir.note(number, windows)
        else:
            row = np.where(number < self.capacity, number, draw)
            kept = np.flatnonzero(row < self.capacity)
            last_for_row = len(kept) - 1 - np.unique(row[kept][::-1], return_index=True)[1]
            kept = kept[last_for_row]
            self._reservoir.note(row[kept], windows[kept])
        self.added += len(windows)

    def _make_room(self, needed: int) -> None:
        rows = min(self.capacity, max(64, 1 << (needed - 1).bit_length()))
        self._recent.grow(rows)
        self._reservoir.grow(rows)

    def sample(self, n: int, recent_share: float, recent_windows: int, batches: int = 1) -> Windows:
        """Draw batches of n windows with replacement, one batch after the other.

        Args:
            n: windows of a batch.
            recent_share: share of a batch that is drawn from the newest `recent_windows` windows, and comes first; the
                rest comes from the reservoir, that is from all history.
            recent_windows: how many of the newest windows count as recent.
            batches: how many.

        Raises:
            ValueError: the buffer is empty.
        """
        if not self.added:
            raise ValueError("the replay buffer is empty")
        n_recent = round(n * recent_share)
        depth = min(len(self), max(1, recent_windows))
        draws = [
            (self._generator.random(n_recent) * depth, self._generator.random(n - n_recent) * len(self))
            for _ in range(batches)
        ]
        back = np.floor(np.concatenate([recent for recent, _ in draws])).astype(np.int64)
        rows = np.floor(np.concatenate([rest for _, rest in draws])).astype(np.int64)
        recent = self._recent.windows((self.added - 1 - back) % self.capacity)
        return in_turn(recent, self._reservoir.windows(rows), batches)

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


def in_turn(some: Windows, others: Windows, times: int) -> Windows:
    """An equal share of some windows, then one of the others, so many times, until both are used up.

    Example:
        >>> column = {name: np.empty((0,)) for name in Windows.__slots__}
        >>> some, others = (Windows(**column | {"series": np.array(series)}) for series in ([1, 2], [3, 4, 5, 6]))
        >>> in_turn(some, others, 2).series.tolist()
        [1, 3, 4, 2, 5, 6]
    """

    def column(name: str) -> NDArray[Any]:
        parts = [getattr(part, name) for part in (some, others)]
        shares = [part.reshape(times, len(part) // times, *part.shape[1:]) for part in parts]
        return np.concatenate(shares, axis=1).reshape(-1, *parts[0].shape[1:])

    return Windows(*(column(field.name) for field in fields(Windows)))
