"""Deliveries in, columns out: the way of a reading from the broker to the engine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from stepahead.contract.errors import SettingsError, StepaheadError
from stepahead.contract.reasons import DropCounter, Reason
from stepahead.contract.records import Intern, Readings, SlotArray
from stepahead.contract.settings import SparkplugSettings, SubscriptionSettings
from stepahead.wire.acceptance import Acceptance
from stepahead.wire.columns import Columns
from stepahead.wire.delivery import Delivery
from stepahead.wire.enrolment import Enrolment
from stepahead.wire.formats.json import Found, decode_json
from stepahead.wire.formats.pointer import MISSING
from stepahead.wire.formats.sparkplug import NAMESPACE
from stepahead.wire.formats.timestamp import DAY_NS, EARLIEST_NS, read_time
from stepahead.wire.lines import LineReader
from stepahead.wire.packs import PackReader
from stepahead.wire.plans import SURELY_MS, read_array, read_object, read_typed_array
from stepahead.wire.recognition import JSON_STARTS, JSON_WORDS, RouteFormat, recognise
from stepahead.wire.route import Mapping, Route
from stepahead.wire.sparkplug_host import SparkplugHost

__all__ = ["Decoded", "Decoder"]

SURELY_NS = SURELY_MS * 1_000_000
SPARKPLUG = NAMESPACE.encode() + b"/"

_decode_json = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Decoded:
    """Readings of a list of deliveries, in order.

    Attributes:
        readings: the columns.
        message: int32[n], row -> index of the delivery it came in.
    """

    readings: Readings
    message: SlotArray


class Decoder:
    """Turns payloads into readings; what cannot be read is counted by reason and never raised.

    A topic's text, captures and slots are worked out once; afterwards a message costs one look-up of its raw topic
    and, for flat objects, one of the tuple of its field names. Only topics with at least one series are remembered,
    so a flood of topics beyond `max_series` leaves no trace in memory.

    Args:
        subscriptions: how payloads are read; the first whose filter matches a topic counts.
        intern: series key -> slot, or `REFUSED`.
        drops: counts what is not read.
        own_prefix: topics below it are our own output and never input.
        max_payload_bytes: larger payloads are not looked into.
        sparkplug: how edge nodes are followed.
        on_unforeseen: given topic, payload and error of a message over which we stumbled, which is then dropped as
            `unforeseen`. Raised without it; but the broker delivers again what was not acknowledged, so that one such
            message would end the service at each of its starts.

    Attributes:
        units: of the series, as far as messages or settings tell them.
        sparkplug: what is known of edge nodes, which a restart must know too; and what is to be sent to them.

    Raises:
        SettingsError: a filter or a key template is malformed.

    Example:
        >>> keys = []
        >>> def intern(key):
        ...     keys.append(key)
        ...     return len(keys) - 1
        >>> decoder = Decoder([SubscriptionSettings(filter="plant/#")], intern, DropCounter(), "stepahead/v1")
        >>> payload = b'{"ts": 1760000000000, "value": 21.5, "seq": 7}'
        >>> decoded = decoder.decode([Delivery(b"plant/pump", payload, 2, 1, 1760000000000000000)])
        >>> keys, decoded.readings.value, decoded.readings.time_ns
        (['plant/pump'], array([21.5]), array([1760000000000000000]))
    """

    def __init__(
        self,
        subscriptions: Sequence[SubscriptionSettings],
        intern: Intern,
        drops: DropCounter,
        own_prefix: str,
        max_payload_bytes: int = 262_144,
        sparkplug: SparkplugSettings | None = None,
        on_unforeseen: Callable[[bytes, bytes, Exception], None] | None = None,
    ) -> None:
        self._on_unforeseen = on_unforeseen
        self._mappings = [Mapping(settings) for settings in subscriptions]
        if not self._mappings:
            raise SettingsError("subscriptions: at least one is needed")
        self._drops = drops
        scaled = any(mapping.scale != 1.0 for mapping in self._mappings)
        self._enrolment = Enrolment(intern, drops, scaled)
        self.units = self._enrolment.units
        self._acceptance = Acceptance(self._enrolment, drops)
        self._packs = PackReader(self._acceptance, drops)
        self._lines = LineReader(self._acceptance, drops)
        self.sparkplug = SparkplugHost(
            sparkplug or SparkplugSettings(), self._sparkplug_mapping, self._enrolment.enrol, drops
        )
        self._own = own_prefix + "/"
        self._max_payload_bytes = max_payload_bytes
        self._routes: dict[bytes, Route] = {}
        self._others: dict[bytes, Route] = {}
        self._speaks_sparkplug = any(mapping.format in ("auto", "sparkplug") for mapping in self._mappings)

    def decode(self, deliveries: Sequence[Delivery]) -> Decoded:
        """Read all deliveries, in order; every row is finite and its time plausible."""
        columns = Columns()
        routes, others, longest = self._routes, self._others, self._max_payload_bytes
        sparkplug, nodes, read_plain = self.sparkplug, self.sparkplug.data_routes, self.sparkplug.read_plain
        for index, (topic, payload, flags, _token, received_ns) in enumerate(deliveries):
            route = routes.get(topic)
            if route is not None and len(payload) <= longest:
                try:
                    start = payload[0]
                    if start == 0x7B:  # {
                        if route.typed is not None:
                            try:
                                row = route.typed.one(payload)
                            except ValueError:
                                pass  # of another shape
                            else:
                                time = received_ns
                                if route.typed.timed:
                                    time = row.time * 1_000_000
                                if SURELY_NS <= time < received_ns + DAY_NS:
                                    columns.series.append(route.typed_slot)
                                    columns.time_ns.append(time)
                                    columns.value.append(row.value)
                                    columns.message.append(index)
                                    continue
                        if route.plans:
                            document = _decode_json(payload)
                            plan = route.plans.get(tuple(document))
                            if plan is not None and read_object(document, plan, received_ns, index, columns):
                                continue
                    elif start == 0x5B:  # [
                        try:
                            if read_typed_array(payload, route, received_ns, index, columns):
                                continue
                        except ValueError:
                            pass  # of another shape
                        if read_array(_decode_json(payload), route, received_ns, index, columns):
                            continue
                    elif route.value_slot >= 0:
                        number = float(payload)
                        if number - number == 0.0 and b"_" not in payload:
                            columns.series.append(route.value_slot)
                            columns.time_ns.append(received_ns)
                            columns.value.append(number)
                            columns.message.append(index)
                            continue
                except (ValueError, IndexError, RecursionError):
                    pass  # no plain case: it is looked at again below, and counted there
            try:
                source = nodes.get(topic)
                if source is not None and len(payload) <= longest:
                    if read_plain(source, payload, flags, received_ns, index, columns):
                        continue
                elif topic in others and len(payload) <= longest:
                    other = others[topic]
                    known = PackReader.read_known if other.format == "senml" else LineReader.read_known
                    if known(payload, other, received_ns, index, columns):
                        continue
                if self._speaks_sparkplug and topic.startswith(SPARKPLUG) and len(payload) <= longest:
                    sparkplug.read(topic, payload, flags, received_ns, index, columns)
                else:
                    self._read(topic, payload, received_ns, index, columns)
            except (StepaheadError, MemoryError):
                raise
            except Exception as error:
                if self._on_unforeseen is None:
                    raise
                self._drops[Reason.UNFORESEEN] += 1
                self._on_unforeseen(topic, payload, error)
        return Decoded(*self._enrolment.finish(columns))

    def format_of(self, topic: bytes) -> RouteFormat | Literal["sparkplug"] | None:
        """In which format the messages of a topic are read; None as long as none could be."""
        route = self._routes.get(topic) or self._others.get(topic)
        if route is not None:
            return route.format
        return "sparkplug" if self.sparkplug.knows(topic) else None

    def overdue(self, now_ns: int) -> Decoded:
        """Readings that waited for others which did not come; for when no message comes.

        Args:
            now_ns: UTC nanoseconds since 1970.
        """
        columns = Columns()
        self.sparkplug.overdue(now_ns, columns)
        return Decoded(*self._enrolment.finish(columns))

    def forget(self) -> None:
        """Forget every slot: for when slots were given to other series. The next messages ask `intern` again."""
        self._routes.clear()
        self._others.clear()
        self._enrolment.forget()
        self.sparkplug.forget()

    def _read(self, topic: bytes, payload: bytes, received_ns: int, index: int, columns: Columns) -> None:
        """Read one message that is no plain case, counting what is not readable."""
        drops = self._drops
        route = self._routes.get(topic) or self._others.get(topic) or self._new_route(topic, payload)
        if isinstance(route, Reason):
            drops[route] += 1
            return
        if len(payload) > self._max_payload_bytes:
            drops[Reason.TOO_LARGE] += 1
            return
        before, dropped = len(columns.series), drops.total()
        if route.format == "plain":
            self._plain(payload, route, received_ns, index, columns)
        elif route.format == "senml":
            self._packs.read(payload, route, received_ns, index, columns)
        else:
            self._lines.read(payload, route, received_ns, index, columns)
        if len(columns.series) > before:
            (self._routes if route.format == "plain" else self._others).setdefault(topic, route)
        elif drops.total() == dropped:
            drops[Reason.NO_READING] += 1

    def _plain(self, payload: bytes, route: Route, received_ns: int, index: int, columns: Columns) -> None:
        """Read a number or JSON by the book."""
        drops = self._drops
        document = self._document(payload, route.mapping)
        if isinstance(document, Reason):
            drops[document] += 1
            return
        found: list[Found] = []
        before = len(columns.series)
        reason = route.mapping.json.find(document, found)
        if reason is not None:
            drops[reason] += 1
        raw_time: object = MISSING
        time: int | Reason = received_ns
        for item in found:
            if item.time is not raw_time:  # the fields of one object share it
                raw_time = item.time
                time = received_ns if raw_time is MISSING else self._time(raw_time, route.mapping, received_ns)
            self._acceptance.accept(item, time, document, route, index, columns)
        if len(columns.series) > before:
            example = document[0] if type(document) is list else document
            if type(example) is dict:
                route.learn(example)

    def _sparkplug_mapping(self, topic: str) -> Mapping | None:
        """The first subscription that matches, if it is one for Sparkplug."""
        for mapping in self._mappings:
            if mapping.filter.matches(topic):
                return mapping if mapping.format in ("auto", "sparkplug") else None
        return None

    def _new_route(self, topic: bytes, payload: bytes) -> Route | Reason:
        try:
            text = topic.decode()
        except UnicodeDecodeError:
            return Reason.NOT_UTF8
        if text.startswith(self._own):
            return Reason.OWN_OUTPUT
        for mapping in self._mappings:
            if mapping.filter.matches(text):
                route = Route(mapping, text, mapping.filter.captures(text))
                if mapping.format == "auto" and len(payload) <= self._max_payload_bytes:
                    route.format = "plain" if mapping.describes_json else recognise(payload)
                elif mapping.format in ("senml", "line"):
                    route.format = mapping.format
                elif mapping.format == "sparkplug":
                    return Reason.NO_READING  # a topic outside its name space
                return route
        return Reason.NO_READING

    @staticmethod
    def _document(payload: bytes, mapping: Mapping) -> object:
        stripped = payload.strip()
        if not stripped:
            return Reason.VALUE_MISSING
        looks_json = stripped[0] in JSON_STARTS or stripped in JSON_WORDS or stripped.startswith(b"\xef\xbb\xbf")
        if mapping.format == "json" or (mapping.format == "auto" and looks_json):
            return decode_json(payload)
        try:
            return stripped.decode()
        except UnicodeDecodeError:
            return Reason.NOT_DECODABLE

    @staticmethod
    def _time(raw: object, mapping: Mapping, received_ns: int) -> int | Reason:
        time = read_time(raw, mapping.time_unit, mapping.zone)
        if time is None:
            return Reason.TIME_NOT_DECODABLE
        return time if EARLIEST_NS <= time <= received_ns + DAY_NS else Reason.TIME_ABSURD
