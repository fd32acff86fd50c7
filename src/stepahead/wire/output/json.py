"""Forecasts as JSON: an object each, an array of objects, or one object of columns."""

from collections.abc import Sequence
from itertools import repeat

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from stepahead.contract.records import STATUS_NAMES, FloatArray, Forecasts

__all__ = ["ColumnsBody", "JsonBody", "identities"]


class _Interval(msgspec.Struct, gc=False):
    level: float
    lower: float
    upper: float


class _Message(msgspec.Struct, gc=False):
    """The fields in the order in which they stand on the wire."""

    series: str
    issued_at: int
    valid_at: int
    value: float
    mean: float
    lower: float
    upper: float
    level: float
    observed: float
    error: float | UnsetType
    anomaly: bool
    status: str
    model: int
    id: str
    path: list[float] | UnsetType = UNSET
    intervals: list[_Interval] | UnsetType = UNSET


class JsonBody:
    """Objects as the README shows them: times in milliseconds, floats in their shortest exact form.

    With a horizon of more than one step, `path` holds all steps, of which `value` is the first; with several levels,
    `intervals` holds all of them, of which `level`, `lower` and `upper` are the first. A run is an array of objects.

    Args:
        levels: coverage of the intervals, as in `Forecasts.lower` and `upper`.
    """

    content_type = "application/json"

    def __init__(self, levels: Sequence[float]) -> None:
        self._levels = tuple(float(level) for level in levels)
        encoder = msgspec.json.Encoder()
        self._encode, self._encode_lines = encoder.encode, encoder.encode_lines

    def each(self, forecasts: Forecasts, keys: Sequence[str]) -> list[bytes]:
        """One object per forecast."""
        payloads = self._encode_lines(self._messages(forecasts, keys)).split(b"\n")
        payloads.pop()  # behind the last line end
        return payloads

    def runs(self, forecasts: Forecasts, keys: Sequence[str], ends: Sequence[int]) -> list[bytes]:
        """One array of objects per run."""
        messages = self._messages(forecasts, keys)
        return [self._encode(messages[start:end]) for start, end in zip([0, *ends], ends, strict=False)]

    def _messages(self, forecasts: Forecasts, keys: Sequence[str]) -> list[_Message]:
        messages = list(
            map(
                _Message,
                keys,
                (forecasts.issued_at_ns // 1_000_000).tolist(),
                (forecasts.valid_at_ns // 1_000_000).tolist(),
                forecasts.value[:, 0].tolist(),
                forecasts.mean.tolist(),
                forecasts.lower[:, 0].tolist(),
                forecasts.upper[:, 0].tolist(),
                repeat(self._levels[0]),
                forecasts.observed.tolist(),
                _errors(forecasts.error),
                forecasts.anomaly.tolist(),
                [STATUS_NAMES[code] for code in forecasts.status.tolist()],
                forecasts.model.tolist(),
                identities(forecasts),
            )
        )
        self._add_more(messages, forecasts)
        return messages

    def _add_more(self, messages: list[_Message], forecasts: Forecasts) -> None:
        if forecasts.value.shape[1] > 1:
            for message, path in zip(messages, forecasts.value.tolist(), strict=True):
                message.path = path
        if len(self._levels) > 1:
            bounds = zip(messages, forecasts.lower.tolist(), forecasts.upper.tolist(), strict=True)
            for message, lower, upper in bounds:
                message.intervals = list(map(_Interval, self._levels, lower, upper))


class ColumnsBody:
    """One object per run whose fields are columns: half the bytes and less than half the work of an array of objects.

    `level` is one number. `error` is null where nothing had been forecast. With a horizon of more than one step there
    is a column `path`, with several levels `level`, and each entry of `lower` and `upper`, is a list.

    Args:
        levels: coverage of the intervals, as in `Forecasts.lower` and `upper`.
    """

    content_type = "application/json"

    def __init__(self, levels: Sequence[float]) -> None:
        self._levels = tuple(float(level) for level in levels)
        self._encode = msgspec.json.Encoder().encode

    def each(self, forecasts: Forecasts, keys: Sequence[str]) -> list[bytes]:
        """Columns of one row."""
        return self.runs(forecasts, keys, range(1, len(forecasts) + 1))

    def runs(self, forecasts: Forecasts, keys: Sequence[str], ends: Sequence[int]) -> list[bytes]:
        """One object of columns per run."""
        several = len(self._levels) > 1
        error: list[float | None] = forecasts.error.tolist()
        for i in np.flatnonzero(~np.isfinite(forecasts.error)).tolist():
            error[i] = None
        columns: dict[str, Sequence[object]] = {
            "series": keys,
            "issued_at": (forecasts.issued_at_ns // 1_000_000).tolist(),
            "valid_at": (forecasts.valid_at_ns // 1_000_000).tolist(),
            "value": forecasts.value[:, 0].tolist(),
            "mean": forecasts.mean.tolist(),
            "lower": (forecasts.lower if several else forecasts.lower[:, 0]).tolist(),
            "upper": (forecasts.upper if several else forecasts.upper[:, 0]).tolist(),
            "observed": forecasts.observed.tolist(),
            "error": error,
            "anomaly": forecasts.anomaly.tolist(),
            "status": [STATUS_NAMES[code] for code in forecasts.status.tolist()],
            "model": forecasts.model.tolist(),
            "id": identities(forecasts),
        }
        if forecasts.value.shape[1] > 1:
            columns["path"] = forecasts.value.tolist()
        level = self._levels if several else self._levels[0]
        return [
            self._encode({name: column[start:end] for name, column in columns.items()} | {"level": level})
            for start, end in zip([0, *ends], ends, strict=False)
        ]


def identities(forecasts: Forecasts) -> list[str]:
    """The ids as 16 hexadecimal digits."""
    digits = forecasts.id.astype(">u8").tobytes().hex()
    return [digits[i : i + 16] for i in range(0, len(digits), 16)]


def _errors(error: FloatArray) -> list[float | UnsetType]:
    errors: list[float | UnsetType] = error.tolist()
    for i in np.flatnonzero(~np.isfinite(error)).tolist():
        errors[i] = UNSET
    return errors
