"""The pages, data, metrics and probes as one ASGI application."""

from collections.abc import Awaitable, Callable, Mapping

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from stepahead.dashboard.assets import Asset
from stepahead.dashboard.stream import Audience, EventStream, event
from stepahead.dashboard.view import Verdict

__all__ = ["make_app"]

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FRESH = {"Cache-Control": "no-store"}

Endpoint = Callable[[Request], Awaitable[Response]]


def make_app(audience: Audience, assets: Mapping[str, Asset]) -> ASGIApp:
    """The application; it reads the view and changes nothing.

    Args:
        audience: the viewers, with the view.
        assets: every file there is.
    """
    view = audience.view

    async def page(request: Request) -> Response:
        return file_response(assets["index.html"])

    async def static(request: Request) -> Response:
        asset = assets.get(request.path_params["name"])
        return PlainTextResponse("no such file\n", 404) if asset is None else file_response(asset)

    async def now(request: Request) -> Response:
        document, _ = event(view, dict(request.query_params), 0)
        return Response(msgspec.json.encode(document), media_type="application/json", headers=FRESH)

    async def metrics(request: Request) -> Response:
        return Response(view.metrics(audience.count), headers=FRESH | {"Content-Type": METRICS_TYPE})

    async def healthz(request: Request) -> Response:
        return probe(view.alive(), request)

    async def readyz(request: Request) -> Response:
        return probe(view.ready(), request)

    routes = [
        Route("/", page),
        Route("/static/{name}", static),
        Route("/api/now", now),
        Route("/api/events", EventsEndpoint(audience), methods=["GET"]),
        Route("/metrics", metrics),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
    ]
    return Router(routes, redirect_slashes=False)


class EventsEndpoint:
    """Opens a stream of events, while there are not too many."""

    def __init__(self, audience: Audience) -> None:
        self._audience = audience

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        """Answer a request."""
        app: ASGIApp
        if self._audience.count >= self._audience.most:
            app = PlainTextResponse("too many viewers: see http.viewers\n", 503, {"Retry-After": "10"})
        else:
            app = EventStream(self._audience, dict(Request(scope).query_params))
        await app(scope, receive, send)


def file_response(asset: Asset) -> Response:
    """A file; the browser asks again whenever the page is opened, so that an update is seen."""
    return Response(asset.content, headers={"Content-Type": asset.media_type, "Cache-Control": "no-cache"})


def probe(verdict: Verdict, request: Request) -> Response:
    """200 or 503, with the reasons for those who may read."""
    lines = ["ok" if verdict.fine else "not ok"]
    if request.scope["authorized"]:
        lines += verdict.reasons
    return PlainTextResponse("\n".join(lines) + "\n", 200 if verdict.fine else 503, FRESH)
