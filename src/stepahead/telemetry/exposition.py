"""The text that Prometheus scrapes: values read at the moment of the scrape, by the thread that answers it."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from stepahead.telemetry.histogram import Histogram
from stepahead.telemetry.metrics import BY_NAME, METRICS, PREFIX, Metric

__all__ = ["CONTENT_TYPE", "Exposition"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Exposition(Collector):
    """Writes the described metrics from values handed over by name.

    Args:
        read: metric name without prefix -> a number; label value -> number where the metric has a label; or a
            `Histogram`. A metric that is absent, None or not finite is left out: not known is not 0.

    Raises:
        KeyError: a value has a name that no metric has (when scraped).

    Example:
        >>> text = Exposition(lambda: {"series": 2, "drops_total": {"late": 3}}).text().decode()
        >>> [line for line in text.splitlines() if line.startswith(("stepahead_series", "stepahead_drops"))]
        ['stepahead_drops_total{reason="late"} 3.0', 'stepahead_series 2.0']
    """

    def __init__(self, read: Callable[[], Mapping[str, Any]]) -> None:
        self._read = read
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(namespace=PREFIX.rstrip("_"), registry=self._registry)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format 0.0.4."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Any]:
        """The metrics as prometheus-client asks for them."""
        values = self._read()
        unknown = values.keys() - BY_NAME.keys()
        if unknown:
            raise KeyError(f"no metric is called {', '.join(sorted(unknown))}")
        for each in METRICS:
            value = values.get(each.name)
            if value is not None:
                yield from family(each, value)


def family(each: Metric, value: Any) -> Iterator[Any]:
    """One metric with its samples; nothing when none of them is known."""
    if isinstance(value, Histogram):
        yield HistogramMetricFamily(each.full_name, each.help, buckets=value.cumulative(), sum_value=value.total)
        return
    made = (CounterMetricFamily if each.kind == "counter" else GaugeMetricFamily)(
        each.full_name, each.help, labels=each.labels
    )
    samples = value.items() if isinstance(value, Mapping) else [(None, value)]
    for label, number in samples:
        if number is not None and math.isfinite(number):
            made.add_metric([] if label is None else [str(label)], float(number))
    if made.samples:
        yield made
