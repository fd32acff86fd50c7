"""What a peer is, and how it is played through a recording."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stepahead.contract.records import FloatArray
from stepahead.evaluation.recording import Recording

__all__ = ["MakePeer", "Peer", "PeerPlay", "play_peer", "season_of"]

DAY_NS = 86_400 * 10**9
LONGEST_SEASON = 1440


class Peer(Protocol):
    """A forecaster of one series."""

    def forecast(self) -> float:
        """The next value; NaN while it is not ready."""
        ...

    def learn(self, value: float, time_ns: int) -> None:
        """Take in one finite reading."""
        ...


MakePeer = Callable[[int | None, int], Peer]
"""`(season in readings or None, seed) -> peer`."""


@dataclass(frozen=True, slots=True)
class PeerPlay:
    """What a peer said.

    Attributes:
        forecast: float64[rows, C]; NaN where it had none.
        us_per_reading: microseconds for one forecast and one learning.
    """

    forecast: FloatArray
    us_per_reading: float


def season_of(recording: Recording) -> int | None:
    """Readings in a day, when the recording's usual period divides it well; None otherwise.

    A user would tell a peer its season, so the harness does: a day is the season of most sensors.
    """
    steps = np.diff(recording.time_ns)
    forward = steps[steps > 0]
    if len(forward) == 0:
        return None
    season = round(DAY_NS / float(np.median(forward)))
    return season if 2 <= season <= min(LONGEST_SEASON, len(recording) // 3) else None


def play_peer(
    recording: Recording,
    make: MakePeer,
    seed: int,
    advance: Callable[[int], None] = lambda rows: None,
    clock: Callable[[], float] = time.perf_counter,
) -> PeerPlay:
    """Play a recording through a peer, one fresh peer per column, predict-then-learn.

    Args:
        recording: R rows, C columns; cells without a reading are skipped.
        make: makes the peer of one column.
        seed: for peers that draw at random.
        advance: called with a number of rows done, which sums to R.
        clock: seconds, for the speed.
    """
    rows, columns = recording.value.shape
    forecast = np.full((rows, columns), np.nan)
    season = season_of(recording)
    readings, seconds, done = 0, 0.0, 0
    for column in range(columns):
        peer = make(season, seed)
        present = np.flatnonzero(recording.present[:, column])
        times, values = recording.time_ns[present].tolist(), recording.value[present, column].tolist()
        for row, time_ns, value in zip(present.tolist(), times, values, strict=True):
            began = clock()
            forecast[row, column] = peer.forecast()
            peer.learn(value, time_ns)
            seconds += clock() - began
            due = (column * rows + row + 1) // columns
            if due > done:
                advance(due - done)
                done = due
        readings += len(present)
    advance(rows - done)
    return PeerPlay(forecast, 1e6 * seconds / max(readings, 1))
