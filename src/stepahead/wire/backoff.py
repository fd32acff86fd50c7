"""How long to wait before the next attempt to connect."""

from collections.abc import Callable

__all__ = ["Backoff"]

STABLE_S = 2.5
"""A connection that lived so long was a good one: the next pause starts small again.

Longer than the longest pause that is set by default, so that two clients with one client id do not call theirs good;
and shorter than it takes to find a connection dead, so that the pause behind such a one is always short.
"""


class Backoff:
    """Exponential pauses with jitter, so that many clients of a restarted broker do not come all at once.

    The n-th pause is uniform between half of and the whole of `min(max_s, min_s · 2ⁿ)` ("equal jitter",
    M. Brooker, Exponential Backoff and Jitter, AWS Architecture Blog, 2015).

    Args:
        min_s: ceiling of the first pause, seconds.
        max_s: ceiling of every pause, seconds.
        jitter: draws from [0, 1).

    Example:
        >>> backoff = Backoff(0.5, 4.0, jitter=lambda: 1.0)
        >>> [backoff.next_pause_s() for _ in range(5)]
        [0.5, 1.0, 2.0, 4.0, 4.0]
        >>> backoff.next_pause_s(tried_s=3.75)
        0.5
        >>> backoff.lived(60.0)
        >>> backoff.next_pause_s()
        0.5
    """

    def __init__(self, min_s: float, max_s: float, jitter: Callable[[], float]) -> None:
        self._min_s = min_s
        self._max_s = max_s
        self._jitter = jitter
        self._ceiling_s = min_s

    def next_pause_s(self, tried_s: float = 0.0) -> float:
        """Seconds to wait now; the ceiling doubles.

        Args:
            tried_s: how long the attempt took that failed just now. Waiting in vain for an answer was a pause already:
                the rest is waited, and never less than a first pause.
        """
        share = 0.5 + 0.5 * self._jitter()
        ceiling_s = min(self._ceiling_s, self._max_s)
        self._ceiling_s = min(2 * ceiling_s, self._max_s)
        return share * max(ceiling_s - tried_s, min(self._min_s, ceiling_s))

    def lived(self, seconds: float) -> None:
        """Told how long a connection lived: a long life starts the pauses anew.

        A short one does not: two clients with one client id throw each other out for ever, and each of their
        attempts succeeds.
        """
        if seconds >= STABLE_S:
            self._ceiling_s = self._min_s
