"""What is on its way out: forecasts to be published, then deliveries to be acknowledged, in order."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from stepahead.wire.delivery import Delivery
from stepahead.wire.stock_client import Row

__all__ = ["Outbox", "OutgoingSession", "Publisher"]


class Publisher(Protocol):
    """Where forecasts go."""

    def publish_many(self, rows: Sequence[Row], qos: int, retain: bool) -> None:
        """Hand messages over; never waits."""


class OutgoingSession(Publisher, Protocol):
    """What the outbox asks of a session."""

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge deliveries, in order."""


@dataclass(slots=True)
class _Entry:
    deliveries: Sequence[Delivery]
    rows: Sequence[Row]
    forecasts: int
    position: int
    binding: int


class Outbox:
    """Publishes forecasts, and acknowledges their readings when these are safe on the disk.

    A forecast need not wait for its own reading's way to the disk: were that cut short, the broker would deliver the
    reading again, and its forecast would go out again with the same `id`. It waits for what could not be had again,
    such as the time at which a message arrived. What is handed to the session for acknowledgement it sends after the
    forecasts, or when the broker has confirmed them: so wherever a connection breaks, the broker either has a forecast
    or still owes us the reading.

    Args:
        session: where to.
        qos: of forecasts.
        retain: whether the broker keeps the newest forecast of each series.
        publisher: where forecasts go when not to the session.
    """

    def __init__(self, session: OutgoingSession, qos: int, retain: bool, publisher: Publisher | None = None) -> None:
        self._session = session
        self._publisher = publisher or session
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

    @property
    def unsafe(self) -> bool:
        """Whether acknowledgements wait for the disk."""
        return bool(self._held or self._unsafe)

    def add(
        self,
        deliveries: Sequence[Delivery],
        rows: Sequence[Row],
        position: int = 0,
        binding: int | None = None,
        forecasts: int | None = None,
    ) -> None:
        """Take in what came of some deliveries.

        Args:
            deliveries: to be acknowledged, those without a reading too.
            rows: topics and payloads of the forecasts.
            position: they are safe when so many journal records are durable.
            binding: the forecasts may go out when so many are, not falling; None = `position`.
            forecasts: how many the rows tell of; None = one each.
        """
        told = len(rows) if forecasts is None else forecasts
        self._held.append(_Entry(deliveries, rows, told, position, position if binding is None else binding))

    def send(self, durable: int, anyway: bool = False) -> None:
        """Publish what may go out, and acknowledge what is safe.

        Args:
            durable: so many journal records are on the disk.
            anyway: the disk is in trouble: forecasts go out nevertheless, acknowledgements wait.
        """
        while self._held and (anyway or self._held[0].binding <= durable):
            entry = self._held.popleft()
            if entry.rows:
                self._publisher.publish_many(entry.rows, self._qos, self._retain)
                self.forecasts += entry.forecasts
                entry.rows = ()
            self._unsafe.append(entry)
        while self._unsafe and self._unsafe[0].position <= durable:
            self._session.acknowledge(self._unsafe.popleft().deliveries)
