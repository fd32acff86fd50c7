"""The speaker: the one MQTT session by which a process publishes the forecasts of all its shards."""

from collections.abc import Sequence

from stepahead.wire.session import Session
from stepahead.wire.stock_client import Row

__all__ = ["Speaker"]


class Speaker:
    """Publishes for several shards, and knows up to where the broker has all of it.

    A reading that a router handed over is acknowledged on the router's connection, and its forecast goes out on ours:
    nothing orders the two. So the acknowledgement waits until the broker has confirmed the forecast. Brokers confirm
    in the order in which they were sent to (MQTT 3.1.1 §4.6), so two counts tell which.

    Args:
        session: without subscriptions.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.published = 0
        """Messages of QoS 1 handed over so far."""

    @property
    def confirmed(self) -> int:
        """So many of them the broker has."""
        return self.published - self.session.waiting_out

    def publish_many(self, rows: Sequence[Row], qos: int, retain: bool) -> None:
        """Hand messages over; never waits."""
        self.session.publish_many(rows, qos, retain)
        if qos:
            self.published += len(rows)
