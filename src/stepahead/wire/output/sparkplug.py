"""Forecasts as Sparkplug B 3.0: we are an edge node, and each series is a device of it."""

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import DecodeError

from stepahead.contract.records import Forecasts
from stepahead.wire.formats.sparkplug_schema import DataType, Payload
from stepahead.wire.output.rows import rows_of
from stepahead.wire.topic_template import SPAN, OwnTopics
from stepahead.wire.topics import ESCAPED

__all__ = ["DeviceTopics", "SparkplugBody", "device_id", "node_birth", "node_death", "stamped", "wants_rebirth"]

NAMESPACE = "spBv1.0"
BD_SEQ = "bdSeq"
REBIRTH = "Node Control/Rebirth"
METRICS = {
    "value": DataType.DOUBLE,
    "mean": DataType.DOUBLE,
    "lower": DataType.DOUBLE,
    "upper": DataType.DOUBLE,
    "observed": DataType.DOUBLE,
    "error": DataType.DOUBLE,
    "anomaly": DataType.BOOLEAN,
    "status": DataType.STRING,
    "model": DataType.INT64,
    "id": DataType.STRING,
    "issued_at": DataType.DATETIME,
    "valid_at": DataType.DATETIME,
}


class DeviceTopics:
    """Topics of an edge node and of its devices (Sparkplug 3.0, "Topic Namespace Elements").

    Args:
        group: group id.
        node: edge node id.

    Example:
        >>> topics = DeviceTopics("stepahead", "edge1")
        >>> topics.fill("plant/pump7"), topics.of_node("NBIRTH")
        ('spBv1.0/stepahead/DDATA/edge1/plant:pump7', 'spBv1.0/stepahead/NBIRTH/edge1')
    """

    def __init__(self, group: str, node: str) -> None:
        self._group, self._node = group, node
        self._data, self._births = (f"{self.of_node(kind)}/".encode() for kind in ("DDATA", "DBIRTH"))
        self.covers = OwnTopics((NAMESPACE, group, "+", node, SPAN))
        self.covers_node = OwnTopics((NAMESPACE, group, "+", node))

    def fill(self, key: str) -> str:
        """Where the data of a series go out."""
        return f"{self.of_node('DDATA')}/{device_id(key)}"

    def of_node(self, kind: str) -> str:
        """The topic of the node's own messages: NBIRTH, NDEATH, NCMD."""
        return f"{NAMESPACE}/{self._group}/{kind}/{self._node}"

    def birth_of(self, topic: bytes) -> bytes:
        """Where the device is born whose data go out on this topic."""
        return self._births + topic.removeprefix(self._data)


class SparkplugBody:
    """Payloads without time stamp and sequence number, which `stamped` adds when they are sent.

    A payload names all metrics with their types, so that it is DBIRTH and DDATA in one: a host that missed a
    birth knows them too. `error` is null where nothing had been forecast.
    """

    content_type = "application/x-protobuf"

    def __init__(self) -> None:
        self._payload = Payload()
        for name, kind in METRICS.items():
            self._payload.metrics.add(name=name, datatype=kind)

    def each(self, forecasts: Forecasts, keys: Sequence[str]) -> list[bytes]:
        """One payload per forecast."""
        payload = self._payload
        value, mean, lower, upper, observed, error, *others = payload.metrics
        anomaly, status, model, identity, issued, valid = others
        issues_ms = (forecasts.issued_at_ns // 1_000_000).tolist()
        valids_ms = (forecasts.valid_at_ns // 1_000_000).tolist()
        payloads = []
        for issued_ms, valid_ms, row in zip(issues_ms, valids_ms, rows_of(forecasts), strict=True):
            *numbers, miss, unusual, state, version, name = row
            for metric in payload.metrics:
                metric.timestamp = issued_ms
            value.double_value, mean.double_value = numbers[:2]
            lower.double_value, upper.double_value, observed.double_value = numbers[2:]
            if miss - miss == 0.0:
                error.double_value = miss
                error.ClearField("is_null")
            else:
                error.ClearField("value")
                error.is_null = True
            anomaly.boolean_value, status.string_value = unusual, state
            model.long_value, identity.string_value = version, name
            issued.long_value, valid.long_value = issued_ms, valid_ms
            payloads.append(payload.SerializeToString())
        return payloads


def device_id(key: str) -> str:
    """A key as a device id: slashes become colons, and what a topic must not hold is percent-encoded.

    Example:
        >>> device_id("plant/pump#7:a")
        'plant:pump%237%3Aa'
    """
    return ESCAPED.sub(_percent, key).replace(":", "%3A").replace("/", ":")


def _percent(found: Any) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode())


def stamped(payload: bytes, now_ms: int, seq: int) -> bytes:
    """A payload with its time stamp and sequence number: fields 1 and 3, wherever they stand (protobuf, Encoding).

    Example:
        >>> whole = Payload.FromString(stamped(b"", 1_760_000_000_000, 255))
        >>> whole.timestamp, whole.seq
        (1760000000000, 255)
    """
    return payload + b"\x08" + _varint(now_ms) + b"\x18" + _varint(seq)


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def node_birth(bd_seq: int, now_ms: int) -> bytes:
    """NBIRTH without its sequence number: which connection this is, and that we hear a wish for a rebirth."""
    payload = Payload()
    payload.metrics.add(name=BD_SEQ, timestamp=now_ms, datatype=DataType.INT64, long_value=bd_seq)
    payload.metrics.add(name=REBIRTH, timestamp=now_ms, datatype=DataType.BOOLEAN, boolean_value=False)
    written: bytes = payload.SerializeToString()
    return written


def node_death(bd_seq: int, now_ms: int) -> bytes:
    """NDEATH: the connection that it ends; it has no sequence number."""
    payload = Payload(timestamp=now_ms)
    payload.metrics.add(name=BD_SEQ, timestamp=now_ms, datatype=DataType.INT64, long_value=bd_seq)
    written: bytes = payload.SerializeToString()
    return written


def wants_rebirth(payload: bytes) -> bool:
    """Whether an NCMD asks for all births again; what cannot be read asks for nothing.

    Example:
        >>> command = Payload(metrics=[Payload.Metric(name=REBIRTH, datatype=DataType.BOOLEAN, boolean_value=True)])
        >>> wants_rebirth(command.SerializeToString()), wants_rebirth(b"no protobuf")
        (True, False)
    """
    command = Payload()
    try:
        command.ParseFromString(payload)
    except DecodeError:
        return False
    return any(metric.name == REBIRTH and metric.boolean_value for metric in command.metrics)
