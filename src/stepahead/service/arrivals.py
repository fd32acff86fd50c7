"""When messages without a time of their own arrived, so that one delivered again keeps the time of its first coming."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepahead.wire.decoder import Decoded
from stepahead.wire.delivery import Delivery

__all__ = ["Arrivals", "Mark"]

REMEMBERED_MESSAGES = 30_000
"""Less than half of the 65,535 packet identifiers, which brokers give out in turn: an identifier that is remembered
was not given to another message since."""


class Mark(NamedTuple):
    """How many messages have come, and when the newest of them did, UTC nanoseconds since 1970."""

    messages: int
    newest_ns: int


class Arrivals:
    """Arrival times of QoS 1 messages by packet identifier.

    A reading without a time gets that of its arrival. When the broker delivers its message again, after we or the
    connection died before it was acknowledged, the arrival is another; by packet identifier and content the message
    is known as the same one (MQTT 3.1.1 §4.4: a message that is sent again keeps its identifier).

    Args:
        remembered: so many messages back; fewer where others use up identifiers too.

    Example:
        >>> from stepahead.contract.records import Readings
        >>> first = Delivery(b"plant/pump", b"21.5", flags=2, token=65_536 + 7, received_ns=1000)
        >>> decoded = Decoded(Readings.of([0], [1000], [21.5]), np.array([0], np.int32))
        >>> arrivals = Arrivals()
        >>> columns = arrivals.note([first], decoded)
        >>> again = Delivery(b"plant/pump", b"21.5", flags=10, token=2 * 65_536 + 7, received_ns=9000)
        >>> arrivals.recall([again])[0].received_ns
        1000
    """

    def __init__(self, remembered: int = REMEMBERED_MESSAGES) -> None:
        self._remembered = remembered
        self._known: dict[int, tuple[int, int, int]] = {}
        self._messages = 0
        self._newest_ns = 0
        self._written = Mark(0, 0)

    @property
    def newest_ns(self) -> int:
        """The newest arrival that was written down, of any message: the next run's clock goes on from there."""
        return self._written.newest_ns

    def mark(self) -> Mark:
        """How far it has come, to be written down with a batch: what is not, no later run can know."""
        self._written = Mark(self._messages, self._newest_ns)
        return self._written

    def take_mark(self, mark: Mark) -> None:
        """Take over what `mark` gave."""
        self._messages, self._newest_ns = self._written = mark

    def recall(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """The deliveries, with the first arrival of those that were delivered before."""
        if not self._known or not any(message.flags & 8 for message in deliveries):
            return deliveries
        return [self._first(message) if message.flags & 8 else message for message in deliveries]

    def _first(self, message: Delivery) -> Delivery:
        known = self._known.get(message.token & 0xFFFF)
        if known is None:
            return message
        content, received_ns, number = known
        if content != checksum(message) or self._messages - number > self._remembered:
            return message
        return message._replace(received_ns=received_ns)

    def note(self, deliveries: Sequence[Delivery], decoded: Decoded) -> dict[str, NDArray[Any]] | None:
        """Remember those messages of which a reading got its time by arrival.

        Returns:
            The columns that `take` makes the same of, to be written down; None when there is nothing to remember.
        """
        self._messages += len(deliveries)
        received = np.array([message.received_ns for message in deliveries], np.int64)
        self._newest_ns = max(self._newest_ns, int(received.max(initial=0)))
        untimed = np.unique(decoded.message[decoded.readings.time_ns == received[decoded.message]])
        noted = [deliveries[i] for i in untimed.tolist() if deliveries[i].flags & 6]
        if not noted:
            return None
        columns: dict[str, NDArray[Any]] = {
            "packet": np.array([message.token & 0xFFFF for message in noted], np.uint16),
            "content": np.array([checksum(message) for message in noted], np.uint32),
            "received_ns": np.array([message.received_ns for message in noted], np.int64),
            "number": np.full(len(noted), self._messages, np.int64),
        }
        self.take(columns)
        return columns

    def take(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `note` gave."""
        names = ("content", "received_ns", "number")
        rows = zip(columns["packet"].tolist(), *(columns[name].tolist() for name in names), strict=True)
        for packet, content, received_ns, number in rows:
            self._known[packet] = (content, received_ns, number)
            self._messages = max(self._messages, number)
            self._newest_ns = max(self._newest_ns, received_ns)
        self.mark()

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """All that is remembered, as columns."""
        rows = np.array([(packet, *known) for packet, known in self._known.items()], np.int64).reshape(-1, 4)
        return {
            "packet": rows[:, 0].astype(np.uint16),
            "content": rows[:, 1].astype(np.uint32),
            "received_ns": rows[:, 2].copy(),
            "number": rows[:, 3].copy(),
            "messages": np.array([self._written.messages]),
            "newest_ns": np.array([self._written.newest_ns]),
        }

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `state_dict` gave, when empty."""
        self.take(state)
        newest_ns = int(state["newest_ns"][0]) if "newest_ns" in state else self._newest_ns
        self.take_mark(Mark(int(state["messages"][0]), newest_ns))


def checksum(message: Delivery) -> int:
    """CRC-32 of topic and payload."""
    return zlib.crc32(message.payload, zlib.crc32(message.topic))
