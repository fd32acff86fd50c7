"""Forecasts as InfluxDB line protocol."""

import re
from collections.abc import Sequence
from functools import lru_cache

import msgspec
import numpy as np

from stepahead.contract.records import STATUS_NAMES, FloatArray, Forecasts
from stepahead.wire.output.json import identities

__all__ = ["LineProtocolBody", "tag_value"]

# A line end cannot be escaped in a tag, and a backslash at its end would escape what follows.
NOT_IN_TAGS = re.compile(r"[%\\\x00-\x1f\x7f]")
TO_ESCAPE = re.compile(r"([,= ])")
LINE = (
    b"forecast,series=%b value=%b,mean=%b,lower=%b,upper=%b,observed=%b,%banomaly=%b,"
    b'status="%b",model=%di,id="%b",issued_at=%di %d'
)


class LineProtocolBody:
    """A point per forecast in measurement `forecast`, tag `series`, at the time that is forecast; a line per point.

    (InfluxDB documentation, Line protocol reference.) `observed` and `error` belong to the reading at `issued_at`.
    """

    content_type = "text/plain; charset=utf-8"

    def __init__(self) -> None:
        self._encode_lines = msgspec.json.Encoder().encode_lines

    def each(self, forecasts: Forecasts, keys: Sequence[str]) -> list[bytes]:
        """One line per forecast."""
        errors = self._spelled(np.nan_to_num(forecasts.error))
        for i in np.flatnonzero(~np.isfinite(forecasts.error)).tolist():
            errors[i] = b""
        rows = zip(
            [tag_value(key).encode() for key in keys],
            self._spelled(forecasts.value[:, 0]),
            self._spelled(forecasts.mean),
            self._spelled(forecasts.lower[:, 0]),
            self._spelled(forecasts.upper[:, 0]),
            self._spelled(forecasts.observed),
            [b"error=%b," % error if error else b"" for error in errors],
            [b"true" if anomaly else b"false" for anomaly in forecasts.anomaly.tolist()],
            [STATUS_NAMES[code].encode() for code in forecasts.status.tolist()],
            forecasts.model.tolist(),
            [identity.encode() for identity in identities(forecasts)],
            (forecasts.issued_at_ns // 1_000_000).tolist(),
            forecasts.valid_at_ns.tolist(),
            strict=True,
        )
        return [LINE % row for row in rows]

    def _spelled(self, column: FloatArray) -> list[bytes]:
        """Each number in its shortest exact form; a tenth of the time that `repr` takes."""
        return self._encode_lines(column.tolist()).split(b"\n")[:-1]

    def runs(self, forecasts: Forecasts, keys: Sequence[str], ends: Sequence[int]) -> list[bytes]:
        """One payload of many lines per run."""
        lines = self.each(forecasts, keys)
        return [b"\n".join(lines[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


@lru_cache(maxsize=65_536)
def tag_value(key: str) -> str:
    r"""The key as the value of a tag; what cannot stand in one is percent-encoded.

    Example:
        >>> print(tag_value("plant/pump 7,a=b\n"))
        plant/pump\ 7\,a\=b%0A
    """
    return TO_ESCAPE.sub(r"\\\1", NOT_IN_TAGS.sub(lambda found: f"%{ord(found[0]):02X}", key))
