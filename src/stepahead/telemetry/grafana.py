"""The Grafana dashboard: panels over described metrics, laid out by code."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stepahead.telemetry.metrics import metric

__all__ = ["PANELS", "Panel", "dashboard", "queries"]

SELECTOR = '{job=~"$job", instance=~"$instance"}'
COLUMNS = 24


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        title: of the panel.
        queries: pairs of PromQL and legend.
        unit: Grafana's name of it.
        kind: a big number, or curves.
        width: of 24 columns.
        bad: from this value on the number is red; None = it has no colour.
    """

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: Literal["stat", "timeseries"] = "timeseries"
    width: int = 8
    bad: float | None = None


def of(name: str, suffix: str = "") -> str:
    """A metric of the chosen services."""
    return metric(name, suffix) + SELECTOR


def rate(name: str, suffix: str = "") -> str:
    """Growth per second of a counter."""
    return f"rate({of(name, suffix)}[$__rate_interval])"


def quantile(share: float, name: str) -> str:
    """Quantile of a histogram, of all services together."""
    return f"histogram_quantile({share}, sum by (le) ({rate(name, '_bucket')}))"


PANELS = (
    Panel("Readings per second", ((f"sum({rate('readings_total')})", "readings"),), "short", "stat", 4),
    Panel("Series", ((f"sum({of('series')})", "series"),), "short", "stat", 4),
    Panel("Flagged now", ((f"sum({of('flagged_series')})", "flagged"),), "short", "stat", 4, bad=1),
    Panel("Silent", ((f"sum({of('silent_series')})", "silent"),), "short", "stat", 4, bad=1),
    Panel("Lag", ((f"max({of('lag_seconds')})", "lag"),), "s", "stat", 4, bad=10),
    Panel("Disconnected", ((f"sum(1 - {of('connected')})", "services"),), "short", "stat", 4, bad=1),
    Panel(
        "Readings and forecasts", ((rate("readings_total"), "readings"), (rate("forecasts_total"), "forecasts")), "ops"
    ),
    Panel("Lag", ((of("lag_seconds"), "lag {{instance}}"),), "s"),
    Panel("Drops by reason", ((f"sum by (reason) ({rate('drops_total')})", "{{reason}}"),), "ops"),
    Panel("Skill against the last value", ((of("skill_ratio"), "median of the series"),), "percentunit"),
    Panel(
        "Inside the interval",
        ((of("coverage_ratio"), "measured"), (of("coverage_target_ratio"), "promised")),
        "percentunit",
    ),
    Panel(
        "Anomalies",
        ((rate("anomalies_total"), "flags per second"), (of("flagged_series"), "series flagged now")),
        "short",
    ),
    Panel("Time of a step", ((quantile(0.5, "step_seconds"), "half"), (quantile(0.99, "step_seconds"), "99%")), "s"),
    Panel(
        "Time to publish", ((quantile(0.5, "publish_seconds"), "half"), (quantile(0.99, "publish_seconds"), "99%")), "s"
    ),
    Panel(
        "Readings in a batch",
        ((f"{rate('batch_readings', '_sum')} / {rate('batch_readings', '_count')}", "mean"),),
        "short",
    ),
    Panel(
        "Fine-tunes",
        (
            (f"sum by (result) (increase({of('fine_tunes_total')}[1h]))", "{{result}}, last hour"),
            (f"increase({of('drifts_total')}[1h])", "drifts, last hour"),
        ),
    ),
    Panel(
        "Gate decisions, members",
        ((f"sum by (decision) (increase({of('gate_decisions_total')}[1h]))", "{{decision}}"),),
    ),
    Panel("Version of the weights", ((of("model_version"), "{{network}}"),)),
    Panel("Replay buffer", ((of("replay_fill_ratio"), "{{network}}"),), "percentunit"),
    Panel(
        "Age of journal and snapshot",
        ((of("journal_age_seconds"), "not safe for"), (of("snapshot_age_seconds"), "snapshot")),
        "s",
    ),
    Panel("Messages waiting", ((of("waiting_messages"), "messages {{instance}}"),)),
    Panel("Memory", ((of("process_resident_memory_bytes"), "{{instance}}"),), "bytes"),
    Panel("CPU", ((rate("process_cpu_seconds_total"), "{{instance}}"),), "percentunit"),
    Panel(
        "Chosen series",
        (
            (of("series_observed"), "{{series}}"),
            (of("series_lower"), "{{series}} lower"),
            (of("series_upper"), "{{series}} upper"),
        ),
    ),
)


def queries(panels: Sequence[Panel] = PANELS) -> list[str]:
    """Every query, with Grafana's variables replaced by what they stand for: as Prometheus is asked.

    Example:
        >>> queries(PANELS[1:2])
        ['sum(stepahead_series{job=~".*", instance=~".*"})']
    """
    values = {"$__rate_interval": "1m", "$job": ".*", "$instance": ".*"}
    found = []
    for panel in panels:
        for query, _ in panel.queries:
            for name, value in values.items():
                query = query.replace(name, value)
            found.append(query)
    return found


def dashboard(panels: Sequence[Panel] = PANELS) -> str:
    """The dashboard as JSON that Grafana imports or is provisioned with."""
    variables = [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
        variable("job", "label_values(" + metric("build_info") + ", job)"),
        variable("instance", "label_values(" + metric("build_info") + '{job=~"$job"}, instance)'),
    ]
    document = {
        "uid": "stepahead",
        "title": "stepahead",
        "description": "Made by `stepahead monitoring`: change src/stepahead/telemetry/grafana.py instead.",
        "tags": ["mqtt", "forecast"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": variables},
        "panels": laid_out(panels),
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def variable(name: str, query: str) -> dict[str, Any]:
    """A variable whose values are those of a label."""
    return {
        "name": name,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": query,
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def laid_out(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """The panels in rows from left to right."""
    placed: list[dict[str, Any]] = []
    x = y = height = 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > COLUMNS:
            x, y = 0, y + height
        height = 4 if panel.kind == "stat" else 8
        placed.append(one(panel, number) | {"gridPos": {"x": x, "y": y, "w": panel.width, "h": height}})
        x += panel.width
    return placed


def one(panel: Panel, number: int) -> dict[str, Any]:
    """One panel in Grafana's form."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    steps: list[dict[str, Any]] = [{"color": "text", "value": None}]
    if panel.bad is not None:
        steps.append({"color": "red", "value": panel.bad})
    defaults: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    options: dict[str, Any] = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
    if panel.kind == "stat":
        options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "graphMode": "area", "colorMode": "value"}
    else:
        defaults["custom"] = {"lineWidth": 1, "fillOpacity": 6, "showPoints": "never"}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "datasource": source,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {"refId": chr(65 + place), "datasource": source, "expr": query, "legendFormat": legend}
            for place, (query, legend) in enumerate(panel.queries)
        ],
    }
