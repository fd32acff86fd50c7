"""What is on its way out: forecasts to be published, then deliveries to be acknowledged, in order."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from stepahead.wire.delivery import Delivery

__all__ = ["Outbox", "OutgoingSession", "Row"]

Row: TypeAlias = tuple[bytes, bytes]


class OutgoingSession(Protocol):
    """What the outbox asks of a session."""

    def publish_many(self, rows: Sequence[Row], qos: int, retain: bool) -> None:
        """Hand messages over; never waits."""

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge deliveries, in order."""


@dataclass(slots=True)
class _Entry:
    deliveries: Sequence[Delivery]
    rows: Sequence[Row]
    position: int


class Outbox:
    """Publishes forecasts when their readings are safe on the disk, and then acknowledges the readings.

    Forecasts and acknowledgements travel on one connection, in this order. So wherever it breaks, the broker either
    has a forecast or still owes us the reading. To wait for the broker's word that it has the forecast would be
    no safer, and a deadlock with rumqttd, which says nothing to a client that owes it 100 acknowledgements.

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
        self._unsafe: deque[_Entry] = deque()
        self.forecasts = 0
        """Forecasts handed to the session so far."""

    @property
    def held(self) -> bool:
        """Whether forecasts wait for the disk."""
        return bool(self._held)

    def add(self, deliveries: Sequence[Delivery], rows: Sequence[Row], position: int = 0) -> None:
        """Take in what came of some deliveries.

        Args:
            deliveries: to be acknowledged, those without a reading too.
            rows: topics and payloads of the forecasts.
            position: they are safe when so many journal records are durable.
        """
        self._held.append(_Entry(deliveries, rows, position))

    def send(self, durable: int, anyway: bool = False) -> None:
        """Publish and acknowledge what is safe.

        Args:
            durable: so many journal records are on the disk.
            anyway: the disk is in trouble: forecasts go out nevertheless, acknowledgements wait.
        """
        while self._held and (anyway or self._held[0].position <= durable):
            entry = self._held.popleft()
            if entry.rows:
                self._session.publish_many(entry.rows, self._qos, self._retain)
                self.forecasts += len(entry.rows)
                entry.rows = ()
            self._unsafe.append(entry)
        while self._unsafe and self._unsafe[0].position <= durable:
            self._session.acknowledge(self._unsafe.popleft().deliveries)
