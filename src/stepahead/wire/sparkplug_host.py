"""The Sparkplug B side of the decoder: edge nodes by name, their metrics as readings, and requests for rebirth."""

from collections.abc import Callable
from collections.abc import Mapping as Table
from typing import Any
from zlib import crc32

from stepahead.contract.reasons import DropCounter, Reason
from stepahead.contract.settings import SparkplugSettings
from stepahead.wire.births import Message, Verdict
from stepahead.wire.columns import Columns
from stepahead.wire.edge_node import EdgeNode
from stepahead.wire.formats.sparkplug import (
    decode_payload,
    parse_topic,
    rebirth_request,
)
from stepahead.wire.metrics import MetricReader, SparkplugRoute
from stepahead.wire.plain_data import PlainData
from stepahead.wire.route import Mapping

__all__ = ["SparkplugHost"]

MOST_NODES, MOST_ROUTES = 65_536, 262_144
IDLE_VERBS = frozenset({"NCMD", "DCMD", "STATE"})


class SparkplugHost:
    """Follows all edge nodes that it hears and turns their metrics into readings.

    The key of a metric is `spBv1.0/GROUP/NODE[/DEVICE]/METRIC`, or what the template makes of `group`, `node` and
    `device` beside the usual names.

    Args:
        settings: how nodes are followed.
        mapping_of: the subscription that reads a topic.
        enrol: series key, scale and unit -> slot, or why there is none.
        drops: counts what is not read.

    Attributes:
        data_routes: topics of data that were heard -> what is known of them.
        read_plain: reads a message on such a topic in the plain case, see `PlainData.read`.
        commands: topics and payloads of requests that are to be published, oldest first.
        stale: slots of series whose source died.
        births, deaths, rebirths: how many were seen, or asked for.
    """

    def __init__(
        self,
        settings: SparkplugSettings,
        mapping_of: Callable[[str], Mapping | None],
        enrol: Callable[[str, float, object], int | Reason],
        drops: DropCounter,
    ) -> None:
        self._settings = settings
        self._mapping_of = mapping_of
        self._metric_reader = MetricReader(enrol, drops)
        self._drops = drops
        self._reorder_ns = round(settings.reorder_s * 1e9)
        self._every_ns = round(settings.rebirth_every_s * 1e9)
        self._nodes: dict[tuple[str, str], EdgeNode] = {}
        self._routes: dict[bytes, SparkplugRoute] = {}
        self.data_routes: dict[bytes, SparkplugRoute] = {}
        self._waiting: set[tuple[str, str]] = set()
        self._touched: set[EdgeNode] = set()
        self.read_plain = PlainData(self._metric_reader, self._touched, self._asks).read
        self.commands: list[tuple[bytes, bytes]] = []
        self.stale: list[int] = []
        self.births = self.deaths = self.rebirths = 0

    def read(self, topic: bytes, payload: bytes, flags: int, received_ns: int, index: int, columns: Columns) -> None:
        """Read one message into columns; what it holds may come later, with a message that it waits for.

        Args:
            topic: raw.
            payload: raw.
            flags: of the delivery.
            received_ns: UTC nanoseconds.
            index: of the delivery.
            columns: rows are appended.
        """
        route = self._route(topic)
        if route is None:
            return
        if isinstance(route, Reason):
            self._drops[route] += 1
            return
        decoded = decode_payload(payload)
        verb = route.address.verb
        if decoded is None or (verb != "NDEATH" and not (decoded.HasField("seq") and decoded.seq <= 255)):
            self._drops[Reason.NOT_DECODABLE] += 1
            return
        self.births += verb in ("NBIRTH", "DBIRTH")
        self.deaths += verb in ("NDEATH", "DDEATH")
        device = route.address.device
        message = Message(verb, device, topic, decoded, payload, crc32(payload), flags >> 1 & 3, received_ns)
        self._follow(route.node, route.node.take(message), received_ns, index, columns)

    def overdue(self, now_ns: int, columns: Columns) -> None:
        """Append what is waited for no longer; for when nothing comes."""
        for name in [*self._waiting]:
            node = self._nodes[name]
            self._follow(node, node.expire(now_ns), now_ns, 0, columns)

    def doubt(self) -> None:
        """Told of a new connection: messages of QoS 0 may have been missed by us."""
        for node in self._nodes.values():
            node.doubt()

    def forget(self) -> None:
        """Forget every slot."""
        self._metric_reader.forget()
        for node in self._nodes.values():
            node.forget_slots()

    def knows(self, topic: bytes) -> bool:
        """Whether messages of a topic are followed."""
        return topic in self._routes

    @property
    def busy(self) -> bool:
        """Whether there is anything to be sent, told or written down."""
        return bool(self.commands or self.stale or self._touched)

    def changes(self) -> list[dict[str, Any]]:
        """What changed in nodes since the last call, for a journal; `take_changes` of another host repeats it."""
        told = []
        for node in self._touched:
            if node.changed or node.moved:
                told.append(node.state_dict(node.changed))
                node.changed, node.moved = set(), False
        self._touched.clear()
        return told

    def take_commands(self) -> list[tuple[bytes, bytes]]:
        """The requests that are to be published, once."""
        commands, self.commands = self.commands, []
        return commands

    def take_stale(self) -> list[int]:
        """The slots of series whose source died, once."""
        stale, self.stale = self.stale, []
        return stale

    def take_changes(self, told: list[dict[str, Any]]) -> None:
        """Repeat what `changes` told."""
        for state in told:
            node = self._node(state["group"], state["node"])
            node.load_state_dict(state)
            if node.waits:
                self._waiting.add((node.group, node.name))

    def state_dict(self) -> dict[str, Any]:
        """All nodes, as plain values."""
        return {"nodes": [node.state_dict() for node in self._nodes.values()]}

    def load_state_dict(self, state: Table[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.take_changes(state["nodes"])

    def _node(self, group: str, name: str) -> EdgeNode:
        node = self._nodes.get((group, name))
        if node is None:
            node = EdgeNode(group, name, self._settings.rebirth, self._reorder_ns)
            self._nodes[group, name] = node
        return node

    def _route(self, topic: bytes) -> SparkplugRoute | Reason | None:
        """The route of a topic; None for messages that are no business of ours."""
        route = self._routes.get(topic)
        if route is not None:
            return route
        try:
            text = topic.decode()
        except UnicodeDecodeError:
            return Reason.NOT_UTF8
        address = parse_topic(text)
        mapping = self._mapping_of(text)
        if address is None or mapping is None:
            return Reason.NO_READING
        if address.verb in IDLE_VERBS:
            return None
        if (address.group, address.node) not in self._nodes and len(self._nodes) >= MOST_NODES:
            return Reason.TOO_MANY_SERIES
        node = self._node(address.group, address.node)
        is_data = address.verb in ("NDATA", "DDATA")
        captures = mapping.filter.captures(text)
        route = SparkplugRoute(mapping, address, address.device, captures, node, mapping.unit is not None)
        if len(self._routes) < MOST_ROUTES:
            self._routes[topic] = route
            if is_data:
                self.data_routes[topic] = route
        return route

    def _asks(self, node: EdgeNode, now_ns: int, index: int, columns: Columns) -> None:
        self._follow(node, [], now_ns, index, columns)

    def _follow(self, node: EdgeNode, verdicts: list[Verdict], now_ns: int, index: int, columns: Columns) -> None:
        """Read the messages whose turn it is, and do what the node asks for."""
        for verdict in verdicts:
            self._metrics(verdict, node, index, columns)
        if node.gaps:
            self._drops[Reason.SEQUENCE_GAP] += node.gaps
            node.gaps = 0
        if node.stale:
            self.stale += node.stale
            node.stale = []
        if node.ask:
            node.ask = False
            if self._settings.rebirth and now_ns - node.asked_ns >= self._every_ns:
                node.asked_ns = now_ns
                self.rebirths += 1
                self.commands.append(rebirth_request(node.group, node.name, now_ns))
        name = (node.group, node.name)
        if node.waits:
            self._waiting.add(name)
        else:
            self._waiting.discard(name)
        if node.changed or node.moved:
            self._touched.add(node)

    def _metrics(self, verdict: Verdict, node: EdgeNode, index: int, columns: Columns) -> None:
        message = verdict.message
        route = self._route(message.topic)
        if not isinstance(route, SparkplugRoute):  # held over a restart, after which the settings leave its topic out
            self._drops[Reason.NO_READING] += 1
            return
        births = verdict.births
        if verdict.sound and births is None:
            node.ask = node.ask or bool(message.payload.metrics)
        names, aliases = (births.names, births.aliases) if births is not None else ({}, {})
        for metric in message.payload.metrics:
            self._metric_reader.read(metric, route, message.payload.timestamp, verdict.sound, names, aliases,
                         message.received_ns, index, columns)  # fmt: skip
