"""A pace: so many at once, and then so many a second; whoever comes faster is told how long to wait."""

from collections.abc import Callable

__all__ = ["Pace"]


class Pace:
    """A token bucket whose credit may go below zero: each who waits has its place behind the one before.

    Args:
        per_s: how many a second.
        at_once: how many after a pause.
        clock: monotonic seconds.

    Example:
        >>> pace = Pace(2.0, 3.0, lambda: 0.0)
        >>> [pace.wait_s() for _ in range(5)]
        [0.0, 0.0, 0.0, 0.5, 1.0]
    """

    def __init__(self, per_s: float, at_once: float, clock: Callable[[], float]) -> None:
        self._per_s = per_s
        self._at_once = at_once
        self._clock = clock
        self._credit, self._at_s = at_once, clock()

    def wait_s(self) -> float:
        """One more has come: how long it shall wait, seconds."""
        now_s = self._clock()
        self._credit = min(self._at_once, self._credit + (now_s - self._at_s) * self._per_s) - 1.0
        self._at_s = now_s
        return max(0.0, -self._credit / self._per_s)
