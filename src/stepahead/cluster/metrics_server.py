"""Metrics and probes of the whole cluster over HTTP, by the controller."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from stepahead.cluster.cluster_metrics import cluster_metrics
from stepahead.contract.settings import HttpSettings
from stepahead.dashboard.app import METRICS_TYPE, probe
from stepahead.dashboard.server import guarded, listening
from stepahead.dashboard.view import Verdict

__all__ = ["MetricsServer", "readiness"]

END_S = 3.0


class MetricsServer:
    """Serves `/metrics`, `/healthz` and `/readyz`, guarded as the live page of `run` is.

    Args:
        settings: where, and for whom.
        status: what `Controller.status` gives; called from the server's thread.
        on_error: told of a defect.

    Raises:
        SettingsError: the address cannot be listened on.
    """

    def __init__(
        self, settings: HttpSettings, status: Callable[[], Mapping[str, Any]], on_error: Callable[[str], None]
    ) -> None:
        async def metrics(request: Request) -> Response:
            return Response(cluster_metrics(status()), headers={"Content-Type": METRICS_TYPE})

        async def healthz(request: Request) -> Response:
            return probe(Verdict(True), request)

        async def readyz(request: Request) -> Response:
            return probe(readiness(status(), settings.ready_lag_s), request)

        routes = [Route("/metrics", metrics), Route("/healthz", healthz), Route("/readyz", readyz)]
        self._socket = listening(settings.host, settings.port)
        self._server = uvicorn.Server(guarded(Router(routes, redirect_slashes=False), settings, on_error))
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._socket.getsockname()[1])

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))

    def close(self) -> None:
        """End it."""
        self._server.should_exit = True
        self._thread.join(END_S)
        self._socket.close()


def readiness(status: Mapping[str, Any], ready_lag_s: float) -> Verdict:
    """Whether all shards are served, safe, and not late.

    Example:
        >>> readiness({"shards": {0: {"state": "moving", "lag_s": 99, "waiting": 0, "trouble": None}}}, 10.0).reasons
        ('shard 0 is moving',)
    """
    reasons = []
    for number, shard in status["shards"].items():
        if shard["state"] != "served":
            reasons.append(f"shard {number} is {shard['state']}")
        if shard["trouble"] is not None:
            reasons.append(f"shard {number}: the disk refuses: {shard['trouble']}")
        if shard["waiting"] and shard["lag_s"] is not None and shard["lag_s"] > ready_lag_s:
            reasons.append(f"shard {number} lags by {shard['lag_s']:.1f} s")
    return Verdict(not reasons, tuple(reasons))
