"""Every metric, described once: what is exposed, drawn in Grafana and alerted on is made from this table."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["METRICS", "PREFIX", "PROCESS_METRICS", "Metric", "metric"]

PREFIX = "stepahead_"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: without the prefix; it ends in its base unit, a counter's in `_total`.
        kind: of Prometheus.
        help: one sentence.
        labels: their names.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """Name with the prefix."""
        return PREFIX + self.name


METRICS = (
    Metric("build_info", "gauge", "The running version; always 1.", ("version",)),
    Metric("uptime_seconds", "gauge", "Time since the start."),
    Metric("connected", "gauge", "1 while the connection to the broker stands, else 0."),
    Metric("readings_total", "counter", "Readings taken since the start."),
    Metric("forecasts_total", "counter", "Forecasts published since the start."),
    Metric("drops_total", "counter", "Messages and readings dropped, by reason.", ("reason",)),
    Metric("refused_forecasts_total", "counter", "Messages of ours that the broker refused."),
    Metric("lost_forecasts_total", "counter", "QoS 0 messages that were on their way when a connection broke."),
    Metric("waiting_messages", "gauge", "Messages received and not yet answered."),
    Metric("lag_seconds", "gauge", "From a reading's own time, or its arrival, to its forecast."),
    Metric("series", "gauge", "Series known."),
    Metric("silent_series", "gauge", "Series that have been silent for more than five of their periods."),
    Metric("warming_series", "gauge", "Series whose network and interval have not seen enough yet."),
    Metric("flagged_series", "gauge", "Series whose newest readings were flagged as anomalies."),
    Metric("anomalies_total", "counter", "Readings flagged as anomalies since the start."),
    Metric("skill_ratio", "gauge", "Median over the series of 1 - error / error of repeating the last value."),
    Metric("coverage_ratio", "gauge", "Share of readings inside the interval that was published for them."),
    Metric("coverage_target_ratio", "gauge", "The share that the interval promises."),
    Metric("model_version", "gauge", "Version of the live weights, by network.", ("network",)),
    Metric("fine_tunes_total", "counter", "Fine-tunes by result.", ("result",)),
    Metric("gate_decisions_total", "counter", "Members that the gate judged since the start.", ("decision",)),
    Metric("drifts_total", "counter", "Rises of the forecast error that were found."),
    Metric("replay_fill_ratio", "gauge", "How full the replay buffer is, by network.", ("network",)),
    Metric("journal_age_seconds", "gauge", "Time since everything that was told to the engine was on the disk."),
    Metric("snapshot_age_seconds", "gauge", "Time since the newest snapshot, or since the start when there is none."),
    Metric("disk_trouble", "gauge", "1 while the disk refuses, else 0."),
    Metric("batch_readings", "histogram", "Readings stepped at once."),
    Metric("step_seconds", "histogram", "Time of one step of the engine."),
    Metric("publish_seconds", "histogram", "Time to hand the forecasts of a turn to the network."),
    Metric("viewers", "gauge", "Pages that follow the feeds live."),
    Metric("unseen_forecasts_total", "counter", "Forecasts that live page and metrics could not take in time."),
    Metric("series_observed", "gauge", "Newest reading, in the sensor's unit.", ("series",)),
    Metric("series_forecast", "gauge", "Forecast of the next reading, in the sensor's unit.", ("series",)),
    Metric("series_lower", "gauge", "Lower bound of the next reading, in the sensor's unit.", ("series",)),
    Metric("series_upper", "gauge", "Upper bound of the next reading, in the sensor's unit.", ("series",)),
    Metric("series_skill_ratio", "gauge", "1 - error / error of repeating the last value.", ("series",)),
    Metric("series_anomalies_total", "counter", "Readings flagged as anomalies since the start.", ("series",)),
)

PROCESS_METRICS = (
    Metric("process_resident_memory_bytes", "gauge", "Resident memory size in bytes."),
    Metric("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds."),
    Metric("process_open_fds", "gauge", "Number of open file descriptors."),
    Metric("process_max_fds", "gauge", "Maximum number of open file descriptors."),
)
"""Exposed by prometheus-client's own collector under our prefix, where the system has /proc."""

BY_NAME = {each.name: each for each in (*METRICS, *PROCESS_METRICS)}


def metric(name: str, suffix: str = "") -> str:
    """The full name of a metric that exists, for a query.

    Args:
        name: without the prefix.
        suffix: `_bucket`, `_sum` or `_count` of a histogram.

    Raises:
        KeyError: there is no such metric, or it has no such suffix.

    Example:
        >>> metric("lag_seconds"), metric("step_seconds", "_bucket")
        ('stepahead_lag_seconds', 'stepahead_step_seconds_bucket')
    """
    if suffix and BY_NAME[name].kind != "histogram":
        raise KeyError(f"{name} is no histogram: it has no {suffix}")
    return BY_NAME[name].full_name + suffix
