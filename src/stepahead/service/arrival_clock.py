"""The clock that messages are stamped with as they arrive: it never runs back, whatever is done to the machine's."""

import time
from collections.abc import Callable

from stepahead.telemetry.log import Log

__all__ = ["ArrivalClock"]

CATCH_UP = 16
"""While it is ahead of the machine's clock it goes slower by one part in so many: slow enough that no series takes it
for another rate, fast enough that a step of a minute is made good in a quarter of an hour."""
WORTH_TELLING_NS = 10**9


class ArrivalClock:
    """UTC as far as the machine's clock tells it, and rising.

    A reading without a time gets that of its arrival, and a reading that is not newer than the one before is left
    out. So when somebody sets the clock back, or a box starts with an empty battery, time goes on from where it was,
    by the monotonic clock and a little slower, until the machine's clock has caught up. When the clock is set
    forward, it follows.

    Args:
        log: told when the clock was found set back.
        newest_ns: the newest arrival that earlier runs have written down, UTC nanoseconds since 1970; 0 = none.
        wall_ns: the machine's clock.
        monotonic_ns: a clock that nobody sets.

    Example:
        >>> import io
        >>> from stepahead.telemetry.log import make_log
        >>> wall, steady = iter([10**18, 10**18 - 3600 * 10**9]), iter([0, 16 * 10**9])
        >>> log = make_log(io.StringIO())
        >>> clock = ArrivalClock(log, 0, wall_ns=lambda: next(wall), monotonic_ns=lambda: next(steady))
        >>> clock() - 10**18, clock() - 10**18
        (0, 15000000000)
    """

    def __init__(
        self,
        log: Log,
        newest_ns: int = 0,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._log = log
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._last_ns = newest_ns
        self._last_steady_ns: int | None = None
        self._ahead = False

    def __call__(self) -> int:
        """Nanoseconds since 1970, more than at any call before."""
        wall_ns, steady_ns = self._wall_ns(), self._monotonic_ns()
        since_ns = 0 if self._last_steady_ns is None else steady_ns - self._last_steady_ns
        self._last_steady_ns = steady_ns
        floor_ns = self._last_ns + max(1, since_ns - since_ns // CATCH_UP)
        behind_ns = floor_ns - wall_ns
        if not self._ahead and behind_ns > WORTH_TELLING_NS:
            self._log.warning("clock_set_back", seconds=behind_ns / 1e9, text="times of arrival go on from the newest")
        self._ahead = behind_ns > 0
        self._last_ns = max(wall_ns, floor_ns)
        return self._last_ns
