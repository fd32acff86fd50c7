"""InfluxDB line protocol (version 2): measurement and tags name the series, every numeric field is one.

https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/ is the grammar; the library
line-protocol-parser knows it. What it costs, 0.7 µs a field and a dictionary a line, is paid for the first line of each
head (measurement and tags) and of each set of its fields; lines like one that was read before are cut by a pattern.
"""

from collections.abc import Iterator
from typing import NamedTuple

from line_protocol_parser import LineFormatError, parse_line

from stepahead.contract.reasons import Reason

__all__ = ["Line", "looks_like_lines", "read_lines", "tag_field"]


class Line(NamedTuple):
    """One line.

    Attributes:
        raw: its bytes.
        head: those up to the fields.
        measurement: name.
        tags: by key, in the order of the keys.
        fields: name and value in order; text and booleans too.
        time: as it stands there, None when the line has none.
    """

    raw: bytes
    head: bytes
    measurement: str
    tags: dict[str, str]
    fields: list[tuple[str, object]]
    time: int | None


def read_lines(payload: bytes) -> Iterator[Line | Reason]:
    r"""Read a payload of many lines by the book; empty lines and comments are passed over.

    Example:
        >>> [line] = read_lines(b"weather,location=us\\-midwest temperature=82,wind=3i 1465839830100400200\n")
        >>> line.measurement, line.tags, line.fields, line.time
        ('weather', {'location': 'us\\-midwest'}, [('temperature', 82.0), ('wind', 3)], 1465839830100400200)
        >>> list(read_lines(b"weather temperature="))
        [<Reason.NOT_DECODABLE: 'not_decodable'>]
    """
    for raw in _split(payload):
        raw = raw.strip(b"\r ")
        if not raw or raw.startswith(b"#"):
            continue
        try:
            found = parse_line(raw.decode())
        except UnicodeDecodeError:
            yield Reason.NOT_UTF8
            continue
        except LineFormatError:
            yield Reason.NOT_DECODABLE
            continue
        if not found["fields"]:
            yield Reason.NOT_DECODABLE
            continue
        tags = {key: found["tags"][key] for key in sorted(found["tags"])}
        fields = [*found["fields"].items()][::-1]  # the library gives them backwards
        yield Line(raw, raw.partition(b" ")[0], found["measurement"], tags, fields, found["time"])


def _split(payload: bytes) -> Iterator[bytes]:
    """Lines; a line break inside a quoted string is no end."""
    if b'"' not in payload:
        yield from payload.split(b"\n")
        return
    start, quoted, escaped = 0, False, False
    for i, byte in enumerate(payload):
        if escaped:
            escaped = False
        elif byte == 0x5C:
            escaped = True
        elif byte == 0x22:
            quoted = not quoted
        elif byte == 0x0A and not quoted:
            yield payload[start:i]
            start = i + 1
    yield payload[start:]


def looks_like_lines(payload: bytes) -> bool:
    """Whether the first line is one of the line protocol.

    Example:
        >>> looks_like_lines(b"cpu,host=a usage=1.5"), looks_like_lines(b"21.5 C"), looks_like_lines(b"state is ON")
        (True, False, False)
    """
    return b"=" in payload and isinstance(next(read_lines(payload), None), Line)


def tag_field(line: Line, name: str) -> str:
    """The path of a field that names its series in full: measurement, tags and field.

    Example:
        >>> tag_field(Line(b"", b"", "cpu", {"core": "0", "host": "a"}, [], None), "usage")
        'cpu,core=0,host=a/usage'
    """
    return "".join((line.measurement, *(f",{key}={value}" for key, value in line.tags.items()), "/", name))
