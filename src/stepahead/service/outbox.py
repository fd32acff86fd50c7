"""What is on its way out: forecasts to be published, then deliveries to be acknowledged, in order."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from stepahead.wire.delivery import Delivery
from stepahead.wire.session import Pending

__all__ = ["Outbox", "OutgoingSession"]

Row: TypeAlias = tuple[bytes, bytes]


class OutgoingSession(Protocol):
    """What the outbox asks of a session."""

    @property
    def pending_out(self) -> Pending:
        """Messages published and not yet with the broker."""

    def publish_many(self, rows: Sequence[Row], qos: int, retain: bool) -> None:
        """Hand messages over."""

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge deliveries, in order."""


@dataclass(slots=True)
class _Entry:
    deliveries: Sequence[Delivery]
    rows: Sequence[Row]
    position: int
    mark: int = 0


class Outbox:
    """Publishes forecasts when their readings are safe, and acknowledges readings when their forecasts are.

    A delivery is acknowledged when its readings are on the disk (its entry's position is durable) and the broker has
    its forecasts. So a crash at any place leaves either a reading that the broker delivers again, or a forecast that
    it has.

    Args:
        session: where to.
        qos: of forecasts.
        retain: whether the broker keeps the newest forecast of each series.
    """

    def __init__(self, session: OutgoingSession, qos: int, retain: bool) -> None:
        self._session = session
        self._qos = qos
        self._retain = retain
        self._held: deque[_Entry] = deque()
        self._published: deque[_Entry] = deque()
        self._handed_over = 0
        self.forecasts = 0
        """Forecasts handed to the session so far."""

    @property
    def held(self) -> bool:
        """Whether forecasts wait for the disk."""
        return bool(self._held)

    @property
    def waits_for_broker(self) -> bool:
        """Whether deliveries wait to be acknowledged until the broker has their forecasts."""
        return bool(self._published) and self._published[0].mark > self._safe()

    def add(self, deliveries: Sequence[Delivery], rows: Sequence[Row], position: int = 0) -> None:
        """Take in what came of some deliveries.

        Args:
            deliveries: to be acknowledged, those without a reading too.
            rows: topics and payloads of the forecasts.
            position: they may go out when so many journal records are durable.
        """
        self._held.append(_Entry(deliveries, rows, position))

    def publish(self, durable: int, anyway: bool = False) -> None:
        """Hand over the forecasts of durable entries; of all, when the disk is in trouble and they go out `anyway`."""
        while self._held and (anyway or self._held[0].position <= durable):
            entry = self._held.popleft()
            if entry.rows:
                self._session.publish_many(entry.rows, self._qos, self._retain)
                self._handed_over += len(entry.rows)
                self.forecasts += len(entry.rows)
                entry.rows = ()
            entry.mark = self._handed_over
            self._published.append(entry)

    def say(self, topic: str, payload: bytes) -> None:
        """Publish a message that the broker is to keep, at QoS 1."""
        self._session.publish_many([(topic.encode(), payload)], 1, True)
        self._handed_over += 1

    def settle(self, durable: int) -> None:
        """Acknowledge what is safe."""
        if not self._published:
            return
        safe = self._safe()
        while self._published and self._published[0].position <= durable and self._published[0].mark <= safe:
            self._session.acknowledge(self._published.popleft().deliveries)

    def _safe(self) -> int:
        """How many of the messages handed over are with the broker: it takes them in order."""
        return self._handed_over - self._session.pending_out.messages
