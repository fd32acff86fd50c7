"""What the loop of a shard takes for its MQTT session: a session of its own, or a router's messages and a speaker."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from stepahead.cluster.channel import Channel
from stepahead.cluster.epoch import Fence
from stepahead.service.ports import LoopSession
from stepahead.wire.delivery import Delivery
from stepahead.wire.session import Session
from stepahead.wire.speaker import Speaker
from stepahead.wire.stock_client import Row

__all__ = ["OwnSession", "RoutedSession", "ShardSession"]

DUP = 8
_read_deliveries = msgspec.msgpack.Decoder(list[Delivery]).decode


class ShardSession(LoopSession, Protocol):
    """A session that tells on what to wait."""

    @property
    def sockets(self) -> Sequence[Any]:
        """Wait on these for something to do."""

    def settle(self) -> None:
        """Send acknowledgements whose forecasts the broker has by now."""

    def drop(self) -> None:
        """End at once, without a word: the shard is somebody else's."""


class OwnSession:
    """An MQTT session of the shard itself, behind a fence.

    Its client id goes with the shard. So the broker keeps what comes while the shard moves or its owner is dead, and
    cuts the old owner's connection when the new one connects.

    Args:
        session: with the shard's filters.
        fence: of the shard.
    """

    def __init__(self, session: Session, fence: Fence) -> None:
        self._session = session
        self._fence = fence
        self.on_connected: Callable[[bool], None] = lambda session_present: None

    def heard_connected(self, session_present: bool) -> None:
        """Told by the session of a new connection."""
        self.on_connected(session_present)

    def settle(self) -> None:
        """Nothing: forecasts and acknowledgements travel on one connection, in this order."""

    @property
    def sockets(self) -> Sequence[Any]:
        """Its one socket, while it has one."""
        sock = self._session.socket
        return () if sock is None else (sock,)

    @property
    def connected(self) -> bool:
        """Whether the connection stands."""
        return self._session.connected

    @property
    def lost_qos0(self) -> int:
        """QoS 0 messages that were on their way when a connection broke."""
        return self._session.lost_qos0

    @property
    def refused_out(self) -> int:
        """Messages of ours that the broker refused."""
        return self._session.refused_out

    def receive(self, timeout_s: float, max_messages: int) -> list[Delivery]:
        """As the session's; an old owner does not connect again, which would cut the new one's connection."""
        if not self._session.connected:
            self._fence.check()
        return self._session.receive(timeout_s, max_messages)

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """Publish one message, if we may."""
        self._fence.check()
        self._session.publish(topic, payload, qos, retain)

    def publish_many(self, rows: Sequence[Row], qos: int, retain: bool) -> None:
        """Publish, if we may."""
        self._fence.check()
        self._session.publish_many(rows, qos, retain)

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge, if we may."""
        self._fence.check()
        self._session.acknowledge(deliveries)

    def flush(self, timeout_s: float) -> bool:
        """Work until nothing is pending."""
        return self._session.flush(timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Flush and say good-bye."""
        return self._session.close(timeout_s)

    def drop(self) -> None:
        """Cut the connection."""
        sock = self._session.socket
        if sock is not None:
            sock.close()
        self._session.close(0.0)


class RoutedSession:
    """Messages that a router hands on, and forecasts by the process's speaker.

    A router sends what it has in order, and again over each new channel what was not acknowledged; then with the DUP
    flag, so that arrivals are remembered. Acknowledgements are counts, of the messages of this channel.

    Args:
        speaker: publishes.
        fence: of the shard.
    """

    def __init__(self, speaker: Speaker, fence: Fence) -> None:
        self._speaker = speaker
        self._fence = fence
        self._channel: Channel | None = None
        self._number = 0  # of the channel; stands in every token
        self._inbox: deque[Delivery] = deque()
        self._owed: deque[tuple[int, int]] = deque()  # confirmed by the broker up to here -> so many acknowledged
        self._acknowledged = 0
        self.on_connected: Callable[[bool], None] = lambda session_present: None

    @property
    def owes(self) -> bool:
        """Whether acknowledgements wait for the broker to confirm forecasts."""
        return bool(self._owed)

    @property
    def sockets(self) -> Sequence[Any]:
        """The channel's socket, while there is one."""
        return () if self._channel is None or self._channel.closed else (self._channel.socket,)

    @property
    def connected(self) -> bool:
        """Whether the broker can be spoken to."""
        return self._speaker.session.connected

    @property
    def lost_qos0(self) -> int:
        """Counted for the process as a whole."""
        return 0

    @property
    def refused_out(self) -> int:
        """Counted for the process as a whole."""
        return 0

    def attach(self, channel: Channel) -> None:
        """Take a new channel; what waits of the old one comes again."""
        if self._channel is not None:
            self._channel.close("another has come")
        self._channel, self._number, self._acknowledged = channel, self._number + 1, 0
        self._inbox.clear()
        self._owed.clear()
        self.on_connected(True)

    def receive(self, timeout_s: float, max_messages: int) -> list[Delivery]:
        """What has come; never waits."""
        self.settle()
        if self._speaker.session.congested:
            return []
        if len(self._inbox) < max_messages and self._channel is not None and self._channel.closed is None:
            for frame in self._channel.frames():
                self._take(frame, self._channel)
        return [self._inbox.popleft() for _ in range(min(max_messages, len(self._inbox)))]

    def _take(self, frame: bytes, channel: Channel) -> None:
        try:
            deliveries = _read_deliveries(frame)
        except msgspec.MsgspecError as error:
            channel.close(f"not understood: {error}")
            return
        base = self._number << 16
        self._inbox.extend([message._replace(token=base | message.token & 0xFFFF) for message in deliveries])

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """Publish one message, if we may."""
        self.publish_many([(topic.encode(), payload)], qos, retain)

    def publish_many(self, rows: Sequence[Row], qos: int, retain: bool) -> None:
        """Publish, if we may."""
        self._fence.check()
        self._speaker.publish_many(rows, qos, retain)

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Tell the router, as soon as the broker has all that was published before."""
        self._fence.check()
        ours = sum(message.token >> 16 == self._number for message in deliveries)
        if ours:
            self._owed.append((self._speaker.published, ours))
            self.settle()

    def settle(self) -> None:
        """Send acknowledgements whose forecasts the broker has by now."""
        if not self._owed:
            return
        confirmed, before = self._speaker.confirmed, self._acknowledged
        while self._owed and self._owed[0][0] <= confirmed:
            self._acknowledged += self._owed.popleft()[1]
        if self._acknowledged > before and self._channel is not None and self._channel.closed is None:
            self._channel.send(self._acknowledged)

    def flush(self, timeout_s: float) -> bool:
        """Work until nothing is pending."""
        safe = self._speaker.session.flush(timeout_s)
        self.settle()
        return safe

    def close(self, timeout_s: float) -> bool:
        """Let go of the router; whether it has every acknowledgement."""
        self.settle()
        safe = not self._owed and (self._channel is None or self._channel.flush(timeout_s))
        self.drop()
        return safe

    def drop(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            self._channel.close()
