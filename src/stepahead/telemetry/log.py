"""The log, by structlog: a line per event on stderr, `time level event key=value …` for people, JSON for machines."""

import json
import math
import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal, TextIO, TypeAlias, cast

import structlog
from structlog.dev import Column, ConsoleRenderer, KeyValueColumnFormatter
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

__all__ = ["Level", "Log", "RateBound", "make_log"]

Level: TypeAlias = Literal["debug", "info", "warning", "error"]
Log: TypeAlias = FilteringBoundLogger
PLAIN = re.compile(r"[^\s\"=\x00-\x1f\x7f-\x9f]+")
LONGEST = 2000
"""Characters of one value: what strangers send us must not fill the disk."""
EVERY_S, AT_ONCE = 10.0, 5
"""Of one kind five lines at once, then one in ten seconds: a broker that comes and goes as fast as we connect again
is told in full, a defect that shows every second is not."""
MOST_KINDS = 1024


def make_log(
    stream: TextIO | None = None,
    level: Level = "info",
    wall_ns: Callable[[], int] = time.time_ns,
    form: Literal["console", "json"] = "console",
    clock: Callable[[], float] = time.monotonic,
) -> Log:
    """A log that writes events as lines `2026-11-22T12:00:00.123Z info connected broker=127.0.0.1:1883`.

    Values that hold blanks, quotes or control characters are written as JSON strings, so that a line stays a line
    whatever a device put into a topic. A stream that is gone, such as a closed terminal, does not stop the program.
    Lines of one kind are bounded in their number: see `RateBound`.

    Args:
        stream: where the lines go; none = standard error.
        level: least level that is written.
        wall_ns: UTC nanoseconds since 1970.
        form: "console", or "json": one object a line with `time`, `level`, `event` and the fields.
        clock: monotonic seconds.

    Example:
        >>> log = make_log(sys.stdout, wall_ns=lambda: 1_760_000_000_123_456_789)
        >>> log.info("connected", broker="127.0.0.1:1883", text="new session")
        2025-10-09T08:53:20.123Z info connected broker=127.0.0.1:1883 text="new session"
        >>> log.debug("not written")
    """
    processors: list[Processor] = [RateBound(EVERY_S, AT_ONCE, clock), structlog.processors.add_log_level]
    processors += [Ordered(wall_ns), structlog.processors.JSONRenderer(ensure_ascii=False)]
    if form == "console":
        processors[-1] = ConsoleRenderer(
            sort_keys=False,
            columns=[*(Column(name, written(None, str)) for name in HEAD), Column("", written("", told))],
        )
    made = structlog.wrap_logger(
        structlog.WriteLogger(cast(TextIO, Lasting(stream))),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    return cast(Log, made.bind())


@dataclass(slots=True)
class Kind:
    """Lines of one kind: when the last was let through, how many more may be, and what is yet to be told."""

    at_s: float
    credit: float
    total: int = 0
    held: int = 0


class RateBound:
    """A structlog processor that bounds how often lines of one kind are written; nothing is lost of their number.

    A kind is an event with its `reason` or `text`. A line with a `total` tells of something that is counted anyway:
    it is written when the total has grown, at once the first time, then once per interval, with the growth as
    `count`. Of other lines some are let through at once, then one per interval, which says as `count` how many it
    stands for.

    Args:
        every_s: seconds of the interval.
        at_once: lines of a kind without `total` that are let through however fast they come.
        clock: monotonic seconds.

    Example:
        >>> times = iter([0.0, 1.0, 9.0, 10.0, 30.0])
        >>> log = make_log(sys.stdout, wall_ns=lambda: 0, clock=lambda: next(times))
        >>> for total in (3, 4, 9, 9, 9):
        ...     log.warning("dropped", reason="late", total=total)
        1970-01-01T00:00:00.000Z warning dropped reason=late count=3
        1970-01-01T00:00:00.000Z warning dropped reason=late count=6
    """

    def __init__(self, every_s: float, at_once: int, clock: Callable[[], float]) -> None:
        self._every_s = every_s
        self._at_once = at_once
        self._clock = clock
        self._kinds: dict[tuple[str, str], Kind] = {}
        self._lock = Lock()  # the page's thread has something to say at times

    def __call__(self, logger: WrappedLogger, name: str, fields: EventDict) -> EventDict:
        """Let a line through, or drop it."""
        total = fields.pop("total", None)
        with self._lock:
            kind = self._kind((fields["event"], str(fields.get("reason", fields.get("text", "")))))
            count = self._due(kind) if total is None else self._grown(kind, total)
        if total is not None or count > 1:
            fields["count"] = count
        return fields

    def _kind(self, key: tuple[str, str]) -> Kind:
        kind = self._kinds.pop(key, None) or Kind(-math.inf, self._at_once)
        self._kinds[key] = kind  # the newest last: texts may be a stranger's, and are not kept for ever
        if len(self._kinds) > MOST_KINDS:
            del self._kinds[next(iter(self._kinds))]
        return kind

    def _grown(self, kind: Kind, total: int) -> int:
        now_s, grown = self._clock(), total - kind.total
        if grown <= 0 or now_s - kind.at_s < self._every_s:
            raise structlog.DropEvent
        kind.at_s, kind.total = now_s, total
        return grown

    def _due(self, kind: Kind) -> int:
        now_s = self._clock()
        kind.credit = min(self._at_once, kind.credit + (now_s - kind.at_s) / self._every_s)
        kind.at_s = now_s
        kind.held += 1
        if kind.credit < 1:
            raise structlog.DropEvent
        kind.credit -= 1
        count, kind.held = kind.held, 0
        return count


HEAD = ("time", "level", "event")


class Ordered:
    """A structlog processor: time, level and event first, and no value that could spoil the line."""

    def __init__(self, wall_ns: Callable[[], int]) -> None:
        self._wall_ns = wall_ns

    def __call__(self, logger: WrappedLogger, name: str, fields: EventDict) -> EventDict:
        """Put a line in order."""
        seconds, rest_ns = divmod(self._wall_ns(), 10**9)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest_ns // 10**6:03d}Z"
        head = {"time": stamp, "level": fields.pop("level"), "event": fields.pop("event")}
        return head | {key: plain(value) for key, value in fields.items()}


class Lasting:
    """A stream that may be gone, such as that of a closed terminal."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write, or not."""
        with suppress(OSError, ValueError):  # ValueError: the stream was closed
            (sys.stderr if self._stream is None else self._stream).write(text)

    def flush(self) -> None:
        """Send what was written on its way, or not."""
        with suppress(OSError, ValueError):
            (sys.stderr if self._stream is None else self._stream).flush()


def written(key_style: str | None, value_repr: Callable[[Any], str]) -> KeyValueColumnFormatter:
    """How the console shows a field, without colours; key style None leaves the key out."""
    return KeyValueColumnFormatter(key_style, value_style="", reset_style="", value_repr=value_repr)


def plain(value: object) -> object:
    """A value as JSON has it, at most `LONGEST` characters: numbers that it has no words for become text."""
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    text = str(value)
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def told(value: object) -> str:
    """A value on the console.

    Example:
        >>> told(True), told(1 / 3), told("two words"), told("one")
        ('true', '0.333333', '"two words"', 'one')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
