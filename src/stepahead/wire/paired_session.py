"""Two MQTT sessions as one: by one we listen, by the other we speak."""

import select
import time
from collections import deque
from collections.abc import Callable, Sequence

from stepahead.wire.delivery import Delivery
from stepahead.wire.session import Session
from stepahead.wire.speaker import Speaker
from stepahead.wire.stock_client import Row

__all__ = ["PairedSession"]

CONNECTING_S = 0.05


class PairedSession:
    """A `Session` whose own messages, and the broker's word that it has them, travel on a connection of their own.

    On one connection that word stands behind all readings which the broker has sent before it, and mosquitto sends
    whatever waits for us as soon as acknowledgements come: a service that is slower than its feed, or comes back after
    hours, would have to take in all of it to learn that its forecasts arrived. Here unread readings stay with the
    kernel and the broker, and nothing has to be read for the sake of what stands behind it.

    A reading is acknowledged when the broker has confirmed everything that was published before.

    Args:
        listening: with the filters.
        speaker: over a session without filters.
        clock: monotonic seconds.

    Example:
        >>> from stepahead.contract.settings import BrokerSettings
        >>> ours = BrokerSettings(url="mqtt://127.0.0.1:1")
        >>> speaker = Speaker(Session(ours, [], None, print, clean=True))
        >>> session = PairedSession(Session(ours, ["sensors/#"], None, print), speaker)
        >>> session.publish("stepahead/v1/status", b"{}", qos=1, retain=True)
        >>> session.waiting_out, session.connected
        (1, False)
    """

    def __init__(self, listening: Session, speaker: Speaker, clock: Callable[[], float] = time.monotonic) -> None:
        self._listening = listening
        self._speaker = speaker
        self._speaking = speaker.session
        self._clock = clock
        # Deliveries to be acknowledged, each with the count of messages that the broker must have confirmed before.
        self._owed: deque[tuple[int, Sequence[Delivery]]] = deque()

    @property
    def connected(self) -> bool:
        """Whether both connections stand."""
        return self._listening.connected and self._speaking.connected

    @property
    def lost_qos0(self) -> int:
        """QoS 0 messages that were on their way when a connection broke."""
        return self._speaking.lost_qos0

    @property
    def refused_out(self) -> int:
        """Messages of ours that the broker acknowledged with an error (MQTT 5 says so, 3.1.1 is silent)."""
        return self._speaking.refused_out

    @property
    def waiting_out(self) -> int:
        """Messages published that the broker has not confirmed (QoS 1) or the kernel has not taken (QoS 0)."""
        return self._speaking.waiting_out

    def receive(self, timeout_s: float, max_messages: int) -> list[Delivery]:
        """As `Session.receive`; nothing is given, nor read, while we cannot speak or too much of ours waits.

        Raises:
            BrokerError: the first connection or subscription was refused in a way that waiting cannot mend.
        """
        deadline = self._clock() + timeout_s
        while True:
            if self._speaking.connected or self._listening.connected:  # one of them tells that the broker is away
                self._speaking.receive(0.0, 1)
            self._settle()
            if not self._speaking.connected or self._speaking.congested:
                self._listening.tend()
            elif deliveries := self._listening.receive(0.0, max_messages):
                return deliveries
            wait_s = deadline - self._clock()
            if wait_s <= 0:
                return []
            self._wait(wait_s)

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """Publish one message; see `publish_many`."""
        self.publish_many([(topic.encode(), payload)], qos, retain)

    def publish_many(self, rows: Sequence[Row], qos: int, retain: bool) -> None:
        """As `Session.publish_many`."""
        self._speaker.publish_many(rows, qos, retain)
        self._listening.doubt()  # a line that is dead for the one is dead for the other, which may wait for an answer

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge deliveries, in order, as soon as the broker has all that was published before."""
        self._owed.append((self._speaker.published, deliveries))
        self._settle()

    def flush(self, timeout_s: float) -> bool:
        """Work until nothing is pending, acknowledgements included; whether that was reached in time."""
        deadline = self._clock() + timeout_s
        safe = self._speaking.flush(timeout_s)
        self._settle()
        self._listening.tend()
        return safe and self._listening.flush(max(0.0, deadline - self._clock())) and not self._owed

    def close(self, timeout_s: float) -> bool:
        """As `Session.close`, of both; whether all that was published is safe."""
        deadline = self._clock() + timeout_s
        self.flush(timeout_s / 2)
        self._listening.close(max(0.0, deadline - self._clock()) / 2)
        return self._speaking.close(max(0.0, deadline - self._clock()))

    def _settle(self) -> None:
        confirmed = self._speaker.confirmed
        while self._owed and self._owed[0][0] <= confirmed:
            self._listening.acknowledge(self._owed.popleft()[1])

    def _wait(self, wait_s: float) -> None:
        """Until either connection has something for us, or takes more of us; one that is not there is being made."""
        poll = select.poll()
        for session in (self._listening, self._speaking):
            if not session.connected:
                session.tend(min(wait_s, CONNECTING_S))
                return
            reads = session is self._speaking or not self._speaking.congested
            poll.register(session.socket, select.POLLIN * reads | select.POLLOUT * session.wants_write)
        poll.poll(1000 * min(wait_s, 1.0))
