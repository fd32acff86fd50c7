"""The speaker: an MQTT session by which we only publish, and which knows up to where the broker has it."""

from collections.abc import Sequence

from stepahead.wire.session import Session
from stepahead.wire.stock_client import Row

__all__ = ["Speaker"]


class Speaker:
    """Publishes, and knows up to where the broker has all of it.

    Readings come by another connection, and nothing orders the two. So who acknowledges a reading waits until the
    broker has confirmed its forecast. Brokers confirm in the order in which they were sent to (MQTT 3.1.1 §4.6), so
    two counts tell which.

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
        refused = self.session.refused_out
        self.session.publish_many(rows, qos, retain)
        if qos:  # what is longer than the broker takes was left out and will not be confirmed
            self.published += len(rows) - (self.session.refused_out - refused)
