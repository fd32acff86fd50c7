"""SenML packs to rows: known names by look-up, everything else by the book."""

from itertools import repeat
from typing import Final

import msgspec
import numpy as np

from stepahead.contract.reasons import DropCounter, Reason
from stepahead.contract.records import REFUSED
from stepahead.wire.acceptance import Acceptance
from stepahead.wire.columns import Columns
from stepahead.wire.formats.json import Found
from stepahead.wire.formats.senml import (
    ABSOLUTE_FROM_S,
    Entry,
    Record,
    decode_records,
    decode_senml,
    pack_time_ns,
    resolve_pack,
)
from stepahead.wire.formats.senml_layout import PackLayout, labels_of, pack_layout
from stepahead.wire.formats.timestamp import DAY_NS, EARLIEST_NS
from stepahead.wire.route import Route

__all__ = ["PackReader"]

UNWANTED = -2
NO_NAMES: dict[str, int] = {}
MOST_PACKS = 16
LATEST_S = 2.0**33
UNSET: Final = msgspec.UNSET


class PackReader:
    """Reads SenML. The field of a reading is its full name.

    RFC 8428 lets one name have values of several units (its §5.1.3: humidity, longitude and latitude of one device).
    They are different quantities: the unit that a name was first met with has the name for itself, the others get
    `/UNIT` behind it.

    Args:
        acceptance: of readings.
        drops: counts what is not read.
    """

    def __init__(self, acceptance: Acceptance, drops: DropCounter) -> None:
        self._acceptance = acceptance
        self._drops = drops

    @staticmethod
    def read_known(payload: bytes, route: Route, received_ns: int, index: int, columns: Columns) -> bool:
        """Read a pack all of whose names are known; False, and nothing done, when it is another."""
        if route.pack is not None:
            try:
                if _by_layout(payload, route.pack, received_ns, index, columns):
                    return True
            except ValueError:
                pass  # of other labels
        before = len(columns.series)
        try:
            if route.entries and _by_entries(payload, route, received_ns, index, columns):
                return True
        except (ValueError, RecursionError, OverflowError):
            pass  # no plain pack: it is read again by the book, and counted there
        columns.cut(before)
        return False

    def read(self, payload: bytes, route: Route, received_ns: int, index: int, columns: Columns) -> None:
        """Read any pack into columns."""
        drops, mapping = self._drops, route.mapping
        pack = decode_senml(payload)
        if isinstance(pack, Reason):
            drops[pack] += 1
            return
        entries: list[Entry] = []
        for reason in resolve_pack(pack, received_ns, entries):
            drops[reason] += 1
        keep = not mapping.judges and not mapping.key.needs_payload
        for entry in entries:
            field = self.field_of(entry.name, entry.unit, route)
            if not mapping.choice.wanted(field):
                if keep:
                    route.entries[entry.name, entry.unit] = UNWANTED
                continue
            time = entry.time_ns
            if not isinstance(time, Reason) and not EARLIEST_NS <= time <= received_ns + DAY_NS:
                time = Reason.TIME_ABSURD
            found = Found(field, entry.raw, None, entry.record, entry.unit)
            slot = self._acceptance.accept(found, time, pack, route, index, columns)
            if slot >= 0:
                route.units.setdefault(entry.name, entry.unit)
                if keep:
                    route.entries[entry.name, entry.unit] = slot

    @staticmethod
    def field_of(name: str, unit: str | None, route: Route) -> str:
        """The field of a name in a unit."""
        owner = route.units.get(name, unit)
        return name if unit is None or owner is None or owner == unit else f"{name}/{unit}"


def _by_layout(payload: bytes, layout: PackLayout, received_ns: int, index: int, columns: Columns) -> bool:
    """Read a pack with the labels of a layout; False, and nothing done, when a value is out of the ordinary.

    Raises:
        ValueError: it has other labels.
    """
    records = layout.decode(payload)
    values = [record.v for record in records]
    times_s = np.array([record.t for record in records])
    if layout.based:
        times_s += records[0].bt
    total = sum(values)
    if total - total != 0.0 or times_s.min() < ABSOLUTE_FROM_S or times_s.max() > LATEST_S:
        return False
    times = np.rint(times_s * 1_000_000).astype(np.int64) * 1000
    if times.max() > received_ns + DAY_NS:
        return False
    columns.series.extend(layout.slots)
    columns.time_ns.extend(times.tolist())
    columns.value.extend(values)
    columns.message.extend(repeat(index, len(values)))
    return True


def _by_entries(payload: bytes, route: Route, received_ns: int, index: int, columns: Columns) -> bool:
    """Read a pack all of whose names are known; False when one is not, or a time is out of the ordinary."""
    entries, bases, latest_ns = route.entries, route.bases, received_ns + DAY_NS
    base_name, base_s, base_unit = "", 0.0, None
    last_s, time_ns = 0.0, received_ns
    names = bases.get(("", None), NO_NAMES)
    series, times, values = columns.series, columns.time_ns, columns.value
    before = len(series)
    records = decode_records(payload)
    for record in records:
        if record.bn is not UNSET or record.bu is not UNSET:
            base_name = base_name if record.bn is UNSET else record.bn
            base_unit = base_unit if record.bu is UNSET else record.bu
            names = bases.get((base_name, base_unit), NO_NAMES)
        if record.bt is not UNSET:
            base_s = record.bt
        slot = names.get(record.n, REFUSED) if record.u is UNSET else REFUSED
        if slot < 0:
            slot = entries.get((base_name + record.n, base_unit if record.u is UNSET else record.u), REFUSED)
            if slot == REFUSED:
                return False
            if record.u is UNSET:
                names = bases.setdefault((base_name, base_unit), {})
                names[record.n] = slot
        number = record.v
        if number - number != 0.0:  # CBOR can spell NaN and infinities
            return False
        if slot == UNWANTED:
            continue
        time_s = base_s + record.t
        if time_s != last_s:
            last_s = time_s
            if time_s >= ABSOLUTE_FROM_S:
                time_ns = round(time_s * 1_000_000) * 1000
            else:
                time_ns = pack_time_ns(time_s, received_ns) or 0
            if not EARLIEST_NS <= time_ns <= latest_ns:
                return False
        series.append(slot)
        times.append(time_ns)
        values.append(number)
    count = len(series) - before
    columns.message.extend([index] * count)
    if 0 < count == len(records) and route.packs < MOST_PACKS:
        _learn(route, records, series[before:])
    return count > 0


def _learn(route: Route, records: list[Record], slots: list[int]) -> None:
    """Make a layout when the labels of a pack are those of the one before."""
    labels = labels_of(records)
    if labels != route.labels:
        route.labels = labels
        return
    route.packs += 1
    route.pack = pack_layout(labels, slots)
