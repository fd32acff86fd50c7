"""The metrics of a cluster, made from its status."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

__all__ = ["cluster_metrics"]

TOTALS = (
    ("readings", "Readings taken by the shards since each was opened where it is."),
    ("forecasts", "Forecasts published by the shards since each was opened where it is."),
)
PER_SHARD = (
    ("lag_seconds", "lag_s", "From a reading's own time, or its arrival, to its forecast."),
    ("waiting_messages", "waiting", "Messages received and not yet answered."),
    ("series", "series", "Series known."),
    ("epoch", "epoch", "How often the shard was given out."),
)


def cluster_metrics(status: Mapping[str, Any]) -> bytes:
    """Prometheus' text format 0.0.4.

    Args:
        status: what `Controller.status` gives.

    Example:
        >>> shard = {"owner": "o", "state": "served", "epoch": 1, "lag_s": 0.5, "waiting": 0, "series": 2, "moves": 0,
        ...          "readings": 3, "forecasts": 3, "trouble": None, "dropped": {}}
        >>> status = {"shards": {7: shard}, "served": 1, "owners": {}, "nodes": 1, "uptime_s": 1.0, "router": None}
        >>> [line for line in cluster_metrics(status).decode().splitlines() if "lag_seconds{" in line]
        ['stepahead_cluster_shard_lag_seconds{owner="o",shard="7"} 0.5']
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Figures(status))
    return generate_latest(registry)


class Figures(Collector):
    """The families of one status."""

    def __init__(self, status: Mapping[str, Any]) -> None:
        self._status = status

    def collect(self) -> Iterator[Any]:
        """The metrics as prometheus-client asks for them."""
        status, shards = self._status, self._status["shards"]
        yield gauge("uptime_seconds", "Time since the controller's start.", status["uptime_s"])
        yield gauge("nodes", "Nodes with an owner.", status["nodes"])
        yield gauge("owners_up", "Owners that answer.", sum(owner["up"] for owner in status["owners"].values()))
        yield gauge("shards", "Shards.", len(shards))
        yield gauge("shards_served", "Shards that are served.", status["served"])
        troubles = sum(shard["trouble"] is not None for shard in shards.values())
        yield gauge("shards_in_trouble", "Shards whose disk refuses.", troubles)
        restarts = CounterMetricFamily("stepahead_cluster_restarts", "Starts after a death.", labels=("process",))
        for name, owner in status["owners"].items():
            restarts.add_metric([name], owner["restarts"])
        if status["router"] is not None:
            restarts.add_metric(["router"], status["router"]["restarts"])
            yield gauge("router_waiting_messages", "Read, not acknowledged.", status["router"].get("waiting", 0))
        yield restarts
        moves = CounterMetricFamily("stepahead_cluster_moves", "Changes of hands of shards.")
        moves.add_metric([], sum(shard["moves"] for shard in shards.values()))
        yield moves
        for name, text in TOTALS:
            family = GaugeMetricFamily(f"stepahead_cluster_{name}", text)
            family.add_metric([], sum(shard[name] for shard in shards.values()))
            yield family
        dropped = Counter[str]()
        for shard in shards.values():
            dropped.update(shard["dropped"])
        drops = GaugeMetricFamily("stepahead_cluster_drops", "Dropped, by reason.", labels=("reason",))
        for reason, count in dropped.items():
            drops.add_metric([reason], count)
        yield drops
        for name, key, text in PER_SHARD:
            family = GaugeMetricFamily(f"stepahead_cluster_shard_{name}", text, labels=("shard", "owner"))
            for number, shard in shards.items():
                if shard[key] is not None:
                    family.add_metric([str(number), shard["owner"] or ""], shard[key])
            yield family


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    """A gauge without labels."""
    return GaugeMetricFamily(f"stepahead_cluster_{name}", text, value=value)
