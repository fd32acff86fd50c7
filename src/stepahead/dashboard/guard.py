"""The guard before the pages: who may read, from where, how fast, and what a browser may do with it."""

import asyncio
import hmac
import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stepahead.dashboard.pace import Pace

__all__ = ["Guard", "is_loopback"]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
GUARDED = ("/api/", "/metrics")
REQUESTS_PER_S = 20.0
BURST = 60.0


class Guard:
    """Checks a request before the application sees it.

    The page itself holds nothing: it is given to everybody. Data and metrics are given for the token, when there is
    one. Without one, on loopback, the name in the request's `Host` must be this machine's: else a page from
    elsewhere could read ours, once its name in the DNS points here (DNS rebinding).

    Requests beyond 20 a second wait, after 60 at once: the answer's CPU time would be taken from the forecasts.

    Args:
        app: what is guarded.
        token: None = data for everybody who can connect.
        local_only: check the name.
        clock: monotonic seconds.
        on_error: told of an exception in the application.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: str | None,
        local_only: bool,
        clock: Callable[[], float],
        on_error: Callable[[str], None],
    ) -> None:
        self._app = app
        self._token = None if token is None else token.encode()
        self._local_only = local_only
        self._on_error = on_error
        self._pace = Pace(REQUESTS_PER_S, BURST, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        wait_s = self._pace.wait_s()
        if wait_s:
            await asyncio.sleep(wait_s)
        headers = dict(scope["headers"])
        scope["authorized"] = self._may_read(headers)
        app: ASGIApp = self._app
        if self._local_only and self._token is None and not is_local_name(headers.get(b"host", b"").decode("latin-1")):
            app = PlainTextResponse("this name is not served: ask for 127.0.0.1 or localhost\n", 421)
        elif not scope["authorized"] and scope["path"].startswith(GUARDED):
            app = PlainTextResponse("a bearer token is needed\n", 401, {"WWW-Authenticate": "Bearer"})
        try:
            await app(scope, receive, send_with_headers)
        except Exception as error:
            self._on_error(f"{type(error).__name__}: {error}")
            if not begun:
                await PlainTextResponse("a defect in stepahead: see its log\n", 500)(scope, receive, send_with_headers)

    def _may_read(self, headers: dict[bytes, bytes]) -> bool:
        if self._token is None:
            return True
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), self._token)


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_local_name(host: str) -> bool:
    """Whether a `Host` header names this machine.

    Example:
        >>> is_local_name("localhost:8420"), is_local_name("[::1]:8420"), is_local_name("127.0.0.1.evil.example")
        (True, True, False)
    """
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False
