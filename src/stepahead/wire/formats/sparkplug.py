"""Sparkplug B, as far as one message tells it: its topic, its payload, and the number in a metric."""

from math import isfinite
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from stepahead.contract.reasons import Reason
from stepahead.wire.formats.sparkplug_schema import DataType, Payload

__all__ = [
    "BITS",
    "NAMESPACE",
    "REBIRTH",
    "SIGNED",
    "Address",
    "decode_payload",
    "integer",
    "parse_topic",
    "property_of",
    "read_metric",
    "rebirth_request",
]

NAMESPACE = "spBv1.0"
REBIRTH = "Node Control/Rebirth"
NODE_VERBS = frozenset({"NBIRTH", "NDEATH", "NDATA", "NCMD"})
DEVICE_VERBS = frozenset({"DBIRTH", "DDEATH", "DDATA", "DCMD"})

BITS: dict[int, int] = {
    DataType.INT8: 8, DataType.INT16: 16, DataType.INT32: 32, DataType.INT64: 64,
    DataType.UINT8: 8, DataType.UINT16: 16, DataType.UINT32: 32, DataType.UINT64: 64,
}  # fmt: skip
SIGNED = frozenset({DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64})
REAL = frozenset({DataType.FLOAT, DataType.DOUBLE})


class Address(NamedTuple):
    """Whom a topic speaks of (Sparkplug 3.0, §4.1).

    Attributes:
        group, verb, node: levels of the topic; for STATE, the node is the host and the group empty.
        device: empty for messages of the node itself.
    """

    group: str
    verb: str
    node: str
    device: str

    @property
    def topic(self) -> str:
        """The topic without its verb: what keys of series start with."""
        parts = (NAMESPACE, self.group, self.node, self.device)
        return "/".join(part for part in parts if part)


def parse_topic(topic: str) -> Address | None:
    """The parts of a topic; None when it is none of Sparkplug B.

    Example:
        >>> parse_topic("spBv1.0/plant/DDATA/gateway/pump7")
        Address(group='plant', verb='DDATA', node='gateway', device='pump7')
        >>> parse_topic("spBv1.0/plant/DDATA/gateway/pump7").topic
        'spBv1.0/plant/gateway/pump7'
        >>> parse_topic("spBv1.0/plant/NDATA") is None, parse_topic("spBv1.0/STATE/scada").verb
        (True, 'STATE')
    """
    levels = topic.split("/")
    if levels[0] != NAMESPACE or not all(levels):
        return None
    if len(levels) == 3 and levels[1] == "STATE":
        return Address("", "STATE", levels[2], "")
    if len(levels) == 4 and levels[2] in NODE_VERBS:
        return Address(levels[1], levels[2], levels[3], "")
    if len(levels) == 5 and levels[2] in DEVICE_VERBS:
        return Address(levels[1], levels[2], levels[3], levels[4])
    return None


def decode_payload(payload: bytes) -> Any:
    r"""The message of a payload; None when it is not one.

    Example:
        >>> decode_payload(b"\x18\x07").seq, decode_payload(b"21.5") is None
        (7, True)
    """
    try:
        return Payload.FromString(payload)
    except DecodeError:
        return None


def read_metric(metric: Any, datatype: int, booleans: bool) -> float | Reason:
    """The value of a metric as one finite float64 (Sparkplug 3.0, §6.4.16 and §6.4.17).

    Integers travel unsigned, so that their sign is known only with the datatype, which births tell.

    Args:
        metric: message.
        datatype: of the metric itself or of its birth; 0 when neither is known.
        booleans: whether true and false are 1 and 0.

    Example:
        >>> metric = Payload.Metric(int_value=2**32 - 5)
        >>> read_metric(metric, DataType.INT16, False), read_metric(metric, DataType.UINT32, False)
        (-5.0, 4294967291.0)
        >>> read_metric(metric, DataType.UNKNOWN, False), read_metric(metric, DataType.UINT8, False)
        (<Reason.BEFORE_BIRTH: 'before_birth'>, <Reason.VALUE_TOO_LARGE: 'value_too_large'>)
    """
    kind = metric.WhichOneof("value")
    if kind is None or metric.is_null:
        return Reason.VALUE_MISSING
    if kind in ("double_value", "float_value"):
        number: float = getattr(metric, kind)
        if datatype and datatype not in REAL:
            return Reason.VALUE_NOT_NUMBER
        return number if isfinite(number) else Reason.VALUE_NOT_FINITE
    if kind in ("int_value", "long_value"):
        if not datatype:
            return Reason.BEFORE_BIRTH
        if datatype == DataType.DATETIME:
            return Reason.TYPE_SKIPPED
        if datatype not in BITS:
            return Reason.VALUE_NOT_NUMBER
        return integer(getattr(metric, kind), 32 if kind == "int_value" else 64, datatype)
    if kind == "boolean_value":
        if datatype not in (DataType.UNKNOWN, DataType.BOOLEAN):
            return Reason.VALUE_NOT_NUMBER
        return float(metric.boolean_value) if booleans else Reason.TYPE_SKIPPED
    return Reason.VALUE_NOT_NUMBER if datatype in BITS or datatype in REAL else Reason.TYPE_SKIPPED


def integer(raw: int, width: int, datatype: int) -> float | Reason:
    """Undo two's complement: of the field's width, or of the datatype's, for senders differ.

    Example:
        >>> integer(2**32 - 5, 32, DataType.INT8), integer(251, 32, DataType.INT8), integer(251, 32, DataType.UINT8)
        (-5.0, -5.0, 251.0)
    """
    bits = BITS[datatype]
    if datatype not in SIGNED:
        return float(raw) if raw < 1 << bits else Reason.VALUE_TOO_LARGE
    if raw >= 1 << (width - 1):
        raw -= 1 << width
    elif raw < 1 << bits and raw >= 1 << (bits - 1):
        raw -= 1 << bits
    return float(raw) if -(1 << (bits - 1)) <= raw < 1 << (bits - 1) else Reason.VALUE_TOO_LARGE


def property_of(metric: Any, name: str) -> object:
    """A property of a metric, its first letter in either case; None when it has none or its value is null (§6.4.8).

    Example:
        >>> metric = Payload.Metric()
        >>> metric.properties.keys.append("Quality")
        >>> metric.properties.values.add(type=DataType.INT32, int_value=192)
        type: 3
        int_value: 192
        <BLANKLINE>
        >>> property_of(metric, "quality"), property_of(metric, "engUnit")
        (192, None)
    """
    properties = metric.properties
    for key, value in zip(properties.keys, properties.values, strict=False):
        if isinstance(key, str) and key in (name, name[:1].swapcase() + name[1:]):
            kind = value.WhichOneof("value")
            return None if kind is None or value.is_null else getattr(value, kind)
    return None


def rebirth_request(group: str, node: str, now_ns: int) -> tuple[bytes, bytes]:
    """Topic and payload of the command that asks an edge node for its births (Sparkplug 3.0, §6.4.23).

    Example:
        >>> topic, payload = rebirth_request("plant", "gateway", 1760000000 * 10**9)
        >>> topic, Payload.FromString(payload).metrics[0].name
        (b'spBv1.0/plant/NCMD/gateway', 'Node Control/Rebirth')
    """
    message = Payload(timestamp=now_ns // 1_000_000)
    message.metrics.add(name=REBIRTH, timestamp=now_ns // 1_000_000, datatype=int(DataType.BOOLEAN), boolean_value=True)
    return f"{NAMESPACE}/{group}/NCMD/{node}".encode(), message.SerializeToString()
