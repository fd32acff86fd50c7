"""JSON payloads: which numbers of a document are readings, and where their time stands.

Without settings:

- An object with a field `value` (else `v`) is one reading, whose key is the topic; its other numbers (`seq`, `id`,
  `battery`) are not series. When that field holds an object, the numbers in it are the fields.
- In any other object every number is a series, at any depth, except fields with the usual names of a time.
  Text is not, even when it holds a number, because serial numbers do too.
- An array holds readings: objects as above, `[time, value]` pairs, or plain numbers, which have no time of their own
  and are therefore channels `0`, `1`, …
- Arrays inside objects are read only when the settings point at them.
"""

import json
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import msgspec

from stepahead.contract.reasons import Reason
from stepahead.contract.settings import SubscriptionSettings
from stepahead.wire.formats.choice import FieldChoice
from stepahead.wire.formats.number import SWITCH
from stepahead.wire.formats.pointer import MISSING, Pointer, parse_pointer, resolve

__all__ = ["TIME_NAMES", "VALUE_NAMES", "Found", "JsonMapping", "Shape", "decode_json"]

VALUE_NAMES = ("value", "Value", "v")
TIME_NAMES = (
    "ts",
    "time",
    "timestamp",
    "Time",
    "Timestamp",
    "TimeStamp",
    "timeStamp",
    "datetime",
    "dateTime",
    "DateTime",
    "date_time",
    "@timestamp",
    "created_at",
    "measured_at",
    "sampled_at",
    "time_ns",
    "last_seen",
)
AMBIGUOUS_TIME_NAMES = ("t", "T", "date", "Date")
"""Names that are a time only when their value reads as a plausible one: `t` is a temperature as often."""
TIME_NAME_SET = frozenset(TIME_NAMES)
AMBIGUOUS_TIME_NAME_SET = frozenset(AMBIGUOUS_TIME_NAMES)
MAX_DEPTH = 32

_decode = msgspec.json.Decoder().decode


class Found(NamedTuple):
    """One reading found in a document.

    Attributes:
        field: path of the field, joined by "/"; "" for the value itself.
        raw: what stands there.
        time: what stands where the time should be, or `MISSING`.
        element: the object or array of the reading, in which pointers are looked up first.
        unit: unit that the format itself names, if it does.
    """

    field: str
    raw: object
    time: object
    element: object
    unit: str | None = None


class Shape(NamedTuple):
    """What every document with these field names has in common, as long as numbers stay where they are.

    Attributes:
        time: name of the field with the time, if there is one.
        fields: name, path as in `Found.field`, and whether it holds a number, of each field that might.
    """

    time: str | None
    fields: tuple[tuple[str, str, bool], ...]


IsTime: TypeAlias = Callable[[object], bool]


def decode_json(payload: bytes) -> object:
    """Decode one JSON document, or say why not (a `Reason`).

    msgspec decodes; what it refuses is tried once more with the standard library, which takes what many senders
    write against RFC 8259: NaN and Infinity, a byte order mark, numbers beyond float64 (they become infinite).

    Example:
        >>> decode_json(b'{"value": 21.5}'), decode_json(b"{value")
        ({'value': 21.5}, <Reason.NOT_DECODABLE: 'not_decodable'>)
    """
    try:
        return _decode(payload)
    except RecursionError:
        return Reason.TOO_DEEP
    except ValueError:
        try:
            return json.loads(payload.decode("utf-8-sig"), parse_int=float, parse_constant=_not_finite)
        except UnicodeDecodeError:
            return Reason.NOT_UTF8
        except RecursionError:
            return Reason.TOO_DEEP
        except ValueError:
            return Reason.NOT_DECODABLE


def _not_finite(_name: str) -> float:
    return float("nan")  # an infinite float is then a number beyond float64, never a word


class JsonMapping:
    """Finds the readings in documents, as the settings say.

    Args:
        settings: where value, time and readings sit; which fields are wanted.
        is_time: whether a raw value reads as a plausible time.

    Example:
        >>> mapping = JsonMapping(SubscriptionSettings(), is_time=lambda raw: True)
        >>> found = []
        >>> mapping.find({"ts": 1760000000, "room": {"temperature": 21.5, "name": "hall"}}, found)
        >>> found[0].field, found[0].raw, found[0].time
        ('room/temperature', 21.5, 1760000000)
    """

    def __init__(self, settings: SubscriptionSettings, is_time: IsTime) -> None:
        self._value = None if settings.value is None else parse_pointer(settings.value)
        self._time: Pointer | None = None if settings.time is None else parse_pointer(settings.time)
        self._readings = None if settings.readings is None else parse_pointer(settings.readings)
        self._choice = FieldChoice.of(settings)
        self._wanted = self._choice.wanted
        self._judged = settings.quality is not None or settings.unit_at is not None
        self._booleans = settings.booleans
        self._is_time = is_time
        self._value_names = () if self._choice.limited else tuple(n for n in VALUE_NAMES if self._wanted(n))

    def find(self, document: object, found: list[Found]) -> Reason | None:
        """Append the readings of a document in order; a reason when a part of it nests too deeply."""
        if self._readings is not None:
            array = resolve(self._readings, document)
            outer = self._time_of(document)[1] if isinstance(document, dict) else MISSING
            return self._array(array, outer, found) if isinstance(array, list) else Reason.NO_READING
        if isinstance(document, dict):
            return self._object(document, MISSING, found)
        if isinstance(document, list):
            return self._array(document, MISSING, found)
        found.append(Found("", document, MISSING, document))
        return None

    def shape(self, document: dict[str, object]) -> Shape | None:
        """The shape of a flat object; None when objects with the same names may have to be read differently."""
        pointers = (self._value or ("",), self._time or ("",))
        nested = any(len(pointer) > 1 for pointer in pointers)
        if self._readings is not None or self._booleans or self._judged or nested:
            return None
        time_name, _ = self._time_of(document)
        if time_name is None and (self._time or not AMBIGUOUS_TIME_NAME_SET.isdisjoint(document)):
            return None
        names = self._value_names if self._value is None else self._value
        for name in names:
            if name in document:
                return Shape(time_name, ((name, "", True),)) if self._is_quantity(document[name]) else None
        if self._value is not None or any(isinstance(raw, dict) for raw in document.values()):
            return None
        fields = [
            (name, name, self._is_quantity(raw))
            for name, raw in document.items()
            if self._wanted(name) and (self._choice.asked(name) or (name != time_name and name not in TIME_NAME_SET))
        ]
        if self._choice.limited and not all(number for _, _, number in fields):
            return None  # what was asked for by name and is no number is counted, not passed over
        return Shape(time_name, tuple(fields))

    def _array(self, array: list[object], outer: object, found: list[Found]) -> Reason | None:
        reason = None
        for i, element in enumerate(array):
            if isinstance(element, dict):
                reason = self._object(element, outer, found) or reason
            elif isinstance(element, list):
                time = element[0] if element else MISSING
                if len(element) == 2:
                    found.append(Found("", element[1], time, element))
                else:
                    found.extend(Found(str(k), element[k], time, element) for k in range(1, len(element)))
            elif self._wanted(str(i)):
                found.append(Found(str(i), element, outer, array))
        return reason

    def _object(self, element: dict[str, object], outer: object, found: list[Found]) -> Reason | None:
        time_name, time = self._time_of(element)
        if time is MISSING:
            time = outer
        if time is MISSING and self._time:
            time = None  # the settings say that there is one: its absence is counted, not made up for
        if self._value is not None:
            return self._designated(resolve(self._value, element), "", time, element, found)
        for name in self._value_names:
            if name in element:
                raw = element[name]
                return self._designated(raw, name if isinstance(raw, dict) else "", time, element, found)
        return self._fields(element, "", time_name, time, element, found, MAX_DEPTH)

    def _designated(
        self, raw: object, name: str, time: object, element: dict[str, object], found: list[Found]
    ) -> Reason | None:
        if isinstance(raw, dict):
            return self._fields(raw, f"{name}/" if name else "", None, time, element, found, MAX_DEPTH)
        if isinstance(raw, list) and self._value is not None:
            found.extend(Found(str(i), part, time, element) for i, part in enumerate(raw))
        else:
            found.append(Found("", None if raw is MISSING else raw, time, element))
        return None

    def _fields(
        self,
        part: dict[str, object],
        path: str,
        time_name: str | None,
        time: object,
        element: dict[str, object],
        found: list[Found],
        depth: int,
    ) -> Reason | None:
        reason = None
        for name, raw in part.items():
            field = path + name
            kind = type(raw)
            if kind is dict:
                if not depth:
                    return Reason.TOO_DEEP
                if not self._choice.ignored(field):
                    deeper = self._fields(raw, f"{field}/", None, time, element, found, depth - 1)  # type: ignore[arg-type]
                    reason = deeper or reason
            elif self._is_quantity(raw) or self._choice.asked(field):
                usual_time = not path and (name == time_name or name in TIME_NAME_SET)
                if self._wanted(field) and (not usual_time or self._choice.asked(field)):
                    found.append(Found(field, raw, time, element))
        return reason

    def _is_quantity(self, raw: object) -> bool:
        kind = type(raw)
        if kind is float or kind is int:
            return True
        return self._booleans and (kind is bool or (kind is str and raw.lower() in SWITCH))  # type: ignore[attr-defined]

    def _time_of(self, element: dict[str, object]) -> tuple[str | None, object]:
        if self._time is not None:
            if not self._time:
                return None, MISSING
            raw = resolve(self._time, element)
            # The settings say that there is a time: null is then an undecodable one, not an absent one.
            return (self._time[0] if len(self._time) == 1 else None), raw
        for name in TIME_NAMES:
            if name in element:
                return name, element[name]
        for name in AMBIGUOUS_TIME_NAMES:
            if name in element and self._is_time(element[name]):
                return name, element[name]
        return None, MISSING
