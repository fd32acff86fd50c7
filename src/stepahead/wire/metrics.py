"""Metrics of Sparkplug B to rows, by the book."""

from collections.abc import Callable
from typing import Any, NamedTuple

from stepahead.contract.reasons import DropCounter, Reason
from stepahead.contract.records import REFUSED
from stepahead.wire.births import BirthMetric
from stepahead.wire.columns import Columns
from stepahead.wire.edge_node import EdgeNode
from stepahead.wire.formats.sparkplug import Address, property_of, read_metric
from stepahead.wire.formats.timestamp import DAY_NS, EARLIEST_NS
from stepahead.wire.route import Mapping

__all__ = ["MetricReader", "SparkplugRoute"]

UNWANTED = -2
"""Slot of a metric that the settings leave out."""
CONTROLS = ("Node Control/", "Device Control/")
MOST_NAMED = 262_144
EARLIEST_MS, DAY_MS = EARLIEST_NS // 10**6, DAY_NS // 10**6
UNIT_NAMES = ("engUnit", "unit")


class SparkplugRoute(NamedTuple):
    """What is known of a topic."""

    mapping: Mapping
    address: Address
    device: str
    captures: dict[str, str]
    node: EdgeNode
    judged: bool


class MetricReader:
    """Reads metrics.

    Args:
        enrol: series key, scale and unit -> slot, or why there is none.
        drops: counts what is not read.
    """

    def __init__(self, enrol: Callable[[str, float, object], int | Reason], drops: DropCounter) -> None:
        self._enrol = enrol
        self._drops = drops
        self._named: dict[tuple[str, str], BirthMetric] = {}

    def forget(self) -> None:
        """Forget every slot of metrics that no birth told of."""
        self._named.clear()

    def read(
        self,
        metric: Any,
        route: SparkplugRoute,
        default_ms: int,
        sound: bool,
        names: dict[str, BirthMetric],
        aliases: dict[int, BirthMetric],
        received_ns: int,
        index: int,
        columns: Columns,
    ) -> None:
        """Read one metric by the book, counting what is not readable."""
        drops, mapping, node = self._drops, route.mapping, route.node
        name: object = metric.name
        if name:
            if not isinstance(name, str):
                drops[Reason.KEY_INVALID] += 1
                return
            if name == "bdSeq" or name.startswith(CONTROLS):
                return
            known = names.get(name)
        else:
            known = aliases.get(metric.alias) if metric.HasField("alias") else None
        if known is None:
            if not name:
                if sound:
                    node.ask = True
                    drops[Reason.ALIAS_UNKNOWN] += 1
                else:
                    drops[Reason.SESSION_OVER if node.born else Reason.BEFORE_BIRTH] += 1
                return
            known = self._named_metric(route.address.topic, str(name))
        if known.name == "bdSeq" or known.name.startswith(CONTROLS):
            return
        if known.slot == REFUSED and not mapping.choice.wanted(known.name):
            known.slot = UNWANTED
        if known.slot == UNWANTED:
            return
        # A metric of another session that has the name of a known one may have another type.
        number = read_metric(metric, metric.datatype or (known.datatype if sound else 0), mapping.booleans)
        if isinstance(number, Reason):
            drops[number] += 1
            return
        time_ms = metric.timestamp or default_ms or received_ns // 1_000_000
        reason = None if EARLIEST_MS <= time_ms <= received_ns // 1_000_000 + DAY_MS else Reason.TIME_ABSURD
        if reason is None and metric.HasField("properties"):
            reason = _judge(metric, mapping)
        if reason is None and known.slot < 0:
            reason = self._enter(known, metric, route)
        if reason is None:
            columns.add(known.slot, time_ms * 1_000_000, number, index)
        else:
            drops[reason] += 1

    def _named_metric(self, topic: str, name: str) -> BirthMetric:
        """A metric that no birth told of, by its full name."""
        known = self._named.get((topic, name))
        if known is None:
            known = BirthMetric(name, 0)
            if len(self._named) < MOST_NAMED:
                self._named[topic, name] = known
        return known

    def _enter(self, known: BirthMetric, metric: Any, route: SparkplugRoute) -> Reason | None:
        """Get a slot for a metric, or say why there is none."""
        address = route.address
        parts = {"group": address.group, "node": address.node, "device": address.device}
        key = route.mapping.key.fill(address.topic, route.captures, known.name, parts, None)
        if key is None:
            return Reason.KEY_INVALID
        told = (property_of(metric, name) for name in UNIT_NAMES)
        unit = route.mapping.unit or next((unit for unit in told if unit is not None), None)
        slot = self._enrol(key, route.mapping.scale, unit)
        if isinstance(slot, Reason):
            return slot
        known.slot = slot
        return None


def _judge(metric: Any, mapping: Mapping) -> Reason | None:
    """Whether quality and unit of a metric speak against it (Sparkplug 3.0, §6.4.9: good is 192)."""
    quality = property_of(metric, "Quality")
    if quality is not None and not mapping.quality.is_good(quality):
        return Reason.QUALITY_BAD
    if mapping.unit is not None:
        units = [property_of(metric, name) for name in UNIT_NAMES]
        if any(unit not in (None, mapping.unit) for unit in units):
            return Reason.UNIT_OTHER
    return None
