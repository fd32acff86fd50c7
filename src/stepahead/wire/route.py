"""What is known of one topic: how its payloads are read, and which slots its fields have."""

from dataclasses import dataclass, field

from stepahead.contract.records import REFUSED
from stepahead.contract.settings import SubscriptionSettings
from stepahead.wire.formats.json import JsonMapping, Shape
from stepahead.wire.formats.timestamp import EARLIEST_NS, TimeUnit, read_time
from stepahead.wire.key import KeyTemplate
from stepahead.wire.topics import TopicFilter, parse_filter

__all__ = ["Mapping", "Plan", "Route"]

LATEST_NS = 2**62  # the year 2116; above it, nanoseconds of unset clocks and overflows begin


class Mapping:
    """A subscription made ready: filter, key template and JSON mapping.

    Args:
        settings: the subscription.

    Raises:
        SettingsError: filter or key template are malformed.
    """

    def __init__(self, settings: SubscriptionSettings) -> None:
        self.filter: TopicFilter = parse_filter(settings.filter)
        self.format = settings.format
        self.booleans = settings.booleans
        self.unit: TimeUnit = settings.time_unit
        self.key = KeyTemplate(settings.key, [name for _, name in self.filter.names])
        self.takes_pairs = settings.readings is None and settings.time_unit == "auto" and settings.format != "number"
        self.json = JsonMapping(settings, self._is_time)

    def _is_time(self, raw: object) -> bool:
        time_ns = read_time(raw, self.unit)
        return time_ns is not None and EARLIEST_NS <= time_ns < LATEST_NS


@dataclass(frozen=True, slots=True)
class Plan:
    """How a document of a known shape is read without looking for anything.

    Attributes:
        time: name of the field with the time.
        unit: unit of a numeric time.
        fields: name and slot of each field that may hold a number; `REFUSED` for one that held none.
    """

    time: str | None
    unit: TimeUnit
    fields: tuple[tuple[str, int], ...]


@dataclass(slots=True)
class Route:
    """A topic with its mapping; `slots` and `plans` fill as fields and shapes are met, and never change afterwards.

    Attributes:
        slots: field -> slot.
        value_slot: slot of a bare number, where such payloads are read as `float` reads them.
        pair_slot: slot of `[time, value]`, where such times are milliseconds.
        plans: field names of a document -> how to read it.
    """

    mapping: Mapping
    topic: str
    captures: dict[str, str]
    slots: dict[str, int] = field(default_factory=dict)
    value_slot: int = REFUSED
    pair_slot: int = REFUSED
    plans: dict[tuple[str, ...], Plan] = field(default_factory=dict)

    MAX_PLANS = 8

    def learn_value(self, slot: int) -> None:
        """Keep the slot of the reading whose field is the value itself."""
        if self.mapping.format != "json":  # JSON is stricter about numbers than float()
            self.value_slot = slot
        if self.mapping.takes_pairs:
            self.pair_slot = slot

    def learn(self, document: dict[str, object]) -> None:
        """Keep the shape of a document just read, if documents of this shape can be read by plan."""
        if len(self.plans) >= self.MAX_PLANS or self.mapping.key.needs_payload:
            return
        shape: Shape | None = self.mapping.json.shape(document)
        if shape is not None:
            slots = [
                (name, self.slots.get(path, REFUSED) if number else REFUSED) for name, path, number in shape.fields
            ]
            if any(slot >= 0 for _, slot in slots) and all(
                slot >= 0 for (_, slot), (_, _, number) in zip(slots, shape.fields, strict=True) if number
            ):
                self.plans[tuple(document)] = Plan(shape.time, self.mapping.unit, tuple(slots))
