"""Us as a Sparkplug B edge node: births, data, deaths, in one sequence."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from stepahead.wire.delivery import Delivery, Will
from stepahead.wire.event import EventKind, SessionEvent
from stepahead.wire.output.sparkplug import DeviceTopics, node_birth, node_death, stamped, wants_rebirth
from stepahead.wire.stock_client import Row

__all__ = ["EdgeNode", "EdgeSession"]

REBIRTH_EVERY_S = 1.0
COMMANDS = 100


class EdgeSession(Protocol):
    """What an edge node asks of its session."""

    @property
    def connected(self) -> bool:
        """Whether the connection stands."""

    @property
    def waiting_out(self) -> int:
        """Messages published that are not yet on their way."""

    def receive(self, timeout_s: float, max_messages: int) -> list[Delivery]:
        """Wait for messages; also connects and keeps alive."""

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge deliveries."""

    def publish_many(self, rows: Sequence[Row], qos: int, retain: bool) -> None:
        """Hand messages over; never waits."""

    def close(self, timeout_s: float) -> bool:
        """Flush and say good-bye."""


class EdgeNode:
    """Sends births before data and numbers all (Sparkplug 3.0, "Operational Behavior").

    After each connection, and at most once a second when a host asks for it by NCMD, the node and all its devices are
    born again, each device with its last forecast. A device is born with its first forecast. `seq` counts from the
    NBIRTH's 0 to 255 and around; `bdSeq` numbers the connections and ties the NDEATH that the broker holds as our last
    will to its NBIRTH. Births and data travel with QoS 0, as Sparkplug demands: what cannot be sent while there is no
    connection is counted in `missed`; the next birth tells the newest.

    Args:
        make_session: makes the session, given its last will and who hears its events.
        topics: of this node.
        queue_messages: when so many messages wait for the network, further ones are missed.
        on_event: told of every event of the session.
        clock: monotonic seconds.
        wall_ns: UTC nanoseconds since 1970.

    Attributes:
        missed: forecasts that were not sent.
    """

    def __init__(
        self,
        make_session: Callable[[Callable[[], Will], Callable[[SessionEvent], None]], EdgeSession],
        topics: DeviceTopics,
        queue_messages: int,
        on_event: Callable[[SessionEvent], None],
        clock: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._topics = topics
        self._queue_messages = queue_messages
        self._on_event = on_event
        self._clock = clock
        self._wall_ns = wall_ns
        self._last: dict[bytes, bytes] = {}
        self._unborn: set[bytes] = set()
        self._alive = self._birth_due = False
        self._seq = 0
        # So that a death of the run before, delivered late, is hardly taken for ours.
        self._bd_seq = wall_ns() // 10**9 % 256
        self._rebirth_wanted = False
        self._born_s = float("-inf")
        self.missed = 0
        self._session = make_session(self._will, self._heard)

    def publish_many(self, rows: Sequence[Row], qos: int, retain: bool) -> None:
        """Send data of devices, and the births of those that are new; QoS and retain are Sparkplug's, not the caller's.

        Args:
            rows: DDATA topics and payloads, not `stamped` yet.
            qos: not looked at.
            retain: not looked at.
        """
        last, unborn = self._last, self._unborn
        sent: list[Row] = []
        sending = self._alive and self._session.waiting_out < self._queue_messages
        now_ms = self._wall_ns() // 1_000_000
        for row in rows:
            topic, payload = row[0], row[1]
            is_new = topic not in last or topic in unborn
            last[topic] = payload
            if not sending:
                if is_new:
                    unborn.add(topic)
                continue
            if is_new:
                unborn.discard(topic)
                topic = self._topics.birth_of(topic)
            sent.append((topic, self._numbered(payload, now_ms)))
        if sent:
            self._session.publish_many(sent, 0, False)
        self.missed += len(rows) - len(sent)

    def turn(self) -> None:
        """Hear what hosts want; connect, keep alive."""
        commands = self._session.receive(0.0, COMMANDS)
        self._session.acknowledge(commands)
        self._rebirth_wanted |= any(wants_rebirth(command.payload) for command in commands)
        asked = self._rebirth_wanted and self._alive and self._clock() - self._born_s >= REBIRTH_EVERY_S
        if self._birth_due or asked:
            self._give_birth()

    def close(self, timeout_s: float) -> None:
        """Die in good order: a DISCONNECT alone would take the last will away unsaid."""
        if self._alive:
            death = node_death(self._bd_seq, self._wall_ns() // 1_000_000)
            self._session.publish_many([(self._topics.of_node("NDEATH").encode(), death)], 0, False)
        self._alive = False
        self._session.close(timeout_s)

    def _will(self) -> Will:
        """The death of the connection to come."""
        self._bd_seq = (self._bd_seq + 1) % 256
        death = node_death(self._bd_seq, self._wall_ns() // 1_000_000)
        return Will(self._topics.of_node("NDEATH"), death, qos=1, retain=False)

    def _heard(self, event: SessionEvent) -> None:
        self._on_event(event)
        if event.kind is EventKind.SUBSCRIBED:  # before it we would not hear a host that asks for a rebirth
            self._birth_due = True
        elif event.kind is EventKind.DISCONNECTED:
            self._alive = self._birth_due = False

    def _give_birth(self) -> None:
        """NBIRTH, then a DBIRTH for each device, from 0 on."""
        self._alive, self._birth_due, self._rebirth_wanted = True, False, False
        self._born_s, self._seq = self._clock(), 0
        now_ms = self._wall_ns() // 1_000_000
        node = self._topics.of_node("NBIRTH").encode()
        rows: list[Row] = [(node, self._numbered(node_birth(self._bd_seq, now_ms), now_ms))]
        rows += [(self._topics.birth_of(topic), self._numbered(body, now_ms)) for topic, body in self._last.items()]
        self._unborn.clear()
        self._session.publish_many(rows, 0, False)

    def _numbered(self, payload: bytes, now_ms: int) -> bytes:
        seq, self._seq = self._seq, (self._seq + 1) % 256
        return stamped(payload, now_ms, seq)
