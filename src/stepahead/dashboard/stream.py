"""Server-sent events: one aggregated event a second to each viewer, made when the second is over and not before."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from stepahead.dashboard.view import OverviewQuery, View, whole

__all__ = ["Audience", "EventStream", "event"]

PATIENCE_S = 15.0
"""A viewer who does not read for so long is left: nothing is kept for it beyond the socket's own buffer."""
LONGEST_KEY = 65_535


class Audience:
    """All viewers: how many, what they look at, and the beat they wait for.

    Args:
        view: of the service.
        most: viewers at a time.
    """

    def __init__(self, view: View, most: int) -> None:
        self.view = view
        self.most = most
        self.count = 0
        self.closing = False
        self._keys: dict[object, str] = {}
        self._beat = asyncio.Event()

    def tick(self) -> None:
        """A second is over: let the view take in what came, then everybody ask it."""
        self.view.look_at(frozenset(self._keys.values()))
        self.view.tick()
        beat, self._beat = self._beat, asyncio.Event()
        beat.set()

    async def wait(self) -> None:
        """Wait for the next second."""
        await self._beat.wait()

    def close(self) -> None:
        """Send everybody home."""
        self.closing = True
        self._beat.set()

    def enter(self, who: object, key: str | None) -> None:
        """Somebody looks, at a series or at something else."""
        self.count += 1
        if key is not None:
            self._keys[who] = key
            self.view.look_at(frozenset(self._keys.values()))

    def leave(self, who: object) -> None:
        """And looks no more."""
        self.count -= 1
        self._keys.pop(who, None)


def event(view: View, query: Mapping[str, str], since: int) -> tuple[dict[str, Any], int]:
    """What one viewer is shown now, and how much of a series' history it then knows."""
    name = query.get("view", "overview")
    document: dict[str, Any] = {"head": view.head(), "view": name}
    if name == "series":
        series = view.series(query.get("key", "")[:LONGEST_KEY], since)
        document["body"] = series
        since = 0 if series is None else int(series["count"])
    elif name == "model":
        document["body"] = view.model()
    elif name == "health":
        document["body"] = view.health()
    else:
        document["body"] = view.overview(OverviewQuery.read(query))
    return document, since


class EventStream:
    """The events of one viewer, as an ASGI application.

    Args:
        audience: everybody.
        query: what is looked at: `view` and what it takes.
    """

    def __init__(self, audience: Audience, query: Mapping[str, str]) -> None:
        self._audience = audience
        self._query = query
        self._since = whole(query.get("since"), 0, 10**15)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the viewer goes or does not read."""
        audience = self._audience
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        audience.enter(self, self._query.get("key") if self._query.get("view") == "series" else None)
        gone = asyncio.ensure_future(disconnected(receive))
        try:
            while not (gone.done() or audience.closing):
                document, self._since = event(audience.view, self._query, self._since)
                data = b"data: " + msgspec.json.encode(document) + b"\n\n"
                message = {"type": "http.response.body", "body": data, "more_body": True}
                await asyncio.wait_for(send(message), PATIENCE_S)
                beat = asyncio.ensure_future(audience.wait())
                await asyncio.wait((beat, gone), return_when=asyncio.FIRST_COMPLETED)
                beat.cancel()
            await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            return  # uvicorn closes a connection whose answer was not finished
        finally:
            gone.cancel()
            audience.leave(self)


async def disconnected(receive: Receive) -> None:
    """Return when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        continue
