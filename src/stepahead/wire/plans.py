"""JSON of known shape read without looking for anything: what the decoder does with most messages."""

from stepahead.wire.columns import Columns
from stepahead.wire.formats.timestamp import DAY_NS, EARLIEST_NS, read_time
from stepahead.wire.route import Plan, Route

__all__ = ["DAY_MS", "SURELY_MS", "read_array", "read_object", "read_typed_array"]

# Integers in this range are milliseconds for `read_time` too, and need not be asked about.
SURELY_MS, ABOVE_MS = 10**11, 10**14
DAY_MS = DAY_NS // 10**6


def read_object(document: dict[str, object], plan: Plan, received_ns: int, index: int, columns: Columns) -> bool:
    """Read a flat object of known shape; False, and nothing done, when something is out of the ordinary."""
    time = received_ns
    if plan.time is not None:
        raw = document[plan.time]
        if type(raw) is int and plan.unit == "auto" and SURELY_MS <= raw < ABOVE_MS:
            time = raw * 1_000_000
        else:
            read = read_time(raw, plan.unit, plan.zone)
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


def read_array(document: object, route: Route, received_ns: int, index: int, columns: Columns) -> bool:
    """Read an array of flat objects of known shapes, or of pairs; False, and nothing done, when one is otherwise."""
    before, plans, pair_slot = len(columns.series), route.plans, route.pair_slot
    latest_ms = received_ns // 1_000_000 + DAY_MS
    for element in document:  # type: ignore[attr-defined]
        if type(element) is dict:
            plan = plans.get(tuple(element))
            if plan is not None and read_object(element, plan, received_ns, index, columns):
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


def read_typed_array(payload: bytes, route: Route, received_ns: int, index: int, columns: Columns) -> bool:
    """Read an array of objects of the one shape that the route has types for; False when it is another array.

    Raises:
        ValueError: it is another array, too.
    """
    decoders, slot = route.typed, route.typed_slot
    if decoders is None:
        return False
    rows = decoders.many(payload)
    if not rows:
        return False
    if decoders.timed:
        times = [row.time for row in rows]
        if min(times) < SURELY_MS or max(times) >= received_ns // 1_000_000 + DAY_MS:
            return False
        columns.time_ns.extend([time * 1_000_000 for time in times])
    else:
        columns.time_ns.extend([received_ns] * len(rows))
    columns.series.extend([slot] * len(rows))
    columns.value.extend([row.value for row in rows])
    columns.message.extend([index] * len(rows))
    return True
