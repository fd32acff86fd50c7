"""Forecasts out: one JSON object each, and the status that stands retained."""

from collections.abc import Callable, Sequence
from itertools import repeat

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from stepahead.contract.errors import BrokenLawError
from stepahead.contract.records import STATUS_NAMES, FloatArray, Forecasts
from stepahead.wire.stock_client import Row
from stepahead.wire.topics import forecast_topic

__all__ = ["ForecastEncoder", "encode_status", "offline_status", "status_topic"]


BLOCK = 512
"""Forecasts written at once: at 8192, when nothing stays in the cache, each costs 1.4 times as much."""


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


class ForecastEncoder:
    """Writes forecasts as the README shows them: times in milliseconds, floats in their shortest exact form.

    With a horizon of more than one step, `path` holds all steps, of which `value` is the first; with several levels,
    `intervals` holds all of them, of which `level`, `lower` and `upper` are the first.

    Args:
        prefix: our topics start with this.
        levels: coverage of the intervals, as in `Forecasts.lower` and `upper`.
        key_of: slot -> series key; asked once per slot.

    Example:
        >>> issued, valid = np.array([1760000000 * 10**9]), np.array([1760000001 * 10**9])
        >>> value, lower, upper = np.array([[21.5]]), np.array([[21.0]]), np.array([[22.0]])
        >>> observed, unknown, no = np.array([21.25]), np.array([np.nan]), np.array([False])
        >>> none, identity = np.array([0]), np.array([255], np.uint64)
        >>> one = Forecasts(none, none, issued, valid, value, lower, upper, observed, unknown, no, unknown, none, none,
        ...                 identity)
        >>> [(topic, payload)] = ForecastEncoder("stepahead/v1", [0.9], lambda slot: "plant/pump").encode(one)
        >>> topic
        b'stepahead/v1/forecast/plant/pump'
        >>> print(payload.decode())  # doctest: +NORMALIZE_WHITESPACE
        {"series":"plant/pump","issued_at":1760000000000,"valid_at":1760000001000,"value":21.5,"lower":21.0,"upper":22.0,"level":0.9,"observed":21.25,"anomaly":false,"status":"warming","model":0,"id":"00000000000000ff"}
    """

    def __init__(self, prefix: str, levels: Sequence[float], key_of: Callable[[int], str]) -> None:
        self._prefix = prefix
        self._levels = tuple(float(level) for level in levels)
        self._key_of = key_of
        self._names: dict[int, tuple[bytes, str]] = {}
        self._encode_lines = msgspec.json.Encoder().encode_lines

    def encode(self, forecasts: Forecasts) -> list[Row]:
        """One (topic, payload) per forecast, in order.

        Raises:
            BrokenLawError: a number other than `error` is not finite.
        """
        for column in (forecasts.value, forecasts.lower, forecasts.upper, forecasts.observed):
            if not np.isfinite(column).all():
                raise BrokenLawError("a forecast that is not finite was about to be published")
        rows: list[Row] = []
        for start in range(0, len(forecasts), BLOCK):
            rows += self._encode_block(forecasts[start : start + BLOCK])
        return rows

    def _encode_block(self, forecasts: Forecasts) -> list[Row]:
        slots: list[int] = forecasts.series.tolist()
        names = self._names
        try:
            named = [names[slot] for slot in slots]
        except KeyError:
            self._name(slots)
            named = [names[slot] for slot in slots]
        digits = forecasts.id.astype(">u8").tobytes().hex()
        messages = list(
            map(
                _Message,
                [key for _, key in named],
                (forecasts.issued_at_ns // 1_000_000).tolist(),
                (forecasts.valid_at_ns // 1_000_000).tolist(),
                forecasts.value[:, 0].tolist(),
                forecasts.lower[:, 0].tolist(),
                forecasts.upper[:, 0].tolist(),
                repeat(self._levels[0]),
                forecasts.observed.tolist(),
                _errors(forecasts.error),
                forecasts.anomaly.tolist(),
                [STATUS_NAMES[code] for code in forecasts.status.tolist()],
                forecasts.model.tolist(),
                [digits[i : i + 16] for i in range(0, len(digits), 16)],
            )
        )
        self._add_more(messages, forecasts)
        payloads = self._encode_lines(messages).split(b"\n")
        return [(topic, payload) for (topic, _), payload in zip(named, payloads, strict=False)]

    def forget(self) -> None:
        """Forget every key: for when slots were given to other series."""
        self._names.clear()

    def _name(self, slots: Sequence[int]) -> None:
        for slot in slots:
            if slot not in self._names:
                key = self._key_of(slot)
                self._names[slot] = (forecast_topic(self._prefix, key).encode(), key)

    def _add_more(self, messages: list[_Message], forecasts: Forecasts) -> None:
        if forecasts.value.shape[1] > 1:
            for message, path in zip(messages, forecasts.value.tolist(), strict=True):
                message.path = path
        if len(self._levels) > 1:
            bounds = zip(messages, forecasts.lower.tolist(), forecasts.upper.tolist(), strict=True)
            for message, lower, upper in bounds:
                message.intervals = list(map(_Interval, self._levels, lower, upper))


def _errors(error: FloatArray) -> list[float | UnsetType]:
    errors: list[float | UnsetType] = error.tolist()
    for i in np.flatnonzero(~np.isfinite(error)).tolist():
        errors[i] = UNSET
    return errors


def status_topic(prefix: str) -> str:
    """Where the retained status stands, and `offline` as the last will."""
    return f"{prefix}/status"


def encode_status(status: str, **more: object) -> bytes:
    """The status message.

    Args:
        status: `online`, `offline`, or a word for what is wrong.
        more: what else is to be known, in JSON's types.

    Example:
        >>> encode_status("online", series=3)
        b'{"status":"online","series":3}'
    """
    return msgspec.json.encode({"status": status, **more})


def offline_status() -> bytes:
    """What the broker says for us when we vanish."""
    return encode_status("offline")
