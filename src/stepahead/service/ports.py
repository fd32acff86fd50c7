"""What the loop asks of a session, of a decoder and of an encoder."""

from collections.abc import Sequence
from typing import Protocol

from stepahead.contract.records import Forecasts
from stepahead.service.outbox import OutgoingSession, Row
from stepahead.wire.decoder import Decoded
from stepahead.wire.delivery import Delivery

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

    def decode(self, deliveries: Sequence[Delivery]) -> Decoded:
        """Read all deliveries, in order."""


class Writer(Protocol):
    """Forecasts in, topics and payloads out."""

    def encode(self, forecasts: Forecasts) -> list[Row]:
        """One row per forecast, in order."""
