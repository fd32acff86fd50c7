"""What the loop asks of a session, of a decoder and of an encoder."""

from collections.abc import Sequence
from typing import Protocol

from stepahead.contract.records import Forecasts, SlotArray
from stepahead.service.outbox import OutgoingSession
from stepahead.wire.decoder import Decoded
from stepahead.wire.delivery import Delivery
from stepahead.wire.sparkplug_host import SparkplugHost
from stepahead.wire.stock_client import Row

__all__ = ["LoopSession", "Reader", "Writer"]


class LoopSession(OutgoingSession, Protocol):
    """What the loop asks of an MQTT session."""

    @property
    def connected(self) -> bool:
        """Whether the connection stands."""

    @property
    def lost_qos0(self) -> int:
        """QoS 0 messages that were on their way when a connection broke."""

    @property
    def refused_out(self) -> int:
        """Messages of ours that the broker refused."""

    def receive(self, timeout_s: float, max_messages: int) -> list[Delivery]:
        """Wait for messages."""

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """Hand one message over; never waits."""

    def flush(self, timeout_s: float) -> bool:
        """Work until nothing is pending."""

    def close(self, timeout_s: float) -> bool:
        """Flush and say good-bye."""


class Reader(Protocol):
    """Deliveries in, readings out."""

    @property
    def sparkplug(self) -> SparkplugHost:
        """What is known of edge nodes, and what is to be sent to them."""

    def decode(self, deliveries: Sequence[Delivery]) -> Decoded:
        """Read all deliveries, in order."""

    def overdue(self, now_ns: int) -> Decoded:
        """Readings that waited for others, which did not come."""


class Writer(Protocol):
    """Forecasts in, topics and payloads out."""

    def encode(
        self, forecasts: Forecasts, message: SlotArray | None = None, deliveries: Sequence[Delivery] = ()
    ) -> list[Row]:
        """What is to be published of forecasts, in order, and by whom their readings came, if that is known."""
