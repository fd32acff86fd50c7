"""A message as the broker delivered it, and the last will we leave with the broker."""

from typing import NamedTuple

__all__ = ["AnnotatedDelivery", "Delivery", "Will"]


class Delivery(NamedTuple):
    """One PUBLISH packet from the broker: a tuple, because one is made for every message.

    Attributes:
        topic: raw bytes of the topic; not checked for UTF-8, the decoder counts what is not.
        payload: raw bytes.
        flags: low four bits of the fixed header (MQTT 3.1.1 §3.3.1): retain 1, QoS 2 and 4, dup 8.
        token: which acknowledgement this message waits for: connection number × 65,536 + packet identifier.
            A token of an earlier connection is worthless: the broker may have given the identifier anew.
        received_ns: UTC nanoseconds since 1970 at which the bytes were read.

    Example:
        >>> message = Delivery(b"plant/pump", b"21.5", 0b1011, 65_536 + 7, 0)
        >>> message.qos, message.retain, message.dup, message.token & 0xFFFF
        (1, True, True, 7)
    """

    topic: bytes
    payload: bytes
    flags: int
    token: int
    received_ns: int

    @property
    def qos(self) -> int:
        """Quality of service it was delivered with: 0 or 1."""
        return self.flags >> 1 & 3

    @property
    def retain(self) -> bool:
        """Whether the broker had kept it from before we subscribed."""
        return bool(self.flags & 1)

    @property
    def dup(self) -> bool:
        """Whether the broker says that it delivers it again."""
        return bool(self.flags & 8)


class AnnotatedDelivery(Delivery):
    """A delivery that came with MQTT 5 properties; few do, so the others carry no room for them.

    Attributes:
        properties: raw bytes, behind their length (MQTT 5 §2.2.2).
    """

    properties: bytes = b""


class Will(NamedTuple):
    """What the broker publishes for us when we vanish without a DISCONNECT (MQTT 3.1.1 §3.1.2.5)."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = True
