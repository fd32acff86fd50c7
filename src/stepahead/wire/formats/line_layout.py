"""Lines of the line protocol as senders repeat them: the layout of one, and rounds of many, each cut by one pattern."""

import re
from collections.abc import Iterator, Sequence

from stepahead.wire.formats.line import Line

__all__ = ["Layout", "Rounds", "layout_of", "rounds_of"]

LONGEST_PATTERN, LONGEST_ROUND = 4096, 16_384
MOST_LINES = 64
FLOAT, INTEGER, UNSIGNED = rb"(-?[0-9.eE]+)", rb"(-?[0-9]{1,18})i", rb"([0-9]{1,18})u"
BOOLEAN, TEXT = rb"(?:t|T|true|True|TRUE|f|F|false|False|FALSE)", rb'"[^"\\\n]*"'
TIME, END = rb" ([0-9]{1,20})", rb"(?:\r?\n|\Z)"


class Layout:
    """How lines of one head and one set of fields are cut.

    Args:
        pattern: of a whole line, its end included; its groups are the numbers and then the time, if it is timed.
        slots: of the numbers.
        timed: whether the lines have a time.

    Attributes:
        match: of the compiled pattern.
        next: the layout of the line that followed when last one did; payloads repeat themselves.
    """

    __slots__ = ("match", "next", "pattern", "slots", "timed")

    def __init__(self, pattern: bytes, slots: tuple[int, ...], timed: bool) -> None:
        self.pattern, self.slots, self.timed = pattern, slots, timed
        self.match = re.compile(pattern, re.MULTILINE).match
        self.next: Layout | None = None


class Rounds:
    """Lines that follow one another again and again, as an agent writes one for each of its sources.

    Args:
        layouts: of the lines of one round, each with a time and as many numbers as the others.

    Attributes:
        findall: of the pattern of a round, whose groups are those of its lines.
        slots: of the numbers of a round.
        lines: of a round.
        width: numbers of a line.
    """

    __slots__ = ("findall", "lines", "slots", "width")

    def __init__(self, layouts: Sequence[Layout]) -> None:
        self.findall = re.compile(b"".join(layout.pattern for layout in layouts), re.MULTILINE).findall
        self.slots = tuple(slot for layout in layouts for slot in layout.slots)
        self.lines, self.width = len(layouts), len(layouts[0].slots)


def rounds_of(last: Layout) -> Rounds | None:
    r"""The rounds that end with this layout; None when what followed it last leads back to it on no plain way.

    Example:
        >>> ends = b" x=([0-9]+) ([0-9]+)" + END
        >>> one, two = Layout(b"^a" + ends, (0,), True), Layout(b"^b" + ends, (1,), True)
        >>> one.next, two.next = two, one
        >>> rounds_of(two).findall(b"a x=1 7\nb x=2 7"), rounds_of(two).slots
        ([(b'1', b'7', b'2', b'7')], (0, 1))
    """
    layouts = [*_following(last)]
    if not layouts or layouts[-1] is not last or sum(len(layout.pattern) for layout in layouts) > LONGEST_ROUND:
        return None
    if not all(layout.timed and len(layout.slots) == len(last.slots) for layout in layouts):
        return None
    return Rounds(layouts)


def _following(last: Layout) -> Iterator[Layout]:
    layout = last.next
    for _ in range(MOST_LINES):
        if layout is None:
            return
        yield layout
        if layout is last:
            return
        layout = layout.next


def layout_of(line: Line, slots: dict[str, int]) -> Layout | None:
    """The layout of a line that was read by the book; None when it has escapes or is otherwise not plain.

    Args:
        line: as it was read.
        slots: field -> slot of the fields that became rows; numbers without a slot make no layout.

    Example:
        >>> from stepahead.wire.formats.line import read_lines
        >>> raw = b'weather,city=Ulm temperature=8.5,wind=3i,sky="clear" 1760000000000000000'
        >>> [line] = read_lines(raw)
        >>> layout = layout_of(line, {"temperature": 0, "wind": 1})
        >>> layout.match(b'weather,city=Ulm temperature=-9,wind=12i,sky="dull" 1760000001000000000').groups()
        (b'-9', b'12', b'1760000001000000000')
        >>> layout.slots
        (0, 1)
    """
    head, _, rest = line.raw.partition(b" ")
    if b"\\" in line.raw or len(line.raw) > LONGEST_PATTERN or not slots:
        return None
    parts, order = [], []
    for name, _ in line.fields:
        if not rest.startswith(name.encode() + b"="):
            return None
        rest = rest[len(name.encode()) + 1 :]
        found = None
        for kind in (TEXT, BOOLEAN, INTEGER, UNSIGNED, FLOAT):
            found = re.match(kind + rb"(?=[, ]|\Z)", rest)
            if found is not None:
                break
        is_number = found is not None and found.re.groups == 1
        if found is None or (is_number and name not in slots) or (not is_number and name in slots):
            return None
        if is_number:
            order.append(slots[name])
        parts.append(re.escape(name.encode()) + b"=" + found.re.pattern.removesuffix(rb"(?=[, ]|\Z)"))
        rest = rest[found.end() :]
        if rest.startswith(b","):
            rest = rest[1:]
    timed = line.time is not None
    if (timed and not re.fullmatch(rb" [0-9]{1,20}", rest)) or (not timed and rest):
        return None
    pattern = b"^" + re.escape(head) + b" " + b",".join(parts) + (TIME if timed else b"") + END
    return Layout(pattern, tuple(order), timed)
