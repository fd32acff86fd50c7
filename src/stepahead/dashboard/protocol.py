"""HTTP connections that cannot hold the server up: a bound on their number, and on how long a request may take to come.

uvicorn waits for ever for the rest of a request, and takes as many connections as there are file descriptors: those
would be missing for the journal and for the broker.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["bounded_protocol"]

REQUEST_S = 5.0
"""A request must be complete so soon after the connection, or after its first byte on a kept connection."""


def bounded_protocol(most: int, request_s: float = REQUEST_S) -> type[H11Protocol]:
    """Uvicorn's own HTTP/1.1 protocol with bounds.

    When `most` connections stand, a new one takes the place of the one that has kept its request back for the longest
    time; when all have asked for something, the new one is closed.

    Args:
        most: connections at a time.
        request_s: longest time for a request to come, seconds.
    """
    standing: set[H11Protocol] = set()
    waiting: dict[H11Protocol, None] = {}
    # Those whose request has not come, the longest waiting first: finding it takes no time, however many there are.

    class BoundedProtocol(H11Protocol):
        """One connection."""

        _deadline: asyncio.TimerHandle | None = None

        @property
        def asking(self) -> bool:
            """Whether no request is being answered."""
            return self.cycle is None or self.cycle.response_complete

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            standing.add(self)
            self._set_deadline()
            if len(standing) > most:
                oldest: Any = next((one for one in waiting if one is not self), self)
                oldest.turn_away()

        def turn_away(self) -> None:
            """Close it at once."""
            standing.discard(self)
            self._forget_deadline()
            self.transport.abort()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if not self.asking:
                self._forget_deadline()
            elif self._deadline is None and not self.transport.is_closing():
                self._set_deadline()

        def connection_lost(self, exc: Exception | None) -> None:
            standing.discard(self)
            self._forget_deadline()
            super().connection_lost(exc)

        def _set_deadline(self) -> None:
            self._deadline = self.loop.call_later(request_s, self._too_slow)
            waiting[self] = None

        def _forget_deadline(self) -> None:
            waiting.pop(self, None)
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _too_slow(self) -> None:
            self._forget_deadline()
            if self.asking:
                self.turn_away()

    return BoundedProtocol
