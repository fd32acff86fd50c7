"""Deliveries in, columns out: the way of a reading from the broker to the engine."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite

import msgspec
import numpy as np

from stepahead.contract.errors import SettingsError
from stepahead.contract.reasons import DropCounter, Reason
from stepahead.contract.records import REFUSED, Intern, Readings, SlotArray
from stepahead.contract.settings import SubscriptionSettings
from stepahead.wire.delivery import Delivery
from stepahead.wire.formats.json import Found, decode_json
from stepahead.wire.formats.number import read_number, read_value
from stepahead.wire.formats.pointer import MISSING
from stepahead.wire.formats.timestamp import DAY_NS, EARLIEST_NS, read_time
from stepahead.wire.route import Mapping, Plan, Route

__all__ = ["Decoded", "Decoder"]

# Integers in this range are milliseconds for `read_time` too, and need not be asked about.
SURELY_MS, ABOVE_MS = 10**11, 10**14
DAY_MS = DAY_NS // 10**6
JSON_STARTS = frozenset(b'{["')
JSON_WORDS = frozenset({b"true", b"false", b"null"})

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


@dataclass(slots=True)
class _Columns:
    series: list[int] = field(default_factory=list)
    time_ns: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    message: list[int] = field(default_factory=list)

    def cut(self, length: int) -> None:
        for column in (self.series, self.time_ns, self.value, self.message):
            del column[length:]


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
    ) -> None:
        self._mappings = [Mapping(settings) for settings in subscriptions]
        if not self._mappings:
            raise SettingsError("subscriptions: at least one is needed")
        self._intern = intern
        self._drops = drops
        self._own = own_prefix + "/"
        self._max_payload_bytes = max_payload_bytes
        self._routes: dict[bytes, Route] = {}

    def decode(self, deliveries: Sequence[Delivery]) -> Decoded:
        """Read all deliveries, in order; every row is finite and its time plausible."""
        columns = _Columns()
        routes, longest = self._routes, self._max_payload_bytes
        for index, (topic, payload, _flags, _token, received_ns) in enumerate(deliveries):
            route = routes.get(topic)
            if route is not None and len(payload) <= longest:
                try:
                    start = payload[0]
                    if start == 0x7B:  # {
                        if route.plans:
                            document = _decode_json(payload)
                            plan = route.plans.get(tuple(document))
                            if plan is not None and _by_plan(document, plan, received_ns, index, columns):
                                continue
                    elif start == 0x5B:  # [
                        if _all_by_plan(_decode_json(payload), route, received_ns, index, columns):
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
            self._read(topic, payload, received_ns, index, columns)
        readings = Readings.of(columns.series, columns.time_ns, columns.value)
        return Decoded(readings, np.asarray(columns.message, dtype=np.int32))

    def forget(self) -> None:
        """Forget every slot: for when slots were given to other series. The next messages ask `intern` again."""
        self._routes.clear()

    def _read(self, topic: bytes, payload: bytes, received_ns: int, index: int, columns: _Columns) -> None:
        """Read one message by the book, counting what is not readable."""
        drops = self._drops
        route = self._routes.get(topic) or self._new_route(topic)
        if isinstance(route, Reason):
            drops[route] += 1
            return
        if len(payload) > self._max_payload_bytes:
            drops[Reason.TOO_LARGE] += 1
            return
        document = self._document(payload, route.mapping)
        if isinstance(document, Reason):
            drops[document] += 1
            return
        found: list[Found] = []
        before, dropped = len(columns.series), drops.total()
        reason = route.mapping.json.find(document, found)
        if reason is not None:
            drops[reason] += 1
        raw_time: object = MISSING
        time: int | Reason = received_ns
        for item in found:
            if item.time is not raw_time:  # the fields of one object share it
                raw_time = item.time
                time = received_ns if raw_time is MISSING else self._time(raw_time, route.mapping, received_ns)
            self._accept(item, time, document, route, index, columns)
        if len(columns.series) > before:
            self._routes.setdefault(topic, route)
            example = document[0] if type(document) is list else document
            if type(example) is dict:
                route.learn(example)
        elif drops.total() == dropped:
            drops[Reason.NO_READING] += 1

    def _new_route(self, topic: bytes) -> Route | Reason:
        try:
            text = topic.decode()
        except UnicodeDecodeError:
            return Reason.NOT_UTF8
        if text.startswith(self._own):
            return Reason.OWN_OUTPUT
        for mapping in self._mappings:
            if mapping.filter.matches(text):
                return Route(mapping, text, mapping.filter.captures(text))
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
            return read_number(stripped.decode(), mapping.booleans)
        except UnicodeDecodeError:
            return Reason.NOT_DECODABLE

    @staticmethod
    def _time(raw: object, mapping: Mapping, received_ns: int) -> int | Reason:
        time = read_time(raw, mapping.unit)
        if time is None:
            return Reason.TIME_NOT_DECODABLE
        return time if EARLIEST_NS <= time <= received_ns + DAY_NS else Reason.TIME_ABSURD

    def _accept(
        self, item: Found, time: int | Reason, document: object, route: Route, index: int, columns: _Columns
    ) -> None:
        drops, mapping, raw = self._drops, route.mapping, item.raw
        number = raw if type(raw) is float and isfinite(raw) else read_value(raw, mapping.booleans)
        if isinstance(number, Reason):
            drops[number] += 1
            return
        if isinstance(time, Reason):
            drops[time] += 1
            return
        slot = route.slots.get(item.field, REFUSED)
        if slot < 0:
            key = mapping.key.fill(route.topic, route.captures, item.field, item.element, document)
            if key is None:
                drops[Reason.KEY_INVALID] += 1
                return
            slot = self._intern(key)
            if slot < 0:
                drops[Reason.TOO_MANY_SERIES] += 1
                return
            if not mapping.key.needs_payload:
                route.slots[item.field] = slot
                if not item.field:
                    route.learn_value(slot)
        columns.series.append(slot)
        columns.time_ns.append(time)
        columns.value.append(number)
        columns.message.append(index)


def _by_plan(document: dict[str, object], plan: Plan, received_ns: int, index: int, columns: _Columns) -> bool:
    """Read a flat object of known shape; False, and nothing done, when something is out of the ordinary."""
    time = received_ns
    if plan.time is not None:
        raw = document[plan.time]
        if type(raw) is int and plan.unit == "auto" and SURELY_MS <= raw < ABOVE_MS:
            time = raw * 1_000_000
        else:
            read = read_time(raw, plan.unit)
            if read is None:
                return False
            time = read
        if not EARLIEST_NS <= time <= received_ns + DAY_NS:
            return False
    before = len(columns.series)
    for name, slot in plan.fields:
        number = document[name]
        kind = type(number)
        if slot >= 0 and (kind is float or (kind is int and -(2**63) < number < 2**63)):  # type: ignore[operator]
            columns.series.append(slot)
            columns.time_ns.append(time)
            columns.value.append(number)  # type: ignore[arg-type]
            columns.message.append(index)
        elif slot >= 0 or kind is dict or kind is float or kind is int:
            columns.cut(before)
            return False
    return True


def _all_by_plan(document: object, route: Route, received_ns: int, index: int, columns: _Columns) -> bool:
    """Read an array of flat objects of known shapes, or of pairs; False, and nothing done, when one is otherwise."""
    before, plans, pair_slot = len(columns.series), route.plans, route.pair_slot
    latest_ms = received_ns // 1_000_000 + DAY_MS
    for element in document:  # type: ignore[attr-defined]
        if type(element) is dict:
            plan = plans.get(tuple(element))
            if plan is not None and _by_plan(element, plan, received_ns, index, columns):
                continue
        elif type(element) is list and len(element) == 2:
            time, number = element
            if type(time) is int and SURELY_MS <= time < latest_ms and type(number) is float and pair_slot >= 0:
                columns.series.append(pair_slot)
                columns.time_ns.append(time * 1_000_000)
                columns.value.append(number)
                columns.message.append(index)
                continue
        columns.cut(before)
        return False
    return len(columns.series) > before
