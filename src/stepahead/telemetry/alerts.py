"""The alert rules: each a query over described metrics, with what it means and what to do."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stepahead.telemetry.metrics import metric

__all__ = ["ALERTS", "Alert", "rules_text"]

JOB = "stepahead"
"""The `job` that Prometheus scrapes a service under: only it can tell that a service is gone."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule.

    Attributes:
        name: in CamelCase, as Prometheus' own are.
        expression: in PromQL.
        pending: how long it must hold.
        severity: critical = forecasts do not come or are not safe; warning = somebody should look.
        summary: one line.
        action: what it means and what to do.
    """

    name: str
    expression: str
    pending: str
    severity: Literal["critical", "warning"]
    summary: str
    action: str


def increase(name: str, over: str) -> str:
    """Growth of a counter, of all its labels together."""
    return f"sum without (reason, result) (increase({metric(name)}[{over}]))"


ALERTS = (
    Alert(
        "StepaheadDown",
        f'up{{job="{JOB}"}} == 0',
        "1m",
        "critical",
        "stepahead does not answer Prometheus",
        "The process is gone, hangs, or its port is closed. Look at its log and at /healthz; a restart loses nothing.",
    ),
    Alert(
        "StepaheadDisconnected",
        f"{metric('connected')} == 0",
        "1m",
        "critical",
        "stepahead has no connection to the broker",
        "The broker is away or refuses us; the log names the reason. It reconnects by itself, and the broker keeps "
        "what we have not acknowledged as far as its queue reaches.",
    ),
    Alert(
        "StepaheadLagging",
        f"{metric('lag_seconds')} > 10 and rate({metric('readings_total')}[1m]) > 0",
        "2m",
        "warning",
        "forecasts come more than 10 s after their readings",
        "More comes in than one core can step, or the sensors' clocks are behind. Compare waiting messages, step time "
        "and CPU; raise learning.every, or divide the feeds between two services.",
    ),
    Alert(
        "StepaheadSilent",
        f"rate({metric('readings_total')}[5m]) == 0 and {metric('connected')} == 1",
        "5m",
        "warning",
        "connected, but no reading has come for five minutes",
        "The sensors or their gateway have stopped, or the subscriptions match nothing any more.",
    ),
    Alert(
        "StepaheadDiskTrouble",
        f"{metric('disk_trouble')} == 1",
        "1m",
        "critical",
        "the disk refuses: readings are not acknowledged",
        "Full, read-only or failing; the log has the disk's words. Forecasts go on; the broker keeps the readings "
        "until the disk is back. Make room.",
    ),
    Alert(
        "StepaheadSnapshotOld",
        f"{metric('snapshot_age_seconds')} > 600",
        "5m",
        "warning",
        "the newest snapshot is more than ten minutes old",
        "A restart would repeat all readings since then. Look for disk trouble, or whether writing takes too long.",
    ),
    Alert(
        "StepaheadJournalNotSafe",
        f"{metric('journal_age_seconds')} > 30",
        "1m",
        "critical",
        "for half a minute not everything has been on the disk",
        "Writing is slower than the feed, or the disk refuses. Acknowledgements wait for it.",
    ),
    Alert(
        "StepaheadDropping",
        f"{increase('drops_total', '15m')} > 0.01 * {increase('readings_total', '15m')}",
        "15m",
        "warning",
        "more than 1% of what comes in is dropped",
        "The reasons are in the label `reason` and on the page under Health: a sensor sends something new, clocks are "
        "wrong, or there are more series than engine.max_series.",
    ),
    Alert(
        "StepaheadFineTunesFail",
        f'increase({metric("fine_tunes_total")}{{result="failed"}}[1h]) > 2',
        "0m",
        "warning",
        "fine-tunes fail: the forecasts do not learn",
        "The trainer's process dies or runs out of time (learning.max_seconds). Look for lack of memory.",
    ),
    Alert(
        "StepaheadWorseThanLastValue",
        f"{metric('skill_ratio')} < -0.05",
        "30m",
        "warning",
        "half of the series are forecast worse than by repeating the last value",
        "The feeds have changed, or are noise. Look at single series on the page; a new start with empty state may "
        "help.",
    ),
    Alert(
        "StepaheadCoverageOff",
        f"abs({metric('coverage_ratio')} - {metric('coverage_target_ratio')}) > 0.05",
        "1h",
        "warning",
        "the intervals hold much more or less than they promise",
        "Right after the start it passes. Later: many feeds change faster than the intervals can follow.",
    ),
    Alert(
        "StepaheadManyFlagged",
        f"{metric('flagged_series')} > 0.2 * {metric('series')} and {metric('series')} > 4",
        "1m",
        "warning",
        "a fifth of all series are flagged at the same time",
        "Something happened to the plant, or to a gateway: look at the page, flagged first.",
    ),
    Alert(
        "StepaheadSeriesSilent",
        f"{metric('silent_series')} > 0",
        "15m",
        "warning",
        "some series have stopped",
        "Sensors are off or unreachable; the page lists them under `silent`.",
    ),
    Alert(
        "StepaheadFewFileDescriptors",
        f"{metric('process_open_fds')} > 0.8 * {metric('process_max_fds')}",
        "5m",
        "warning",
        "nearly all file descriptors are in use",
        "Raise the limit (LimitNOFILE); find out who holds connections open.",
    ),
)


def rules_text(alerts: Sequence[Alert] = ALERTS) -> str:
    """The rules as Prometheus reads them: YAML whose texts are JSON strings.

    Example:
        >>> print(rules_text(ALERTS[1:2]).splitlines()[5])
              - alert: StepaheadDisconnected
    """
    lines = ["# Made by `stepahead monitoring`: change src/stepahead/telemetry/alerts.py instead.", "groups:"]
    lines += ["  - name: stepahead", "    interval: 15s", "    rules:"]
    for alert in alerts:
        lines += [
            f"      - alert: {alert.name}",
            f"        expr: {json.dumps(alert.expression)}",
            f"        for: {alert.pending}",
            "        labels:",
            f"          severity: {alert.severity}",
            "        annotations:",
            f"          summary: {json.dumps(alert.summary)}",
            f"          description: {json.dumps(alert.action)}",
        ]
    return "\n".join(lines) + "\n"
