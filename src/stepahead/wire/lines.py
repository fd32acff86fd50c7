"""Line protocol to rows: lines like one that was read before are cut by a pattern, all others are read by the book."""

from collections.abc import Sequence
from itertools import chain, repeat

import msgspec

from stepahead.contract.reasons import DropCounter, Reason
from stepahead.wire.acceptance import Acceptance
from stepahead.wire.columns import Columns
from stepahead.wire.formats.json import Found
from stepahead.wire.formats.line import Line, read_lines, tag_field
from stepahead.wire.formats.line_layout import Layout, Rounds, layout_of, rounds_of
from stepahead.wire.formats.number import SWITCH
from stepahead.wire.formats.timestamp import DAY_NS, EARLIEST_NS, TimeUnit, read_time
from stepahead.wire.route import Route

__all__ = ["LineReader"]

MOST_HEADS, MOST_LAYOUTS, MOST_ROUNDS = 65_536, 4, 16
NS_DIGITS = 19
"""A number of so many digits is nanoseconds for `read_time` too."""

# As JSON, numbers cost a quarter of what float() takes for each; what JSON does not know ("1.", "007") raises.
_floats = msgspec.json.Decoder(list[float]).decode
_integers = msgspec.json.Decoder(list[int]).decode


class LineReader:
    """Reads line protocol. The field of a reading is `measurement,tag=value,…/field`, tags in the order of their keys.

    With a key template that names tags (`{host}`) or `{measurement}`, the field is the field's own name.

    Args:
        acceptance: of readings.
        drops: counts what is not read.
    """

    def __init__(self, acceptance: Acceptance, drops: DropCounter) -> None:
        self._acceptance = acceptance
        self._drops = drops

    @staticmethod
    def read_known(payload: bytes, route: Route, received_ns: int, index: int, columns: Columns) -> bool:
        """Read a payload of whole rounds as they were met last; False, and nothing done, when it is another."""
        rounds = route.rounds.get(route.layout)  # type: ignore[arg-type]
        if rounds is None or route.mapping.time_unit != "auto":
            return False
        rows = rounds.findall(payload)
        if not rows or len(rows) * rounds.lines != payload.count(b"\n", 0, len(payload) - 1) + 1:
            return False
        if len(rows) == 1 and rounds.lines == 1:
            return _take(route.layout, rows[0], "auto", received_ns, index, columns)  # type: ignore[arg-type]
        return _take_rounds(rounds, rows, received_ns, index, columns)

    def read(self, payload: bytes, route: Route, received_ns: int, index: int, columns: Columns) -> None:
        """Read any payload of lines into columns."""
        position, end, heads, layout = 0, len(payload), route.heads, route.layout
        unit = route.mapping.time_unit
        if layout is not None and unit == "auto":
            layout, position = _take_chain(layout, payload, received_ns, index, columns)
        while position < end:
            before = layout
            layout = layout.next if layout is not None else None
            cut = layout.match(payload, position) if layout is not None else None
            if cut is None and heads:
                for other in heads.get(payload[position : payload.find(b" ", position)], ()):
                    cut = other.match(payload, position)
                    if cut is not None:
                        layout = other
                        if before is not None:
                            before.next = layout
                        break
            if (
                cut is not None
                and layout is not None
                and _take(layout, cut.groups(), unit, received_ns, index, columns)
            ):
                position = cut.end()
                continue
            layout = before
            stop = payload.find(b"\n", position)
            if stop < 0 or payload.find(b'"', position, stop) >= 0:
                stop = end  # a string may run over the end of the line
            self._by_the_book(payload[position:stop], route, received_ns, index, columns)
            position = stop + 1
        route.layout = layout
        if layout is not None and layout not in route.rounds and len(route.rounds) < MOST_ROUNDS:
            rounds = rounds_of(layout)
            if rounds is not None:
                route.rounds[layout] = rounds

    def _by_the_book(self, payload: bytes, route: Route, received_ns: int, index: int, columns: Columns) -> None:
        for line in read_lines(payload):
            if isinstance(line, Reason):
                self._drops[line] += 1
            else:
                self._line(line, route, received_ns, index, columns)

    def _line(self, line: Line, route: Route, received_ns: int, index: int, columns: Columns) -> None:
        mapping = route.mapping
        time: int | Reason = received_ns
        if line.time is not None:
            read = read_time(line.time, mapping.time_unit)
            time = Reason.TIME_NOT_DECODABLE if read is None else read
            if not isinstance(time, Reason) and not EARLIEST_NS <= time <= received_ns + DAY_NS:
                time = Reason.TIME_ABSURD
        document = {"measurement": line.measurement, "tags": line.tags}
        element = {**dict(line.fields), **line.tags}
        known: dict[str, int] = {}
        plain = not mapping.judges and len(route.heads) < MOST_HEADS
        for name, raw in line.fields:
            field = name if mapping.key.needs_payload else tag_field(line, name)
            wanted = mapping.choice.wanted(name) and not mapping.choice.ignored(f"{line.measurement}/{name}")
            quantity = type(raw) is not bool and type(raw) is not str
            if not quantity and mapping.booleans:
                quantity = type(raw) is bool or str(raw).lower() in SWITCH
            if not wanted or not (quantity or mapping.choice.asked(name)):
                plain = plain and not quantity
                continue
            found = Found(field, raw, None, element)
            slot = self._acceptance.accept(found, time, document, route, index, columns)
            if slot >= 0:
                known[name] = slot
        if line.head not in route.met:
            if len(route.met) >= MOST_HEADS:
                route.met.clear()
            route.met.add(line.head)
            return
        layouts = route.heads.get(line.head, [])
        if plain and len(known) == len({*known.values()}) and len(layouts) < MOST_LAYOUTS:
            layout = layout_of(line, known)
            if layout is not None:
                route.heads.setdefault(line.head, []).append(layout)
                if route.layout is None:
                    route.layout = layout.next = layout


def _take(
    layout: Layout, groups: tuple[bytes, ...], unit: TimeUnit, received_ns: int, index: int, columns: Columns
) -> bool:
    """Append the numbers of a line that was cut; False, and nothing done, when one is out of the ordinary."""
    time = received_ns
    if layout.timed:
        read = read_time(int(groups[-1]), unit)
        if read is None or not EARLIEST_NS <= read <= received_ns + DAY_NS:
            return False
        time, groups = read, groups[:-1]
    try:
        numbers = [*map(float, groups)]
    except ValueError:
        return False
    total = sum(numbers)
    if total - total != 0.0:
        return False
    columns.series.extend(layout.slots)
    columns.value.extend(numbers)
    columns.time_ns.extend([time] * len(numbers))
    columns.message.extend([index] * len(numbers))
    return True


def _take_chain(layout: Layout, payload: bytes, received_ns: int, index: int, columns: Columns) -> tuple[Layout, int]:
    """Append lines as long as each has the layout that followed the one before it the last time.

    Returns:
        The last layout that fitted, and the place in the payload where the first line that did not begins; none has,
        and nothing is done, when any number is out of the ordinary.
    """
    first, position = layout, 0
    slots: list[int] = []
    raws: list[bytes] = []
    stamps: list[bytes] = []
    widths: list[int] = []
    following = layout.next
    while following is not None and following.timed:
        cut = following.match(payload, position)
        if cut is None:
            break
        groups = cut.groups()
        raws += groups[:-1]
        stamps.append(groups[-1])
        slots += following.slots
        widths.append(len(following.slots))
        layout, position = following, cut.end()
        following = layout.next
    times = _times(stamps, received_ns) if stamps else None
    if times is None or not _append(slots, raws, [*chain.from_iterable(map(repeat, times, widths))], index, columns):
        return first, 0
    return layout, position


def _take_rounds(rounds: Rounds, rows: list[tuple[bytes, ...]], received_ns: int, index: int, columns: Columns) -> bool:
    """Append the numbers of whole rounds; False, and nothing done, when one is out of the ordinary."""
    width = rounds.width
    raws = [*chain.from_iterable(rows)]
    times = _times(raws[width :: width + 1], received_ns)
    if times is None:
        return False
    del raws[width :: width + 1]
    if width > 1:
        times = [time for time in times for _ in range(width)]
    return _append(rounds.slots * len(rows), raws, times, index, columns)


def _times(stamps: Sequence[bytes], received_ns: int) -> list[int] | None:
    """Nanoseconds, all plausible; None when one is not, or is in another unit."""
    if {*map(len, stamps)} != {NS_DIGITS}:
        return None
    try:
        times = _integers(b"[%b]" % b",".join(stamps))
    except ValueError:
        return None
    return times if min(times) >= EARLIEST_NS and max(times) <= received_ns + DAY_NS else None


def _append(slots: Sequence[int], raws: Sequence[bytes], times: list[int], index: int, columns: Columns) -> bool:
    """Append rows; False, and nothing done, when a number is not one or not finite."""
    try:
        numbers = _floats(b"[%b]" % b",".join(raws))
    except ValueError:
        return False
    total = sum(numbers)
    if total - total != 0.0:
        return False
    columns.series.extend(slots)
    columns.value.extend(numbers)
    columns.time_ns.extend(times)
    columns.message.extend([index] * len(numbers))
    return True
