"""The MQTT session: pull deliveries, push forecasts, acknowledge; it reconnects by itself, and has no thread."""

import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from stepahead.contract.settings import BrokerSettings
from stepahead.wire.address import parse_address
from stepahead.wire.backoff import Backoff
from stepahead.wire.client_choice import make_client
from stepahead.wire.connection import Connection
from stepahead.wire.delivery import Delivery, Will
from stepahead.wire.event import SessionEvent
from stepahead.wire.stock_client import Row

__all__ = ["Pending", "Session"]

MOST_UNANSWERED = 2**20
"""With so many messages waiting for it, a broker that sends and sends has stopped acknowledging; some 0.5 GB."""


class Pending(NamedTuple):
    """What was published and is not yet safe: messages and bytes."""

    messages: int
    bytes: int


class _Waiting(NamedTuple):
    row: Row
    qos: int
    retain: bool


class Session:
    """A persistent MQTT session, to be pulled by one thread.

    The kernel's socket buffer is the bounded queue: what nobody receives stays with the broker. `receive` gives
    nothing while more than `settings.queue_messages` published messages wait for the broker. It reads on meanwhile,
    because the acknowledgements it waits for stand behind other messages in the stream, until the inbox holds more
    than a broker may have sent before them. One that sends more all the same (mosquitto for `max_inflight_messages 0`:
    all that waits for us, at once) has its acknowledgements behind all that: `receive` goes on then, to get at them,
    until a million messages wait for the broker, and the connection is made anew.

    Call `receive` (or `flush`) at least once per half keep-alive, or the broker takes us for dead.

    Wrong credentials, a client id refused, or a certificate not trusted are final at the first attempt
    (`BrokerError`); after the first success everything is tried again for ever, because then the settings were right.

    Args:
        settings: where to connect, as whom, and how.
        filters: MQTT topic filters; subscribed to at the first connection and whenever the broker lost our session.
        will: what the broker publishes when we vanish; a function is asked anew for each connection.
        on_event: told of every change; called inside `receive`, `flush` and `close`.
        clock: monotonic seconds.
        sleep: waits while there is no connection.
        jitter: draws from [0, 1) for the pauses between attempts.
        wall_ns: UTC nanoseconds since 1970, stamped on deliveries.
        optional: further filters, which the broker may refuse without harm.
        clean: begin with an empty session and leave none behind, instead of keeping one.

    Example:
        >>> session = Session(BrokerSettings(url="mqtt://127.0.0.1:1"), ["sensors/#"], None, print)
        >>> session.publish("stepahead/v1/status", b"{}", qos=1, retain=True)
        >>> session.pending_out
        Pending(messages=1, bytes=21)
    """

    def __init__(
        self,
        settings: BrokerSettings,
        filters: Sequence[str],
        will: Will | Callable[[], Will] | None,
        on_event: Callable[[SessionEvent], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
        wall_ns: Callable[[], int] = time.time_ns,
        optional: Sequence[str] = (),
        clean: bool = False,
    ) -> None:
        address = parse_address(settings.url)
        self._settings = settings
        self._clock = clock
        self._client = make_client(settings, will, wall_ns, on_event, clean=clean)
        self._connection = Connection(
            self._client,
            f"{address.host}:{address.port}",
            filters,
            Backoff(settings.reconnect_min_s, settings.reconnect_max_s, jitter),
            on_event,
            clock,
            sleep,
            settings.session_expiry_s,
            optional,
        )
        # What waits for room, in the order in which it was handed over: messages, and acknowledgements behind them.
        self._backlog: deque[_Waiting | Sequence[Delivery]] = deque()
        self._backlog_messages = 0
        self._backlog_bytes = 0
        # A broker holds at most 65,535 unacknowledged messages with us (they have no more identifiers), so no more can
        # stand before its answers.
        self._inbox_bound = settings.queue_messages + 65_535
        self._stalled_since: float | None = None

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us and the connection stands."""
        return self._connection.connected

    @property
    def connections(self) -> int:
        """How often the broker accepted us."""
        return self._connection.accepted

    @property
    def lost_qos0(self) -> int:
        """QoS 0 messages that were on their way when a connection broke."""
        return self._connection.lost_qos0

    @property
    def socket(self) -> Any:
        """The socket of the present connection, to select on beside others; None without one."""
        return self._client.socket()

    @property
    def wants_write(self) -> bool:
        """Whether something waits for the kernel to take it."""
        return self._client.want_write()

    @property
    def waiting_out(self) -> int:
        """Messages published but not yet acknowledged (QoS 1) or not yet taken by the kernel (QoS 0)."""
        return self._client.in_flight + self._client.unsent + self._backlog_messages

    @property
    def pending_out(self) -> Pending:
        """As `waiting_out`, and their bytes."""
        return Pending(self.waiting_out, self._client.waiting_bytes + self._backlog_bytes)

    @property
    def congested(self) -> bool:
        """Whether so much waits for the broker that `receive` gives nothing, but to get at its acknowledgements."""
        return self.waiting_out >= self._settings.queue_messages

    @property
    def refused_out(self) -> int:
        """Messages of ours that the broker acknowledged with an error (MQTT 5 says so, 3.1.1 is silent)."""
        return self._client.refused.total()

    @property
    def limits(self) -> Mapping[str, int]:
        """What the broker said of itself in its CONNACK (MQTT 5 §3.2.2.3), by name; MQTT 3.1.1 says nothing."""
        return self._connection.limits

    @property
    def granted(self) -> tuple[int, ...]:
        """QoS that the broker granted each filter at the last subscription; empty before the first."""
        return self._connection.granted

    def receive(self, timeout_s: float, max_messages: int) -> list[Delivery]:
        """Wait for messages; also connects, reconnects, writes what is queued and keeps the connection alive.

        Args:
            timeout_s: longest wait, seconds; 0 looks once. One attempt to connect may exceed it by 3 s.
            max_messages: no more than so many are returned; at least 1.

        Returns:
            Deliveries in order of arrival, at once when there are any; empty when the time is over.

        Raises:
            BrokerError: the first connection or subscription was refused in a way that waiting cannot mend.
        """
        deadline = self._clock() + timeout_s
        inbox = self._client.inbox
        wait_s = timeout_s
        while True:
            self._advance(0.0 if self._deliverable() else wait_s, max_messages)
            if self._deliverable():
                if len(inbox) <= max_messages:
                    taken = list(inbox)
                    inbox.clear()
                    return taken
                return [inbox.popleft() for _ in range(max_messages)]
            wait_s = deadline - self._clock()
            if wait_s <= 0:
                return []

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """Publish one message; see `publish_many`."""
        self.publish_many([(topic.encode(), payload)], qos, retain)

    def publish_many(self, rows: Sequence[Row], qos: int, retain: bool) -> None:
        """Hand messages to the broker, or keep them until it is there; never waits and never refuses.

        The bound is the caller's: `receive` gives nothing new while too much is pending.

        Args:
            rows: topics, payloads and MQTT 5 properties.
            qos: 0 or 1; a QoS 1 message is sent again after a lost connection until it is acknowledged.
            retain: whether the broker keeps the message for later subscribers.
        """
        client = self._client
        if (
            self.connected
            and not self._backlog
            and (not qos or client.in_flight + len(rows) <= self._connection.window)
        ):
            client.publish_rows(rows, qos, retain)
            self._connection.spoke |= not qos
            self._connection.write()
            return
        self._backlog.extend(_Waiting(row, qos, retain) for row in rows)
        self._backlog_messages += len(rows)
        self._backlog_bytes += sum(len(row[0]) + len(row[1]) for row in rows)
        self._drain_backlog()

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge QoS 1 deliveries, in the order in which they were received (MQTT 3.1.1 §4.6).

        An acknowledgement never overtakes what was published before it: when messages wait here, for the broker's
        Receive Maximum or for a connection, it waits behind them, so that the broker owes us the reading for as long
        as it has not been sent the forecast. Deliveries of an earlier connection are passed over: the broker
        delivers them again.
        """
        if self._backlog:
            self._backlog.append(deliveries)
        else:
            self._acknowledge(deliveries)

    def _acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        epoch = self._client.epoch
        identifiers = [
            message.token & 0xFFFF for message in deliveries if message.flags & 6 and message.token >> 16 == epoch
        ]
        if identifiers and self.connected:
            self._client.acknowledge(identifiers)
            self._connection.write()

    def tend(self, timeout_s: float = 0.0) -> None:
        """Connect, write what is queued, keep the connection alive, and notice its end.

        Only while nothing waits to be received anything is read, and that is kept: the rest stays outside.
        """
        self._connection.turn(timeout_s, 1)
        self._drain_backlog()

    def doubt(self) -> None:
        """Ask the broker for a sign of life unless it gives one within a second, as if we had published."""
        self._connection.spoke = True

    def flush(self, timeout_s: float) -> bool:
        """Work until nothing is pending; whether that was reached in time. Messages that come meanwhile wait."""
        deadline = self._clock() + timeout_s
        while self.waiting_out or self._client.want_write():
            wait_s = deadline - self._clock()
            if wait_s <= 0:
                return False
            self._advance(wait_s, self._inbox_bound)
        return True

    def close(self, timeout_s: float) -> bool:
        """Flush, then say DISCONNECT (so that no will is published); whether all that was published is safe.

        What was delivered and not acknowledged comes again in the next session of this client id.
        """
        deadline = self._clock() + timeout_s
        # Half the time is kept for the goodbye, which must not be lost with a slow flush.
        safe = self.flush(timeout_s / 2) if self.connected else not self.waiting_out
        self._connection.closing = True
        if self.connected:
            self._client.disconnect()
            while self.connected and self._clock() < deadline:
                self._advance(deadline - self._clock(), 0)
        self._connection.close()
        return safe

    def _deliverable(self) -> bool:
        inbox = self._client.inbox
        if not self.connected or not inbox:
            return False
        return not self.congested or (len(inbox) >= self._inbox_bound and self.waiting_out < MOST_UNANSWERED)

    def _advance(self, wait_s: float, limit: int) -> None:
        """One turn of the connection; then what waited for room goes out."""
        if self.congested:
            limit = self._inbox_bound
            self._watch_for_stall(len(self._client.inbox) >= limit and self.waiting_out >= MOST_UNANSWERED)
        self._connection.turn(wait_s, limit)
        self._drain_backlog()

    def _watch_for_stall(self, stalled: bool) -> None:
        now = self._clock()
        if not stalled:
            self._stalled_since = None
        elif self._stalled_since is None:
            self._stalled_since = now
        elif now - self._stalled_since > self._settings.keepalive_s:
            self._stalled_since = None
            self._connection.drop("the broker acknowledges nothing that we publish")

    def _drain_backlog(self) -> None:
        if not self._backlog or not self.connected:
            return
        client, backlog = self._client, self._backlog
        while backlog:
            first = backlog[0]
            if not isinstance(first, _Waiting):
                backlog.popleft()
                self._acknowledge(first)
                continue
            if first.qos and client.in_flight >= self._connection.window:
                break
            backlog.popleft()
            self._backlog_messages -= 1
            self._backlog_bytes -= len(first.row[0]) + len(first.row[1])
            client.publish_rows([first.row], first.qos, first.retain)
            self._connection.spoke |= not first.qos
        self._connection.write()
