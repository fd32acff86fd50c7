"""Tells systemd that we are ready, that the loop turns, and that we are stopping: sd_notify(3)."""

import os
import socket
import time
from collections.abc import Callable, MutableMapping

from stepahead.contract.errors import SettingsError

__all__ = ["Notifier"]

FEEDS_PER_LIMIT = 4
"""sd_watchdog_enabled(3) advises to feed at half of the limit; a quarter forgives a feed that could not be sent."""


class Notifier:
    """Speaks to the service manager that started us; without one it does nothing.

    The protocol is that of sd_notify(3): datagrams of `NAME=value` to the unix socket that `$NOTIFY_SOCKET` names, a
    path or, with `@` before it, a name in Linux's abstract space. `WATCHDOG=1` is asked for by `$WATCHDOG_USEC`, of
    the process `$WATCHDOG_PID` if that is set. The three are taken out of the environment, so that child processes do
    not speak for us.

    Sending never waits: what the manager does not take now is sent after the next turn.

    Args:
        environ: of the process.
        on_trouble: told once when the manager cannot be reached; forecasts matter more.
        clock: monotonic seconds.
        pid: ours.

    Raises:
        SettingsError: a variable holds what sd_notify(3) does not allow.

    Example:
        >>> notifier = Notifier({}, print)
        >>> notifier.turned()  # started by hand: there is nobody to tell
        >>> notifier.feed_every_s is None
        True
    """

    def __init__(
        self,
        environ: MutableMapping[str, str],
        on_trouble: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        pid: int | None = None,
    ) -> None:
        self._on_trouble = on_trouble
        self._clock = clock
        self._address = socket_address(environ.pop("NOTIFY_SOCKET", ""))
        limit_us = positive("WATCHDOG_USEC", environ.pop("WATCHDOG_USEC", ""))
        watched = positive("WATCHDOG_PID", environ.pop("WATCHDOG_PID", ""))
        ours = watched is None or watched == (os.getpid() if pid is None else pid)
        self.feed_every_s = limit_us / 1e6 / FEEDS_PER_LIMIT if limit_us is not None and ours else None
        self._socket: socket.socket | None = None
        if self._address is not None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
        self._ready = False
        self._troubled = False
        self._next_feed_s = clock()

    def turned(self) -> None:
        """After each turn of the loop: ready after the first, and a feed for the watchdog as often as it asks."""
        if self._socket is None:
            return
        if not self._ready:
            self._ready = self._send("READY=1")
        if self.feed_every_s is not None and self._clock() >= self._next_feed_s and self._send("WATCHDOG=1"):
            self._next_feed_s = self._clock() + self.feed_every_s

    def stopping(self) -> None:
        """The loop ends: what is still to be answered is answered now."""
        if self._socket is not None:
            self._send("STOPPING=1")

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str) -> bool:
        assert self._socket is not None
        assert self._address is not None
        try:
            self._socket.sendto(text.encode(), self._address)
        except BlockingIOError:
            return False  # its queue is full: after the next turn
        except OSError as error:
            if not self._troubled:
                self._on_trouble(f"the service manager cannot be told {text}: {error.strerror}")
            self._troubled = True
            return False
        return True


def socket_address(text: str) -> str | None:
    r"""Where to send; None = nowhere.

    Raises:
        SettingsError: neither an absolute path nor a name in the abstract space.

    Example:
        >>> socket_address("/run/systemd/notify"), socket_address("@manager"), socket_address("")
        ('/run/systemd/notify', '\x00manager', None)
    """
    if not text:
        return None
    if text[0] not in "/@" or len(text) < 2:
        raise SettingsError(f"NOTIFY_SOCKET = {text!r}: allowed: an absolute path, or @ and a name")
    return "\0" + text[1:] if text[0] == "@" else text


def positive(name: str, text: str) -> int | None:
    """A whole number above 0; None when the variable is not set.

    Raises:
        SettingsError: anything else.

    Example:
        >>> positive("WATCHDOG_USEC", "30000000"), positive("WATCHDOG_PID", "")
        (30000000, None)
    """
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        raise SettingsError(f"{name} = {text!r}: allowed: a whole number above 0")
    return int(text)
