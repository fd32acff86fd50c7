"""From something found in a payload to a row, or to a count that says why not."""

from math import isfinite

from stepahead.contract.reasons import DropCounter, Reason
from stepahead.contract.records import REFUSED
from stepahead.wire.columns import Columns
from stepahead.wire.enrolment import Enrolment
from stepahead.wire.formats.json import Found
from stepahead.wire.formats.number import read_value, split_unit
from stepahead.wire.formats.pointer import MISSING, Pointer, resolve
from stepahead.wire.route import Mapping, Route

__all__ = ["Acceptance"]


class Acceptance:
    """Accepts readings one by one: number, quality, unit, time, key, slot, in this order.

    Args:
        enrolment: gives slots.
        drops: counts what is refused.
    """

    def __init__(self, enrolment: Enrolment, drops: DropCounter) -> None:
        self._enrolment = enrolment
        self._drops = drops

    def accept(
        self, item: Found, time: int | Reason, document: object, route: Route, index: int, columns: Columns
    ) -> int:
        """Append the reading, or count why not.

        Returns:
            The slot of the row that was appended, else `REFUSED`.
        """
        mapping, raw = route.mapping, item.raw
        unit = item.unit
        if mapping.units and type(raw) is str:
            raw, behind = split_unit(raw)
            unit = behind or unit
        number = raw if type(raw) is float and isfinite(raw) else read_value(raw, mapping.booleans)
        reason: Reason | None = None
        if isinstance(number, Reason):
            reason = number
        elif mapping.judges:
            reason = _judge(unit, item.element, document, mapping)
        if reason is None and isinstance(time, Reason):
            reason = time
        slot: int | Reason = route.slots.get(item.field, REFUSED)
        if reason is None and slot == REFUSED:
            slot = self._enter(item, unit, document, route)
            if isinstance(slot, Reason):
                reason = slot
        if reason is not None or isinstance(slot, Reason) or isinstance(number, Reason) or isinstance(time, Reason):
            self._drops[reason or Reason.KEY_INVALID] += 1
            return REFUSED
        columns.add(slot, time, number, index)
        return slot

    def _enter(self, item: Found, unit: str | None, document: object, route: Route) -> int | Reason:
        mapping = route.mapping
        key = mapping.key.fill(route.topic, route.captures, item.field, item.element, document)
        if key is None:
            return Reason.KEY_INVALID
        told: object = mapping.unit or unit
        if told is None and mapping.unit_at is not None:
            told = _look(mapping.unit_at, item.element, document)
        slot = self._enrolment.enrol(key, mapping.scale, told)
        if not isinstance(slot, Reason) and not mapping.key.needs_payload:
            route.slots[item.field] = slot
            if not item.field:
                route.learn_value(slot)
        return slot


def _judge(unit: str | None, element: object, document: object, mapping: Mapping) -> Reason | None:
    """Whether the quality or the unit that is told of a reading speaks against it."""
    if mapping.quality_at is not None:
        quality = _look(mapping.quality_at, element, document)
        if quality is not MISSING and not mapping.quality.is_good(quality):
            return Reason.QUALITY_BAD
    if mapping.unit is not None:
        told: object = unit
        if mapping.unit_at is not None:
            told = _look(mapping.unit_at, element, document)
        if told is not None and told is not MISSING and told != mapping.unit:
            return Reason.UNIT_OTHER
    return None


def _look(pointer: Pointer, element: object, document: object) -> object:
    found = resolve(pointer, element)
    return resolve(pointer, document) if found is MISSING else found
