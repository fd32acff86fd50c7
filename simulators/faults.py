"""What goes wrong with real sensors, done on purpose and counted.

A `Track` is what one sensor sends, in the order of sending; a fault takes a track and gives the damaged one. Faults
go on from track to track, so that a feed may be damaged piece by piece, and each counts what it did.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from stepahead.contract.errors import UsageError
from stepahead.contract.records import BoolArray, FloatArray, IntArray

__all__ = [
    "FAULTS",
    "NAN",
    "NUMBER",
    "TEXT",
    "Dropouts",
    "Duplicates",
    "Fault",
    "Garbage",
    "Late",
    "LevelShifts",
    "Spikes",
    "Stuck",
    "Track",
    "fault",
]

NUMBER, NAN, TEXT = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Track:
    """What one sensor sends, in the order of sending.

    Attributes:
        time_ns: int64[n], time of the reading, UTC nanoseconds.
        value: float64[n].
        kind: int8[n], `NUMBER`, `NAN` (sent as NaN) or `TEXT` (sent as a word).
    """

    time_ns: IntArray
    value: FloatArray
    kind: np.ndarray[tuple[int], np.dtype[np.int8]]

    @classmethod
    def of(cls, time_ns: IntArray, value: FloatArray) -> "Track":
        """A track of plain numbers."""
        return cls(time_ns, value, np.zeros(len(value), dtype=np.int8))

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, rows: IntArray | BoolArray) -> "Track":
        return Track(self.time_ns[rows], self.value[rows], self.kind[rows])


class Fault(ABC):
    """A kind of damage that strikes each reading with probability `rate`; `count` says how often it did so far.

    Args:
        rate: 0 to 1.
        seed: of the choice of readings.

    Raises:
        UsageError: the rate is out of range.
    """

    def __init__(self, rate: float = 0.01, seed: int = 0) -> None:
        if not 0 <= rate <= 1:
            raise UsageError(f"rate of a fault is {rate}, allowed is 0 to 1")
        self.rate = rate
        self.count = 0
        self._rng = np.random.default_rng(seed)

    @abstractmethod
    def apply(self, track: Track) -> Track:
        """The damaged track; the one given is left as it is."""

    def _strike(self, n: int) -> BoolArray:
        struck = self._rng.random(n) < self.rate
        self.count += int(struck.sum())
        return struck

    def _strike_runs(self, n: int, length: int) -> tuple[BoolArray, IntArray]:
        """Rows within a run of `length` from a struck row on, and for each the row at which its run began."""
        start = np.where(self._strike(n), np.arange(n), -length)
        began = np.maximum.accumulate(start) if n else start
        return np.arange(n) - began < length, began


class Spikes(Fault):
    """Single readings are off by `size` standard deviations of the track, up or down.

    Example:
        >>> fault = Spikes(rate=0.5, seed=1)
        >>> damaged = fault.apply(Track.of(np.arange(100), np.sin(np.arange(100.0))))
        >>> int((damaged.value != np.sin(np.arange(100.0))).sum()) == fault.count > 0
        True
    """

    def __init__(self, rate: float = 0.01, size: float = 8.0, seed: int = 0) -> None:
        super().__init__(rate, seed)
        self.size = size

    def apply(self, track: Track) -> Track:
        """Add the spikes."""
        struck = self._strike(len(track))
        sign = np.where(self._rng.random(len(track)) < 0.5, -1.0, 1.0)
        scale = float(np.std(track.value)) if len(track) else 0.0
        height = self.size * (scale or 1.0)
        return Track(track.time_ns, track.value + np.where(struck, sign * height, 0.0), track.kind)


class Stuck(Fault):
    """The sensor repeats its value for `length` readings; counted are the runs begun."""

    def __init__(self, rate: float = 0.001, length: int = 50, seed: int = 0) -> None:
        super().__init__(rate, seed)
        self.length = length

    def apply(self, track: Track) -> Track:
        """Hold the value at the begin of each run."""
        inside, began = self._strike_runs(len(track), self.length)
        source = np.where(inside, began, np.arange(len(track)))
        return Track(track.time_ns, track.value[source], track.kind)


class Dropouts(Fault):
    """`length` readings in a row are missing; counted are the readings lost."""

    def __init__(self, rate: float = 0.001, length: int = 20, seed: int = 0) -> None:
        super().__init__(rate, seed)
        self.length = length

    def apply(self, track: Track) -> Track:
        """Leave out the rows of each run."""
        before = self.count
        inside, _ = self._strike_runs(len(track), self.length)
        self.count = before + int(inside.sum())
        return track[~inside]


class Duplicates(Fault):
    """A reading is sent twice in a row."""

    def apply(self, track: Track) -> Track:
        """Repeat the struck rows."""
        return track[np.repeat(np.arange(len(track)), 1 + self._strike(len(track)))]


class Late(Fault):
    """A reading is sent after up to `delay` of its followers, with the time at which it was taken.

    Counted are the readings that really arrive behind a newer one; the last of a track has none to be behind.
    """

    def __init__(self, rate: float = 0.01, delay: int = 5, seed: int = 0) -> None:
        super().__init__(rate, seed)
        self.delay = delay

    def apply(self, track: Track) -> Track:
        """Send the struck rows later."""
        before = self.count
        row = np.arange(len(track))
        order = np.argsort(row + np.where(self._strike(len(track)), self.delay + 0.5, 0.0), kind="stable")
        newest = np.maximum.accumulate(order) if len(order) else order
        self.count = before + int((order < newest).sum())
        return track[order]


class LevelShifts(Fault):
    """The level moves by `size` standard deviations of the track, up or down, and stays there."""

    def __init__(self, rate: float = 0.0005, size: float = 5.0, seed: int = 0) -> None:
        super().__init__(rate, seed)
        self.size = size
        self._offset = 0.0

    def apply(self, track: Track) -> Track:
        """Add the shifts so far."""
        struck = self._strike(len(track))
        sign = np.where(self._rng.random(len(track)) < 0.5, -1.0, 1.0)
        scale = float(np.std(track.value)) if len(track) else 0.0
        offset = self._offset + np.cumsum(np.where(struck, sign * self.size * (scale or 1.0), 0.0))
        self._offset = float(offset[-1]) if len(offset) else self._offset
        return Track(track.time_ns, track.value + offset, track.kind)


class Garbage(Fault):
    """The payload holds NaN or a word where the number belongs, in equal shares."""

    def apply(self, track: Track) -> Track:
        """Mark the struck rows."""
        struck = self._strike(len(track))
        kind = np.where(self._rng.random(len(track)) < 0.5, NAN, TEXT).astype(np.int8)
        return Track(track.time_ns, track.value, np.where(struck, kind, track.kind))


FAULTS: dict[str, type[Fault]] = {
    "spikes": Spikes,
    "stuck": Stuck,
    "dropouts": Dropouts,
    "duplicates": Duplicates,
    "late": Late,
    "shifts": LevelShifts,
    "garbage": Garbage,
}


def fault(name: str, seed: int = 0) -> Fault:
    """A fault with its usual rate, by name.

    Raises:
        UsageError: no fault has this name.
    """
    if name not in FAULTS:
        raise UsageError(f"fault {name!r} is unknown, allowed are: {', '.join(FAULTS)}")
    return FAULTS[name](seed=seed)
