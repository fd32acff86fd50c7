"""A Sparkplug B edge node and a network that loses, reorders and repeats: with the truth to check a host against."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from stepahead.wire.formats.sparkplug_schema import DataType, Payload

__all__ = ["Sent", "SparkplugNode", "UnreliableNetwork"]

START_MS = 1_760_000_000_000
STEP_MS = 50
INTEGERS = {DataType.INT8: 8, DataType.INT16: 16, DataType.INT32: 32, DataType.INT64: 64}
TYPES = (*INTEGERS, DataType.UINT16, DataType.UINT32, DataType.UINT64, DataType.FLOAT, DataType.DOUBLE)


@dataclass(frozen=True, slots=True)
class Sent:
    """One message on the wire.

    Attributes:
        topic, payload: as published.
        metrics: how many quantities it carries.
        certain: published with QoS 1: it may come late but is never lost.
    """

    topic: str
    payload: bytes
    metrics: int
    certain: bool = False


@dataclass
class SparkplugNode:
    """A node with devices that publishes by alias, restarts, and gives its aliases new meanings when it does.

    Args:
        rng: of values, types and aliases.
        name: of the node.
        devices: names of its devices.
        metrics: how many each has.

    Attributes:
        truth: (device, metric, time in ms) -> value, of everything that was ever sent.

    Example:
        >>> node = SparkplugNode(random.Random(1), devices=("pump",), metrics=2)
        >>> [sent.topic for sent in node.start()]
        ['spBv1.0/plant/NBIRTH/gateway', 'spBv1.0/plant/DBIRTH/gateway/pump']
        >>> node.data().metrics >= 1
        True
    """

    rng: random.Random
    name: str = "gateway"
    devices: tuple[str, ...] = ("pump", "tank")
    metrics: int = 4
    now_ms: int = START_MS
    truth: dict[tuple[str, str, int], float] = field(default_factory=dict)
    restarts: int = 0
    _bd_seq: int = -1
    _seq: int = 0
    _tables: dict[str, dict[str, tuple[int, DataType]]] = field(default_factory=dict)

    def start(self) -> list[Sent]:
        """A new MQTT session: births under a new `bdSeq`, aliases and types dealt anew."""
        self._bd_seq = (self._bd_seq + 1) % 256
        return self.rebirth()

    def rebirth(self) -> list[Sent]:
        """The births, as a host asks for them."""
        owners = ("", *self.devices)
        aliases = self.rng.sample(range(len(owners) * self.metrics), len(owners) * self.metrics)
        self._tables = {
            owner: {f"m{k}": (aliases.pop(), self.rng.choice(TYPES)) for k in range(self.metrics)} for owner in owners
        }
        self._seq = -1
        return [self._birth(owner) for owner in owners]

    def die(self) -> Sent:
        """The will that the broker publishes for a node that is gone."""
        will = Payload(timestamp=self.now_ms)
        will.metrics.add(name="bdSeq", datatype=int(DataType.INT64), long_value=self._bd_seq)
        return Sent(f"spBv1.0/plant/NDEATH/{self.name}", will.SerializeToString(), 0, certain=True)

    def restart(self) -> list[Sent]:
        """Death, and a new session."""
        self.restarts += 1
        death = self.die()
        self.now_ms += STEP_MS
        return [death, *self.start()]

    def device_rebirth(self) -> list[Sent]:
        """A device dies and is born again with its aliases dealt anew."""
        device = self.rng.choice(self.devices)
        table = self._tables[device]
        names = list(table)
        self.rng.shuffle(names)
        death = self._message("DDEATH", device)
        sent = Sent(self._topic("DDEATH", device), death.SerializeToString(), 0)
        self._tables[device] = dict(zip(names, table.values(), strict=True))
        return [sent, self._birth(device)]

    def data(self) -> Sent:
        """A message with some metrics of the node or of a device, by alias."""
        owner = self.rng.choice(("", *self.devices))
        verb = "DDATA" if owner else "NDATA"
        payload = self._message(verb, owner)
        table = self._tables[owner]
        names = self.rng.sample(list(table), self.rng.randint(1, len(table)))
        for name in names:
            alias, datatype = table[name]
            self._value(payload.metrics.add(alias=alias, timestamp=self.now_ms), owner, name, datatype)
        return Sent(self._topic(verb, owner), payload.SerializeToString(), len(names))

    def _birth(self, owner: str) -> Sent:
        verb = "DBIRTH" if owner else "NBIRTH"
        payload = self._message(verb, owner)
        if not owner:
            payload.metrics.add(name="bdSeq", datatype=int(DataType.INT64), long_value=self._bd_seq)
            payload.metrics.add(name="Node Control/Rebirth", datatype=int(DataType.BOOLEAN), boolean_value=False)
        for name, (alias, datatype) in self._tables[owner].items():
            metric = payload.metrics.add(name=name, alias=alias, datatype=int(datatype), timestamp=self.now_ms)
            self._value(metric, owner, name, datatype)
        return Sent(self._topic(verb, owner), payload.SerializeToString(), len(self._tables[owner]))

    def _message(self, verb: str, owner: str) -> Any:
        self.now_ms += STEP_MS
        self._seq = (self._seq + 1) % 256
        return Payload(timestamp=self.now_ms, seq=self._seq)

    def _topic(self, verb: str, owner: str) -> str:
        return "/".join(["spBv1.0", "plant", verb, self.name, *([owner] if owner else [])])

    def _value(self, metric: Any, owner: str, name: str, datatype: DataType) -> None:
        if datatype in INTEGERS:
            value = float(self.rng.randint(-128, 127))
            width = 64 if datatype == DataType.INT64 else 32
            setattr(metric, "long_value" if width == 64 else "int_value", int(value) % (1 << width))
        elif datatype == DataType.FLOAT:
            value = metric.float_value = float(self.rng.randint(-1000, 1000)) / 8
        elif datatype == DataType.DOUBLE:
            value = metric.double_value = self.rng.gauss(0, 1)
        else:
            value = float(self.rng.randint(0, 60_000))
            setattr(metric, "long_value" if datatype == DataType.UINT64 else "int_value", int(value))
        self.truth[owner, name, self.now_ms] = value


class UnreliableNetwork:
    """Carries messages: some are lost, some come again, some are overtaken by others.

    Args:
        rng: of all misfortunes.
        lost, repeated, delayed: chance of each, in [0, 1].
        late: a delayed message comes at most so many messages later.

    Example:
        >>> network = UnreliableNetwork(random.Random(1), lost=0, repeated=1, delayed=0)
        >>> [sent.topic for sent in network.carry([Sent("a", b"1", 1), Sent("b", b"2", 1)])]
        ['a', 'a', 'b', 'b']
    """

    def __init__(
        self, rng: random.Random, lost: float = 0.02, repeated: float = 0.03, delayed: float = 0.05, late: int = 6
    ) -> None:
        self._rng = rng
        self.lost, self.repeated, self.delayed, self.late = lost, repeated, delayed, late
        self._under_way: list[tuple[int, Sent]] = []
        self._clock = 0
        self.losses = 0

    def carry(self, sent: list[Sent]) -> Iterator[Sent]:
        """Take messages in; what comes out at the other end by now."""
        for message in sent:
            self._clock += 1
            copies = 1 + (self._rng.random() < self.repeated)
            if not message.certain and self._rng.random() < self.lost:
                self.losses += 1
                copies = 0
            for _ in range(copies):
                delay = self._rng.randint(1, self.late) if self._rng.random() < self.delayed else 0
                self._under_way.append((self._clock + delay, message))
            due = [message for at, message in self._under_way if at <= self._clock]
            self._under_way = [entry for entry in self._under_way if entry[0] > self._clock]
            yield from due

    def rest(self) -> list[Sent]:
        """All that is still under way."""
        rest, self._under_way = [message for _, message in self._under_way], []
        return rest
