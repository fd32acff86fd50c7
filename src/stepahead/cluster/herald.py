"""The herald: publishes the status of the whole cluster, retained, where `run` publishes that of a service."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

from stepahead.contract.settings import Settings
from stepahead.wire.delivery import Will
from stepahead.wire.encoder import encode_status, offline_status, status_topic
from stepahead.wire.event import SessionEvent
from stepahead.wire.session import Session

__all__ = ["Herald", "summary"]

EVERY_S = 1.0
GOODBYE_S = 1.0


class Herald:
    """Says once a second how the cluster is; the broker says `offline` when we vanish.

    Args:
        settings: of the broker and what goes out.
        on_event: told of events of its connection.
    """

    def __init__(self, settings: Settings, on_event: Callable[[SessionEvent], None]) -> None:
        self._topic = status_topic(settings.publish.prefix)
        broker = settings.broker.model_copy(update={"client_id": f"{settings.broker.client_id}-controller"})
        self._session = Session(broker, [], Will(self._topic, offline_status()), on_event, clean=True)
        self._next_s = 0.0
        self._readings: tuple[float, int] | None = None

    def turn(self, status: Callable[[], Mapping[str, Any]]) -> None:
        """Keep the connection, and publish when it is time; never waits long."""
        self._session.receive(0.0, 1)
        now_s = time.monotonic()
        if now_s < self._next_s or not self._session.connected:
            return
        self._next_s = now_s + EVERY_S
        fields = summary(status())
        before_s, before = self._readings or (now_s, fields["readings"])
        self._readings = (now_s, fields["readings"])
        rate = max(0, fields["readings"] - before) / max(now_s - before_s, 1e-3)
        fields["readings_per_second"] = round(rate, 1)
        self._session.publish(self._topic, encode_status("online", version=version("stepahead"), **fields), 1, True)

    def close(self) -> None:
        """Leave `offline` behind."""
        if self._session.connected:
            self._session.publish(self._topic, offline_status(), 1, True)
        self._session.close(GOODBYE_S)


def summary(status: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the status message.

    Example:
        >>> shard = {"owner": "o", "lag_s": 0.5, "waiting": 1, "series": 2, "readings": 3, "forecasts": 3, "model": 4,
        ...          "dropped": {"late": 1}}
        >>> told = summary({"shards": {7: shard}, "served": 1, "owners": {}, "nodes": 1, "uptime_s": 1.0,
        ...                 "trainer": None})
        >>> told["series"], told["lag_s"], told["drops"], told["shards"], told["placement"]
        (2, 0.5, {'late': 1}, 1, {7: 'o'})
    """
    shards = status["shards"]
    drops = Counter[str]()
    for shard in shards.values():
        drops.update(shard["dropped"])
    sums = {name: sum(shard[name] for shard in shards.values()) for name in ("series", "readings", "forecasts")}
    lags = [shard["lag_s"] for shard in shards.values() if shard["lag_s"] is not None]
    return sums | {
        "uptime_s": status["uptime_s"],
        "waiting": sum(shard["waiting"] for shard in shards.values()),
        "lag_s": max(lags, default=None),
        "model": max((shard["model"] for shard in shards.values()), default=0),
        "drops": dict(drops),
        "shards": len(shards),
        "served": status["served"],
        "nodes": status["nodes"],
        "owners": status["owners"],
        "trainer": status["trainer"],
        "placement": {number: shard["owner"] for number, shard in shards.items()},
    }
