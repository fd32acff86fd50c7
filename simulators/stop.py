"""The wish to stop, which signals, other threads and tests may utter."""

import signal
import threading
import time
from types import FrameType
from typing import Any

__all__ = ["Stop"]

SLICE_S = 0.1


class Stop:
    """A flag to be waited for, without a lock: a signal may raise it in the very thread that waits.

    `threading.Event` may not be used so: its `set` waits for ever inside the handler of a signal that came while its
    own `wait` held the lock. As a context it is raised by Ctrl-C, SIGTERM and a closed terminal; a second signal does
    what it would have done without.

    Attributes:
        asked: whether it was raised.

    Example:
        >>> stop = Stop()
        >>> stop.wait(0.001)
        False
        >>> stop.ask()
        >>> stop.wait(3600.0)
        True
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def ask(self) -> None:
        """Raise it."""
        self.asked = True

    def wait(self, seconds: float) -> bool:
        """Wait until it is raised, at most so long; whether it is. The answer may be a tenth of a second late."""
        until_s = time.monotonic() + seconds
        while not self.asked and (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(left_s, SLICE_S))
        return self.asked

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():  # no other may handle signals
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                self._before[number] = signal.signal(number, self._told)
        return self

    def __exit__(self, *exc: object) -> None:
        self._restore()

    def _told(self, number: int, frame: FrameType | None) -> None:
        self.ask()
        self._restore()

    def _restore(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)
