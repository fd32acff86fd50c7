"""What a Sparkplug host sees of us: births before data, one sequence, deaths that match their births."""

from collections.abc import Callable, Sequence

from stepahead.service.edge_node import EdgeNode
from stepahead.wire.delivery import Delivery, Will
from stepahead.wire.event import EventKind, SessionEvent
from stepahead.wire.formats.sparkplug_schema import DataType, Payload
from stepahead.wire.output.sparkplug import DeviceTopics
from stepahead.wire.stock_client import Row

REBIRTH = Payload(
    metrics=[Payload.Metric(name="Node Control/Rebirth", datatype=DataType.BOOLEAN, boolean_value=True)]
).SerializeToString()


class Wire:
    """A session in the hands of the test."""

    def __init__(self) -> None:
        self.connected = False
        self.waiting_out = 0
        self.sent: list[tuple[str, object]] = []
        self.commands: list[Delivery] = []
        self.events: list[EventKind] = []
        self.wills: list[int] = []

    def open(self, will: Callable[[], Will], heard: Callable[[SessionEvent], None]) -> "Wire":
        self.will, self.heard = will, heard
        return self

    def connect(self) -> None:
        will = self.will()
        assert (will.qos, will.retain, will.topic) == (1, False, "spBv1.0/g/NDEATH/n")
        self.wills.append(Payload.FromString(will.payload).metrics[0].long_value)
        self.events += [EventKind.CONNECTED, EventKind.SUBSCRIBED]

    def receive(self, timeout_s: float, max_messages: int) -> list[Delivery]:
        for kind in self.events:
            self.connected = kind is not EventKind.DISCONNECTED
            self.heard(SessionEvent(kind, ""))
        self.events.clear()
        commands, self.commands = self.commands, []
        return commands

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        pass

    def publish_many(self, rows: Sequence[Row], qos: int, retain: bool) -> None:
        assert (qos, retain) == (0, False)
        self.sent += [(row[0].decode().removeprefix("spBv1.0/g/"), Payload.FromString(row[1])) for row in rows]

    def close(self, timeout_s: float) -> bool:
        return True

    def take(self) -> list[tuple[str, int, int]]:
        """Kind and device, seq, value of the first metric, of what was sent since the last time."""
        sent, self.sent = self.sent, []
        return [(topic, payload.seq, payload.metrics[0].long_value) for topic, payload in sent]  # type: ignore[attr-defined]


def node(wire: Wire, clock: list[float] | None = None) -> EdgeNode:
    now = clock or [0.0]
    topics = DeviceTopics("g", "n")
    return EdgeNode(wire.open, topics, 1000, lambda event: None, lambda: now[0], lambda: 41 * 10**9)


def data(device: str, value: int) -> Row:
    payload = Payload(metrics=[Payload.Metric(name="value", datatype=DataType.INT64, long_value=value)])
    return (f"spBv1.0/g/DDATA/n/{device}".encode(), payload.SerializeToString())


def test_births_come_before_data_and_the_sequence_has_no_gap() -> None:
    wire = Wire()
    edge = node(wire)
    edge.publish_many([data("a", 1)], 1, True)  # nobody hears it; the birth will tell it
    edge.turn()
    assert wire.take() == []
    wire.connect()
    edge.turn()
    assert wire.take() == [("NBIRTH/n", 0, 42), ("DBIRTH/n/a", 1, 1)]
    edge.publish_many([data("a", 2), data("b", 3), data("b", 4)], 1, True)
    assert wire.take() == [("DDATA/n/a", 2, 2), ("DBIRTH/n/b", 3, 3), ("DDATA/n/b", 4, 4)]
    edge.publish_many([data("a", i) for i in range(600)], 1, True)
    assert [seq for _, seq, _ in wire.take()] == [(5 + i) % 256 for i in range(600)]
    assert edge.missed == 1


def test_each_connection_has_a_number_that_ties_its_death_to_its_birth() -> None:
    wire = Wire()
    edge = node(wire)
    births = []
    for _ in range(3):
        wire.connect()
        edge.turn()
        births.append(wire.take()[0])
        wire.events.append(EventKind.DISCONNECTED)
        edge.turn()
    assert [value for _, _, value in births] == wire.wills == [42, 43, 44]
    wire.connect()
    edge.turn()
    wire.take()
    edge.close(1.0)
    assert wire.take() == [("NDEATH/n", 0, 45)]
    edge.publish_many([data("a", 1)], 0, False)
    assert wire.take() == []


def test_a_host_that_asks_gets_everything_again_at_a_bounded_rate() -> None:
    wire, clock = Wire(), [0.0]
    edge = node(wire, clock)
    wire.connect()
    edge.turn()
    edge.publish_many([data("a", 1), data("b", 2), data("a", 3)], 0, False)
    wire.take()
    command = Delivery(b"spBv1.0/g/NCMD/n", REBIRTH, 0, 0, 0)
    clock[0] = 5.0
    wire.commands = [command._replace(payload=b"\xff\xff"), command._replace(payload=b"")]
    edge.turn()
    assert wire.take() == []
    wire.commands = [command, command]
    edge.turn()
    everything = [("NBIRTH/n", 0, 42), ("DBIRTH/n/a", 1, 3), ("DBIRTH/n/b", 2, 2)]
    assert wire.take() == everything
    wire.commands = [command]
    edge.turn()
    assert wire.take() == []
    clock[0] = 6.0
    edge.turn()  # the wish is not forgotten
    assert wire.take() == everything
    edge.turn()
    assert wire.take() == []


def test_what_the_network_cannot_take_is_counted_and_told_by_the_next_birth() -> None:
    wire = Wire()
    edge = node(wire)
    wire.connect()
    edge.turn()
    edge.publish_many([data("a", 1)], 0, False)
    wire.take()
    wire.waiting_out = 1000
    edge.publish_many([data("a", 2), data("b", 3)], 0, False)
    assert (wire.take(), edge.missed) == ([], 2)
    wire.waiting_out = 0
    edge.publish_many([data("a", 4), data("b", 5)], 0, False)
    assert wire.take() == [("DDATA/n/a", 2, 4), ("DBIRTH/n/b", 3, 5)]
