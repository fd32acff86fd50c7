"""The router: reads the feed of all shards and hands each message to the owner of its shard, in order."""

import errno
import select
import socket
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec

from stepahead.cluster.channel import MOST_WAITING_BYTES, Channel
from stepahead.cluster.sharding import ShardRule
from stepahead.wire.delivery import Delivery
from stepahead.wire.session import Session

__all__ = ["Address", "Outlet", "Router"]

Address = tuple[str, int, int]
"""Host and port of an owner, and the epoch of the shard there."""

DUP = 8
RETRY_S = 0.05
HELLO_S = 2.0
MOST_MESSAGES = 4096
FRAME_MESSAGES = 1024
BROKER_MESSAGES = 65_535
WORK_S = 0.05


class Entry:
    """A message on its way, until its owner has acknowledged it."""

    __slots__ = ("done", "message")

    def __init__(self, message: Delivery) -> None:
        self.message = message
        self.done = False


class Outlet:
    """The way to the owner of one shard: connects, hands over in order, and again what was not acknowledged.

    Args:
        shard: its number.
        secret: what owners ask for.
    """

    def __init__(self, shard: int, secret: bytes) -> None:
        self._shard = shard
        self._secret = secret
        self._address: Address | None = None
        self._channel: Channel | None = None
        self._welcome = False
        self._since_s = 0.0
        self._retry_s = 0.0
        self._acknowledged = 0
        self._unsent: deque[Entry] = deque()
        self._sent: deque[Entry] = deque()

    def __len__(self) -> int:
        return len(self._unsent) + len(self._sent)

    @property
    def connected(self) -> bool:
        """Whether an owner takes messages."""
        return self._welcome

    @property
    def socket(self) -> socket.socket | None:
        """What to wait on."""
        return None if self._channel is None else self._channel.socket

    @property
    def writing(self) -> bool:
        """Whether bytes wait for the kernel."""
        return self._channel is not None and self._channel.waiting_bytes > 0

    def direct(self, address: Address | None) -> None:
        """Told who owns the shard."""
        if address != self._address:
            self._address, self._retry_s = address, 0.0
            self.cut()

    def put(self, entry: Entry) -> None:
        """Take a message in."""
        self._unsent.append(entry)

    def cut(self) -> None:
        """Give the connection up; what was not acknowledged is sent again over the next.

        Acknowledgements that are heard here show up with the next ones.
        """
        channel, self._channel, self._welcome = self._channel, None, False
        if channel is not None:
            for frame in channel.frames():  # the last acknowledgements of an owner that let go
                self._hear(msgspec.msgpack.decode(frame), channel)
            self._welcome = False
            channel.close()
        for entry in self._sent:
            entry.message = entry.message._replace(flags=entry.message.flags | DUP)
        self._unsent.extendleft(reversed(self._sent))
        self._sent.clear()

    def turn(self, now_s: float) -> bool:
        """Connect, hear what was acknowledged, hand over what fits; whether anything was acknowledged."""
        if self._channel is None:
            if self._address is None or now_s < self._retry_s:
                return False
            self._connect(self._address, now_s)
        channel = self._channel
        assert channel is not None
        channel.write()
        heard = False
        for frame in channel.frames():
            heard = self._hear(msgspec.msgpack.decode(frame), channel) or heard
        if not self._welcome and now_s - self._since_s > HELLO_S:
            channel.close("no answer")
        if channel.closed is not None:
            self._retry_s = now_s + RETRY_S
            self.cut()
        elif self._welcome:
            self._hand_over(channel)
        return heard

    def _connect(self, address: Address, now_s: float) -> None:
        host, port, epoch = address
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        self._channel, self._since_s, self._acknowledged = Channel(sock), now_s, 0
        code = sock.connect_ex((host, port))
        if code not in (0, errno.EINPROGRESS):
            self._channel.close(errno.errorcode.get(code, str(code)))
        self._channel.send({"secret": self._secret, "shard": self._shard, "epoch": epoch})

    def _hear(self, told: Any, channel: Channel) -> bool:
        if isinstance(told, dict):
            self._welcome = told.get("ok") is True
            if not self._welcome:
                channel.close("refused")
            return False
        new = int(told) - self._acknowledged
        if not 0 <= new <= len(self._sent):
            channel.close(f"{told} messages acknowledged, {self._acknowledged + len(self._sent)} sent")
            return False
        self._acknowledged += new
        for _ in range(new):
            self._sent.popleft().done = True
        return new > 0

    def _hand_over(self, channel: Channel) -> None:
        while self._unsent and channel.waiting_bytes < MOST_WAITING_BYTES and channel.closed is None:
            entries = [self._unsent.popleft() for _ in range(min(FRAME_MESSAGES, len(self._unsent)))]
            self._sent.extend(entries)
            channel.send([entry.message for entry in entries])


class Router:
    """Reads by one session, and acknowledges to the broker what every owner before it in the order has acknowledged.

    MQTT wants acknowledgements in the order of delivery (3.1.1 §4.6). So while one shard has no owner, messages of the
    others are answered, but not acknowledged; after as many as the broker has on its way at most, all wait for it.

    Args:
        session: with all filters.
        rule: finds shards.
        shards: how many there are.
        secret: what owners ask for.
        most_messages: no more are taken while so many are on their way.
    """

    def __init__(self, session: Session, rule: ShardRule, shards: int, secret: bytes, most_messages: int) -> None:
        self._session = session
        self._rule = rule
        self._outlets = [Outlet(shard, secret) for shard in range(shards)]
        self._order: deque[Entry] = deque()
        self._bound = most_messages + BROKER_MESSAGES
        self._full = False
        self._dirty: set[int] = set()
        self._next_all_s = 0.0
        self.messages = 0
        """Messages read so far."""

    @property
    def waiting(self) -> int:
        """Messages that are not acknowledged to the broker."""
        return len(self._order)

    @property
    def waiting_of(self) -> dict[int, int]:
        """Shard -> messages that its owner has not acknowledged; those with none are left out."""
        return {shard: len(outlet) for shard, outlet in enumerate(self._outlets) if len(outlet)}

    @property
    def connected(self) -> int:
        """Shards whose owner takes messages."""
        return sum(outlet.connected for outlet in self._outlets)

    def direct(self, owners: Mapping[int, Address]) -> None:
        """Told who owns which shard; from the thread that turns."""
        for shard, outlet in enumerate(self._outlets):
            outlet.direct(owners.get(shard))

    def connected_anew(self, session_present: bool) -> None:
        """Told of a new connection to the broker: owners hear of it by a new channel."""
        for outlet in self._outlets:
            outlet.cut()

    def turn(self, patience_s: float) -> None:
        """Wait for something at most so long, and do it."""
        ready = self._wait(0.0 if self._full else patience_s)
        if len(self._order) < self._bound:
            deliveries = self._session.receive(0.0 if self._session.connected else WORK_S, MOST_MESSAGES)
        else:
            deliveries = []
            self._session.flush(0.001)
        self._full = len(deliveries) == MOST_MESSAGES
        for message in deliveries:
            entry = Entry(message)
            shard = self._rule.of(message.topic)
            self._outlets[shard].put(entry)
            self._order.append(entry)
            ready.add(shard)
        self.messages += len(deliveries)
        now_s = time.monotonic()
        if now_s >= self._next_all_s:
            self._next_all_s = now_s + WORK_S
            ready.update(range(len(self._outlets)))
        heard = [self._outlets[shard].turn(now_s) for shard in ready]
        if any(heard) or (self._order and self._order[0].done):
            self._acknowledge()

    def _acknowledge(self) -> None:
        done: list[Delivery] = []
        while self._order and self._order[0].done:
            done.append(self._order.popleft().message)
        if done:
            self._session.acknowledge(done)

    def _wait(self, patience_s: float) -> set[int]:
        poll, whose = select.poll(), dict[int, int]()
        for shard, outlet in enumerate(self._outlets):
            sock = outlet.socket
            if sock is not None and sock.fileno() >= 0:
                whose[sock.fileno()] = shard
                poll.register(sock, select.POLLIN | (select.POLLOUT if outlet.writing else 0))
        ours = self._session.socket
        if ours is not None and ours.fileno() >= 0 and len(self._order) < self._bound:
            poll.register(ours, select.POLLIN)
        found = poll.poll(min(patience_s, WORK_S) * 1000)
        return {whose[descriptor] for descriptor, _ in found if descriptor in whose}

    def close(self, timeout_s: float) -> None:
        """Say good-bye; what was not acknowledged comes again at the next start."""
        for outlet in self._outlets:
            outlet.cut()
        self._session.close(timeout_s)
