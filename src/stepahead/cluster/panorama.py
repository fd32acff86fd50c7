"""The panorama: the view of a whole cluster, for the same page that shows a service; owners are asked on demand."""

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import msgspec

from stepahead.cluster.cluster_metrics import cluster_metrics
from stepahead.cluster.gallery import Answer, Question
from stepahead.cluster.herald import summary
from stepahead.cluster.pages import one_page
from stepahead.contract.settings import Settings
from stepahead.dashboard.view import Document, OverviewQuery, Verdict
from stepahead.service.face import resident_bytes
from stepahead.service.settings_text import mask_url

__all__ = ["Panorama", "readiness"]

HISTORY_S = 600
MARKS_SHOWN = 200
SUMS = ("begun", "adopted", "rejected", "failed", "drifts")
REPLAY = ("series", "replay_windows", "replay_capacity", "replay_added")
NO_TIMES: Mapping[str, Any] = {"count": 0, "mean": None, "p99": None, "longest": None}


class Panorama:
    """A `View` of the cluster. Called by the page's thread alone, which waits for owners, but not for long.

    Args:
        settings: of the cluster.
        status: what `Controller.status` gives.
        ask: puts one question to every owner that is up, and gives back the answers that come in time.
        clock: monotonic seconds.
        wall_s: seconds since 1970.
    """

    def __init__(
        self,
        settings: Settings,
        status: Callable[[], Mapping[str, Any]],
        ask: Callable[[bytes], Sequence[bytes]],
        clock: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._status = status
        self._ask_all = ask
        self._clock = clock
        self._wall_s = wall_s
        self._looked_at: frozenset[str] = frozenset()
        self._heads: dict[int, Mapping[str, Any]] = {}
        self._pages: dict[OverviewQuery, Document] = {}
        self._past: deque[tuple[float, float, float | None, int, int]] = deque(maxlen=HISTORY_S)
        self._viewers = 0

    def _ask(self, question: Question) -> list[Answer]:
        told = self._ask_all(msgspec.json.encode(question))
        return [msgspec.json.decode(each, type=Answer) for each in told]

    def look_at(self, keys: frozenset[str]) -> None:
        """These series are looked at: their owners keep their history."""
        self._looked_at = keys

    def tick(self) -> None:
        """A second is over: hear how every shard is."""
        self._pages.clear()
        answers = self._ask(Question(sorted(self._looked_at)))
        self._heads = {shard: head for answer in answers for shard, head in answer.heads.items()}
        fields = summary(self._status())
        dropped = sum(fields["drops"].values())
        self._past.append((self._wall_s(), self._rate(), fields["lag_s"], fields["waiting"], dropped))

    def _rate(self) -> float:
        return sum(head["rate"] or 0.0 for head in self._heads.values())

    def head(self) -> Document:
        """State, rates and scores over all shards."""
        status, heads = self._status(), list(self._heads.values())
        fields, verdict = summary(status), readiness(status, self._settings.http.ready_lag_s)
        tuned = Counter[str]()
        for tunes in [head["fine_tunes"] for head in heads] if status["trainer"] is None else tunes_of(status):
            tuned.update({name: tunes.get(name, 0) for name in ("adopted", "rejected", "failed")})
        return {
            "now": self._wall_s(),
            "version": version("stepahead"),
            "ready": verdict.fine,
            "reasons": verdict.reasons,
            "connected": bool(heads) and all(head["connected"] for head in heads),
            "uptime_s": status["uptime_s"],
            "series": sum(head["series"] for head in heads),
            "flagged": sum(head["flagged"] for head in heads),
            "silent": sum(head["silent"] for head in heads),
            "rate": self._rate(),
            "lag_s": fields["lag_s"],
            "model": fields["model"],
            "fine_tunes": {"adopted": 0, **tuned},
            "dropped": sum(fields["drops"].values()),
            "level": self._settings.interval.levels[0],
            **{name: mean_of(heads, name) for name in ("skill", "recent_skill", "coverage")},
        }

    def overview(self, query: OverviewQuery) -> Document:
        """One page of the series of all shards; asked for once a second, however many look at it."""
        page = self._pages.get(query)
        if page is None:
            parts = [answer.overview for answer in self._ask(Question(sorted(self._looked_at), overview=query))]
            page = self._pages[query] = one_page([part for part in parts if part is not None], query)
        return page

    def series(self, key: str, since: int) -> Document | None:
        """One series, as its owner shows it."""
        looked_at = sorted(self._looked_at | {key})
        answers = self._ask(Question(looked_at, series=key, since=since))
        return next((answer.series for answer in answers if answer.series is not None), None)

    def model(self) -> Document:
        """Networks: each as the shards have it together; with shared weights, its fine-tunes are the trainer's."""
        models = [model for answer in self._ask(Question(model=True)) for model in answer.models]
        networks: dict[str, dict[str, Any]] = {}
        marks: dict[tuple[Any, ...], Mapping[str, Any]] = {}
        for model in models:
            for network in model["networks"]:
                known = networks.setdefault(
                    network["name"], {**network, **dict.fromkeys((*SUMS, *REPLAY, "version"), 0)}
                )
                known["version"] = max(known["version"], network["version"])
                for name in (*SUMS, *REPLAY):
                    known[name] += network[name]
            for mark in model["marks"]:
                marks[mark["kind"], mark["network"], mark["text"], mark.get("number", mark["at"])] = mark
        trainer = self._status()["trainer"]
        if trainer is not None:
            for name, network in networks.items():
                network |= trainer.get("tunes", {}).get(name, {})
                network["version"] = max(network["version"], trainer.get("versions", {}).get(name, 0))
        judged = [model["judged"] for model in models] if trainer is None else [trainer.get("judged", {})]
        return {
            "networks": list(networks.values()),
            "judged": {name: sum(counts.get(name, 0) for counts in judged) for name in ("adopted", "kept")},
            "learning": self._settings.learning.enabled,
            "marks": sorted(marks.values(), key=lambda mark: mark["at"])[-MARKS_SHOWN:],
        }

    def health(self) -> Document:
        """Rates, lag, drops, disk and broker, and every owner and shard."""
        status = self._status()
        fields = summary(status)
        healths = [health for answer in self._ask(Question(health=True)) for health in answer.healths]
        disks = [health["durability"] for health in healths if health["durability"]]
        brokers = [health["broker"] for health in healths]
        columns = [list(column) for column in zip(*self._past, strict=True)] if self._past else [[], [], [], [], []]
        settings = self._settings
        return {
            "past": dict(zip(("at", "rate", "lag", "waiting", "dropped"), columns, strict=True)),
            "fields": {"drops": fields["drops"], "waiting": fields["waiting"]},
            "durability": {
                "mode": settings.durability.mode,
                "trouble": next((disk["trouble"] for disk in disks if disk["trouble"] is not None), None),
                "position": sum(disk["position"] for disk in disks),
                **{name: largest(disk[name] for disk in disks) for name in ("journal_age_s", "snapshot_age_s")},
            },
            "broker": {
                "url": mask_url(settings.broker.url),
                "connected": bool(brokers) and all(broker["connected"] for broker in brokers),
                "protocol": settings.broker.protocol,
                "qos": settings.broker.qos,
                "filters": [subscription.filter for subscription in settings.subscriptions],
                "refused": sum(broker["refused"] for broker in brokers),
                "lost": sum(broker["lost"] for broker in brokers),
            },
            "process": {
                "pid": os.getpid(),
                "threads": threading.active_count(),
                "memory_bytes": resident_bytes(),
                "viewers": self._viewers,
            },
            **{name: times_of([health[name] for health in healths]) for name in ("step", "publish", "batch")},
            "cluster": self._places(status),
        }

    def _places(self, status: Mapping[str, Any]) -> Document:
        """Who serves what."""
        owners = [
            {"name": name, **{key: owner[key] for key in ("node", "pid", "up", "restarts", "shards")}}
            for name, owner in status["owners"].items()
        ]
        names = ("owner", "state", "epoch", "moves", "series", "waiting", "lag_s", "model")
        shards = [
            {"shard": number, "rate": self._heads.get(number, {}).get("rate"), **{name: shard[name] for name in names}}
            for number, shard in status["shards"].items()
        ]
        return {"owners": owners, "shards": shards, "nodes": status["nodes"], "served": status["served"]}

    def metrics(self, viewers: int) -> bytes:
        """The metrics in Prometheus' text format."""
        self._viewers = viewers
        return cluster_metrics(self._status())

    def alive(self) -> Verdict:
        """Whoever answers is."""
        return Verdict(True)

    def ready(self) -> Verdict:
        """Whether all shards are served, safe, and not late."""
        return readiness(self._status(), self._settings.http.ready_lag_s)


def tunes_of(status: Mapping[str, Any]) -> list[Mapping[str, int]]:
    """Fine-tunes by result of each network that the trainer has."""
    return list(status["trainer"].get("tunes", {}).values())


def mean_of(heads: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """Mean of a score over shards, by their series; None where none knows it.

    Example:
        >>> mean_of([{"series": 3, "skill": 0.5}, {"series": 1, "skill": 0.1}, {"series": 9, "skill": None}], "skill")
        0.4
    """
    known = [head for head in heads if head[name] is not None]
    series = sum(head["series"] for head in known)
    return sum(head[name] * head["series"] for head in known) / series if series else None


def times_of(parts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """A histogram's facts over several shards: of the slowest ones, the bound that 99% lie under."""
    counted = [part for part in parts if part["count"]]
    count = sum(part["count"] for part in counted)
    if not count:
        return NO_TIMES
    mean = sum(part["mean"] * part["count"] for part in counted) / count
    p99 = None if any(part["p99"] is None for part in counted) else max(part["p99"] for part in counted)
    return {"count": count, "mean": mean, "p99": p99, "longest": counted[0]["longest"]}


def largest(values: Any) -> float | None:
    """The largest that is known."""
    return max((value for value in values if value is not None), default=None)


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
