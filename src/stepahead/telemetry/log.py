"""The log: one line per event on stderr, `time level event key=value …`, readable and easy to split."""

import json
import re
import sys
import time
from collections.abc import Callable, Mapping
from typing import Literal, TextIO, TypeAlias

__all__ = ["Level", "Log", "RepeatBound"]

Level: TypeAlias = Literal["debug", "info", "warning", "error"]
LEVELS = ("debug", "info", "warning", "error")
PLAIN = re.compile(r"[^\s\"=\x00-\x1f\x7f-\x9f]+")
LONGEST = 2000
"""Characters of one value: what strangers send us must not fill the disk."""


class Log:
    """Writes events as lines `2026-11-22T12:00:00.123Z info connected broker=127.0.0.1:1883`.

    Values that hold blanks, quotes or control characters are written as JSON strings, so that a line stays a line
    whatever a device put into a topic. A stream that is gone, such as a closed terminal, does not stop the program.

    Args:
        stream: where the lines go; none = standard error.
        level: least level that is written.
        wall_ns: UTC nanoseconds since 1970.

    Example:
        >>> log = Log(sys.stdout, wall_ns=lambda: 1_760_000_000_123_456_789)
        >>> log.info("connected", broker="127.0.0.1:1883", text="new session")
        2025-10-09T08:53:20.123Z info connected broker=127.0.0.1:1883 text="new session"
        >>> log.debug("not written")
    """

    def __init__(
        self, stream: TextIO | None = None, level: Level = "info", wall_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._stream = stream
        self._least = LEVELS.index(level)
        self._wall_ns = wall_ns

    def debug(self, event: str, **fields: object) -> None:
        """Write what only a developer looks for."""
        self._write("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Write what is worth knowing and needs nobody."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Write what somebody should look at."""
        self._write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Write what does not work."""
        self._write("error", event, fields)

    def _write(self, level: Level, event: str, fields: Mapping[str, object]) -> None:
        if LEVELS.index(level) < self._least:
            return
        seconds, rest_ns = divmod(self._wall_ns(), 10**9)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        told = "".join(f" {key}={_told(value)}" for key, value in fields.items())
        stream = sys.stderr if self._stream is None else self._stream
        try:
            # One write per line, so that lines of two threads do not mix.
            stream.write(f"{stamp}.{rest_ns // 10**6:03d}Z {level} {event}{told}\n")
            stream.flush()
        except (OSError, ValueError):  # ValueError: the stream was closed
            self._least = len(LEVELS)


class RepeatBound:
    """Bounds how often something that repeats is told: at once the first time, then once per interval with the count.

    Args:
        every_s: seconds between two lines of one kind.

    Example:
        >>> bound = RepeatBound(10.0)
        >>> [bound.due({"late": count}, now_s) for now_s, count in [(0.0, 3), (1.0, 4), (9.0, 9), (10.0, 9), (30.0, 9)]]
        [{'late': 3}, {}, {}, {'late': 6}, {}]
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._told: dict[str, tuple[int, float]] = {}

    def due(self, counts: Mapping[str, int], now_s: float) -> dict[str, int]:
        """What is to be told now: kind -> how many since it was last told.

        Args:
            counts: running totals by kind.
            now_s: monotonic seconds.
        """
        due: dict[str, int] = {}
        for kind, count in counts.items():
            told, at_s = self._told.get(kind, (0, -self._every_s))
            if count > told and now_s - at_s >= self._every_s:
                due[kind] = count - told
                self._told[kind] = (count, now_s)
        return due


def _told(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    if len(text) > LONGEST:
        text = text[:LONGEST] + "…"
    return text if PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
