"""What is known of one topic: how its payloads are read, and which slots its fields have."""

from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

from stepahead.contract.records import REFUSED
from stepahead.contract.settings import SubscriptionSettings
from stepahead.wire.formats.choice import FieldChoice
from stepahead.wire.formats.json import JsonMapping, Shape
from stepahead.wire.formats.line_layout import Layout, Rounds
from stepahead.wire.formats.pointer import Pointer, parse_pointer
from stepahead.wire.formats.quality import Quality
from stepahead.wire.formats.senml_layout import Labels, PackLayout
from stepahead.wire.formats.timestamp import EARLIEST_NS, TimeUnit, read_time
from stepahead.wire.formats.typed import Typed, typed
from stepahead.wire.key import KeyTemplate
from stepahead.wire.recognition import RouteFormat
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
        self.units = settings.units
        self.time_unit: TimeUnit = settings.time_unit
        self.zone: tzinfo = UTC if settings.zone is None else ZoneInfo(settings.zone)
        self.choice = FieldChoice.of(settings)
        self.scale = settings.scale
        self.unit = settings.unit
        self.unit_at: Pointer | None = None if settings.unit_at is None else parse_pointer(settings.unit_at)
        self.quality = Quality(settings.good)
        self.quality_at: Pointer | None = None if settings.quality is None else parse_pointer(settings.quality)
        self.describes_json = settings.value is not None or settings.readings is not None
        self.judges = self.unit is not None or self.quality_at is not None
        self.key = KeyTemplate(settings.key, [name for _, name in self.filter.names])
        self.takes_pairs = (
            settings.readings is None
            and settings.time_unit == "auto"
            and settings.format in ("auto", "json")
            and not self.judges
        )
        self.json = JsonMapping(settings, self._is_time)

    def _is_time(self, raw: object) -> bool:
        time_ns = read_time(raw, self.time_unit, self.zone)
        return time_ns is not None and EARLIEST_NS <= time_ns < LATEST_NS


@dataclass(frozen=True, slots=True)
class Plan:
    """How a document of a known shape is read without looking for anything.

    Attributes:
        time: name of the field with the time.
        unit: unit of a numeric time.
        zone: of a time that names none.
        fields: name and slot of each field that may hold a number; `REFUSED` for one that held none.
    """

    time: str | None
    unit: TimeUnit
    zone: tzinfo
    fields: tuple[tuple[str, int], ...]


@dataclass(slots=True)
class Route:
    """A topic with its mapping; `slots` and `plans` fill as fields and shapes are met, and never change afterwards.

    Attributes:
        slots: field -> slot.
        value_slot: slot of a bare number, where such payloads are read as `float` reads them.
        pair_slot: slot of `[time, value]`, where such times are milliseconds.
        plans: field names of a document -> how to read it.
        typed: decoders for the newest shape that has but one value, and its slot.
        format: `plain` is a number or JSON, told apart by each payload; else as in the settings.
        heads: line protocol: measurement and tags as they stand -> the layouts of the fields behind them.
        met: line protocol: heads that were met once; a pattern is made for those that come again.
        layout: line protocol: the layout met last.
        rounds: line protocol: the layout of a payload's last line -> the rounds that such payloads are made of.
        entries: SenML: name and unit -> slot.
        bases: SenML: base name and base unit -> name of the record -> slot.
        pack: SenML: how packs labelled like two that came one after the other are read.
        labels: SenML: of the pack that was last read by look-up.
        packs: SenML: how many layouts were made of packs: each costs a millisecond.
        units: SenML: name -> the unit that has this name for itself.
    """

    mapping: Mapping
    topic: str
    captures: dict[str, str]
    slots: dict[str, int] = field(default_factory=dict)
    value_slot: int = REFUSED
    pair_slot: int = REFUSED
    plans: dict[tuple[str, ...], Plan] = field(default_factory=dict)
    typed: Typed | None = None
    typed_slot: int = REFUSED
    format: RouteFormat = "plain"
    heads: dict[bytes, list[Layout]] = field(default_factory=dict)
    met: set[bytes] = field(default_factory=set)
    layout: Layout | None = None
    rounds: dict[Layout, Rounds] = field(default_factory=dict)
    entries: dict[tuple[str, str | None], int] = field(default_factory=dict)
    bases: dict[tuple[str, str | None], dict[str, int]] = field(default_factory=dict)
    pack: PackLayout | None = None
    labels: list[Labels] = field(default_factory=list)
    packs: int = 0
    units: dict[str, str | None] = field(default_factory=dict)

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
                self.plans[tuple(document)] = Plan(shape.time, self.mapping.time_unit, self.mapping.zone, tuple(slots))
                self._learn_type(document, shape, slots)

    def _learn_type(self, document: dict[str, object], shape: Shape, slots: list[tuple[str, int]]) -> None:
        values = [(name, slot) for name, slot in slots if slot >= 0]
        timed = shape.time is None or (self.mapping.time_unit == "auto" and type(document[shape.time]) is int)
        if len(values) == 1 and timed:
            name, slot = values[0]
            texts = tuple(other for other, _ in slots if other != name)
            ignored = tuple(other for other in document if other not in (shape.time, name, *texts))
            made = typed(shape.time, name, texts, ignored)
            if made is not None:
                self.typed, self.typed_slot = made, slot
