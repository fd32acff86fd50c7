"""The face of the service: what page, probes and metrics show, made from the watch by the page's thread."""

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from stepahead.contract.settings import Settings
from stepahead.dashboard.view import Document, OverviewQuery, Verdict
from stepahead.service.readiness import alive, ready
from stepahead.service.series_list import SeriesList
from stepahead.service.settings_text import mask_url
from stepahead.service.watch import Mark, Watch
from stepahead.telemetry.exposition import Exposition
from stepahead.telemetry.shares import Shares

__all__ = ["Face"]

HISTORY_S = 600
MARKS_SHOWN = 200


class Face:
    """A `View` of the running service.

    Args:
        settings: of the service.
        watch: the loop's side.
        keys: series keys in slot order, growing.
        find: slot of a key that is known, else None.
        version: of the program.
        clock: monotonic seconds.
        wall_s: seconds since 1970.
        unit_of: unit of a slot, if it is known.
    """

    def __init__(
        self,
        settings: Settings,
        watch: Watch,
        keys: Sequence[str],
        find: Callable[[str], int | None],
        version: str,
        clock: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
        unit_of: Callable[[int], str | None] = lambda slot: None,
    ) -> None:
        self._settings = settings
        self._watch = watch
        self._ledger = watch.ledger
        self._keys = keys
        self._find = find
        self._version = version
        self._clock = clock
        self._wall_s = wall_s
        self._began_s = clock()
        self._list = SeriesList(watch.ledger, keys, unit_of)
        self._shares = Shares(watch.ledger.rings)
        self._past: deque[tuple[float, float, float | None, int, int]] = deque(maxlen=HISTORY_S)
        self._overall: Mapping[str, float | None] = watch.ledger.overall()
        self._viewers = 0
        self._exposition = Exposition(self._values)

    def tick(self) -> None:
        """Take in the forecasts of the second that is over, and note the rates of that second."""
        self._ledger.fold()
        self._take_shares()
        self._overall = self._ledger.overall()
        picture = self._watch.picture
        if picture is not None:
            fields = picture.fields
            drops = sum(fields["drops"].values())
            lag_s = fields["lag_s"]
            self._past.append((self._wall_s(), fields["readings_per_second"], lag_s, fields["waiting"], drops))

    def _take_shares(self) -> None:
        watch, owners = self._watch, self._ledger.rings.owners
        for _ in range(len(watch.shares)):
            slots, weight = watch.shares.popleft()
            self._shares.push(slots, self._ledger.columns.issued_ns[slots], weight)
        watch.kept = owners[owners >= 0].astype(np.int32)

    def head(self) -> Document:
        """State, rates and scores."""
        picture = self._watch.picture
        fields: Mapping[str, Any] = {} if picture is None else picture.fields
        verdict = self.ready()
        return {
            "now": self._wall_s(),
            "version": self._version,
            "ready": verdict.fine,
            "reasons": verdict.reasons,
            "connected": picture is not None and picture.connected,
            "uptime_s": self._clock() - self._began_s,
            "series": self._list.known,
            "flagged": self._list.flagged(self._wall_s()),
            "silent": self._list.silent(self._wall_s()),
            "rate": fields.get("readings_per_second"),
            "lag_s": fields.get("lag_s"),
            "model": fields.get("model"),
            "fine_tunes": fields.get("fine_tunes", {}),
            "dropped": sum(fields.get("drops", {}).values()),
            "level": self._settings.interval.levels[0],
            **self._overall,
        }

    def overview(self, query: OverviewQuery) -> Document:
        """One page of the table of all series."""
        return self._list.page(query, self._wall_s())

    def look_at(self, keys: frozenset[str]) -> None:
        """Let the loop tell more about these series, and keep their history."""
        slots = frozenset(slot for slot in map(self._find, keys) if slot is not None)
        for slot in slots:
            self._ledger.rings.watch(slot)
        if slots != self._watch.wanted:
            self._watch.wanted = slots

    def series(self, key: str, since: int) -> Document | None:
        """One series: newest forecast, history, experts, differencing, marks."""
        slot = self._find(key)
        if slot is None:
            return None
        document: dict[str, Any] = {"key": key, "level": self._settings.interval.levels[0]}
        if slot < self._ledger.size:
            document |= self._list.one(slot, self._wall_s())
        count, history = self._ledger.rings.history(slot, since)
        document["count"] = count
        if history is not None:
            document["time"] = (history["time_ns"] // 1_000_000).tolist()
            for name in ("observed", "forecast", "lower", "upper", "anomaly"):
                document[name] = history[name].tolist()
        document["shares"] = self._shares_since(slot, since)  # noted later than readings, so when none are new, too
        picture = self._watch.picture
        insight = None if picture is None else picture.insights.get(slot)
        if insight is not None:
            outlook, decision = insight.outlook, insight.decision
            document["experts"] = {
                "names": outlook.names,
                "value": outlook.value[0].tolist(),
                "weight": outlook.weights[0].tolist(),
            }
            document["difference"] = {
                "order": insight.order,
                "auto": self._settings.transform.order == "auto",
                "seasonal_lag": self._settings.transform.seasonal_lag,
                "adf_p": () if decision is None else decision.adf_p,
                "kpss_p": () if decision is None else decision.kpss_p,
                "reason": "" if decision is None else decision.reason,
            }
        document["marks"] = [(mark.kind, mark.feed_ns // 1_000_000, mark.text) for mark in self._marks()]
        return document

    def _shares_since(self, slot: int, since: int) -> Document:
        """Shares from the last reading on that the viewer knows: they may come after the reading itself."""
        count, rows = self._ledger.rings.history(slot, max(since - 1, 0))
        from_ns = 0 if rows is None or not 0 < since <= count else int(rows["time_ns"][0])
        times_ns, weight = self._shares.history(slot, from_ns)
        return {
            "names": self._watch.experts,
            "time": (times_ns // 1_000_000).tolist(),
            "weight": np.round(weight.T.astype(np.float64), 4).tolist(),
        }

    def _marks(self) -> list[Mark]:
        return list(self._watch.marks)[-MARKS_SHOWN:]

    def model(self) -> Document:
        """Networks, gate decisions and losses of the fine-tunes."""
        picture = self._watch.picture
        return {
            "networks": () if picture is None else picture.networks,
            "judged": self._watch.judged,
            "learning": self._settings.learning.enabled,
            "marks": [
                {"kind": mark.kind, "network": mark.network, "at": mark.wall_s, "text": mark.text, **mark.losses}
                for mark in self._marks()
            ],
        }

    def health(self) -> Document:
        """Rates, lag, drops, disk and broker, and the rates of the last ten minutes."""
        picture = self._watch.picture
        past = list(self._past)
        columns = [list(column) for column in zip(*past, strict=True)] if past else [[], [], [], [], []]
        return {
            "past": dict(zip(("at", "rate", "lag", "waiting", "dropped"), columns, strict=True)),
            "fields": {} if picture is None else picture.fields,
            "durability": {} if picture is None else picture.durability,
            "broker": {
                "url": mask_url(self._settings.broker.url),
                "connected": picture is not None and picture.connected,
                "protocol": self._settings.broker.protocol,
                "qos": self._settings.broker.qos,
                "filters": [subscription.filter for subscription in self._settings.subscriptions],
                "refused": 0 if picture is None else picture.refused,
                "lost": 0 if picture is None else picture.lost,
            },
            "process": {
                "pid": os.getpid(),
                "threads": threading.active_count(),
                "memory_bytes": resident_bytes(),
                "viewers": self._viewers,
            },
            "step": histogram_facts(self._watch.step),
            "publish": histogram_facts(self._watch.publish),
            "batch": histogram_facts(self._watch.batch),
        }

    def alive(self) -> Verdict:
        """Whether the loop turns."""
        return alive(self._watch.picture, self._clock(), self._began_s)

    def ready(self) -> Verdict:
        """Whether forecasts are current and safe."""
        return ready(self._watch.picture, self._settings, self._clock())

    def metrics(self, viewers: int) -> bytes:
        """The metrics in Prometheus' text format."""
        self._viewers = viewers
        return self._exposition.text()

    def _values(self) -> dict[str, Any]:
        watch, picture, now_s = self._watch, self._watch.picture, self._wall_s()
        values: dict[str, Any] = {
            "build_info": {self._version: 1},
            "uptime_seconds": self._clock() - self._began_s,
            "silent_series": self._list.silent(now_s),
            "flagged_series": self._list.flagged(now_s),
            "warming_series": self._list.warming(),
            "anomalies_total": int(self._ledger.columns.anomalies.sum()),
            "skill_ratio": self._overall["skill"],
            "coverage_ratio": self._overall["coverage"],
            "coverage_target_ratio": self._settings.interval.levels[0],
            "gate_decisions_total": dict(watch.judged),
            "batch_readings": watch.batch,
            "step_seconds": watch.step,
            "publish_seconds": watch.publish,
            "viewers": self._viewers,
            "unseen_forecasts_total": self._ledger.missed,
            **self._series_values(),
        }
        if picture is not None:
            fields, durability = picture.fields, picture.durability
            values |= {
                "connected": int(picture.connected),
                "readings_total": fields["readings"],
                "forecasts_total": fields["forecasts"],
                "drops_total": fields["drops"],
                "refused_forecasts_total": picture.refused,
                "lost_forecasts_total": picture.lost,
                "waiting_messages": fields["waiting"],
                "lag_seconds": fields["lag_s"],
                "series": fields["series"],
                "fine_tunes_total": fields["fine_tunes"],
                "drifts_total": fields["drifts"],
                "model_version": {net["name"]: net["version"] for net in picture.networks},
                "replay_fill_ratio": {
                    net["name"]: net["replay_windows"] / net["replay_capacity"] for net in picture.networks
                },
                "journal_age_seconds": durability["journal_age_s"],
                "snapshot_age_seconds": durability["snapshot_age_s"],
                "disk_trouble": int(durability["trouble"] is not None),
            }
        return values

    def _series_values(self) -> dict[str, dict[str, float]]:
        """The metrics of those series that the settings name."""
        slots = {key: self._find(key) for key in self._settings.http.series_metrics}
        known = {key: slot for key, slot in slots.items() if slot is not None and slot < self._ledger.size}
        columns = self._ledger.columns
        names = {"observed": "observed", "forecast": "value", "lower": "lower", "upper": "upper"}
        values = {
            f"series_{name}": {key: float(getattr(columns, column)[slot]) for key, slot in known.items()}
            for name, column in names.items()
        }
        values["series_anomalies_total"] = {key: float(columns.anomalies[slot]) for key, slot in known.items()}
        values["series_skill_ratio"] = {
            key: float(self._ledger.skill(np.array([slot]))[0]) for key, slot in known.items()
        }
        return values


def histogram_facts(histogram: Any) -> dict[str, Any]:
    """Count, mean, the bound that 99% lie under, and the longest bound; None while there is nothing."""
    counts = list(histogram.counts)
    count = sum(counts)
    if not count:
        return {"count": 0, "mean": None, "p99": None, "longest": None}
    place = int(np.searchsorted(np.cumsum(counts), 0.99 * count))
    p99 = histogram.bounds[place] if place < len(histogram.bounds) else math.inf
    return {"count": count, "mean": histogram.total / count, "p99": p99, "longest": histogram.bounds[-1]}


def resident_bytes() -> int | None:
    """Memory that the process has in RAM; None where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
