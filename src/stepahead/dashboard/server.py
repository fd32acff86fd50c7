"""The server: uvicorn in a thread of its own, on a socket opened before, so that a taken port is told at once."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from stepahead.contract.errors import SettingsError
from stepahead.contract.settings import HttpSettings
from stepahead.dashboard.app import make_app
from stepahead.dashboard.assets import load_assets
from stepahead.dashboard.guard import Guard, is_loopback
from stepahead.dashboard.pace import Pace
from stepahead.dashboard.protocol import bounded_protocol
from stepahead.dashboard.stream import Audience
from stepahead.dashboard.view import View

__all__ = ["PageServer", "guarded", "listening"]

BEAT_S = 1.0
LONGEST_HEAD_BYTES = 16_384
BACKLOG = 64
ADMITTED_PER_S, ADMITTED_AT_ONCE = 50.0, 100.0
"""New connections: each costs 0.2 to 0.4 ms, taken from the forecasts; those beyond the rate wait in the kernel."""
START_S, END_S = 10.0, 3.0


class PageServer:
    """Serves a view while the `with` block lasts.

    Args:
        settings: where, for whom, how many.
        view: of the service.
        on_error: told of a defect, from the server's thread.

    Raises:
        SettingsError: the address cannot be listened on.
        UsageError: uPlot is not installed.
    """

    def __init__(self, settings: HttpSettings, view: View, on_error: Callable[[str], None]) -> None:
        self._settings = settings
        self._on_error = on_error
        assets = load_assets(settings.uplot_dir)
        self._socket = listening(settings.host, settings.port)
        self._audience = Audience(view, settings.viewers)
        # Made here: who ends at once must be able to tell it so, whether the thread has begun or not.
        self._server = uvicorn.Server(guarded(make_app(self._audience, assets), settings, on_error))
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._socket.getsockname()[1])

    @property
    def url(self) -> str:
        """Where the page is."""
        host = "127.0.0.1" if self._settings.host in ("0.0.0.0", "::") else self._settings.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    def __enter__(self) -> "PageServer":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.should_exit = True
        self._thread.join(END_S)
        self._socket.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # the page must not take the forecasts with it
            self._on_error(f"the live page has ended: {type(error).__name__}: {error}")

    async def _serve(self) -> None:
        beside = [asyncio.ensure_future(work(self._server)) for work in (self._beat, self._admit)]
        await self._server.serve(sockets=[])  # what it shall serve is handed to it
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)

    async def _admit(self, server: uvicorn.Server) -> None:
        """Let connections in at a bounded rate."""
        loop, config = asyncio.get_running_loop(), server.config
        while not server.started:
            await asyncio.sleep(0.01)

        def protocol() -> asyncio.Protocol:
            return config.http_protocol_class(config=config, server_state=server.server_state, app_state={})  # type: ignore[call-arg]

        self._socket.setblocking(False)
        pace = Pace(ADMITTED_PER_S, ADMITTED_AT_ONCE, time.monotonic)
        while not server.should_exit:
            try:
                connection, _ = await loop.sock_accept(self._socket)
                await loop.connect_accepted_socket(protocol, connection)
            except OSError as error:  # no file descriptor is free, or the other side is gone already
                self._on_error(f"accept: {error}")
                await asyncio.sleep(BEAT_S)
            await asyncio.sleep(pace.wait_s())

    async def _beat(self, server: uvicorn.Server) -> None:
        """Once a second, whoever looks: what came is to be folded while it is little."""
        next_s = time.monotonic()
        while not server.should_exit:
            try:
                self._audience.tick()
            except Exception as error:  # a defect in a figure must not stop the figures for good
                self._on_error(f"tick: {type(error).__name__}: {error}")
            next_s += BEAT_S
            if next_s <= time.monotonic():  # it took longer than a second: others have their turn before the next
                next_s = time.monotonic() + BEAT_S
            while not server.should_exit and (rest_s := next_s - time.monotonic()) > 0:
                await asyncio.sleep(min(rest_s, BEAT_S / 2))
        self._audience.close()


def guarded(app: ASGIApp, settings: HttpSettings, on_error: Callable[[str], None]) -> uvicorn.Config:
    """How an application is served: behind the guard, and bounded in connections and in what they may send."""
    token = None if settings.token is None else settings.token.get_secret_value()
    return uvicorn.Config(
        Guard(app, token, is_loopback(settings.host), time.monotonic, on_error),
        http=bounded_protocol(settings.connections),
        ws="none",
        loop="asyncio",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="critical",  # what a stranger sends must not fill the log
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=LONGEST_HEAD_BYTES,
        backlog=BACKLOG,
    )


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        SettingsError: the address is not ours, or the port is taken.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise SettingsError(f"http.host = {host!r}, http.port = {port}: {error.strerror}") from error
