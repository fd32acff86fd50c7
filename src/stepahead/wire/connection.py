"""One client and its connection: made, watched, subscribed, lost, made again."""

import selectors
from collections.abc import Callable, Sequence
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from stepahead.contract.errors import BrokerError
from stepahead.wire import refusal
from stepahead.wire.backoff import Backoff
from stepahead.wire.event import EventKind, SessionEvent
from stepahead.wire.stock_client import StockClient, buffered_bytes

__all__ = ["IDENTIFIERS", "Connection"]

CONNACK_TIMEOUT_S = 10.0
MISC_EVERY_S = 1.0
IDENTIFIERS = 60_000
"""QoS 1 messages in flight at most: below the 65,535 packet identifiers that MQTT has."""


class Connection:
    """Keeps a client connected and subscribed, one `turn` at a time; never spins while the broker is away.

    Args:
        client: the client, made but not connected.
        address: host and port, for the texts.
        filters: MQTT topic filters to subscribe to.
        backoff: pauses between attempts.
        on_event: told of every change.
        clock: monotonic seconds.
        sleep: waits while there is no connection.

    Attributes:
        connected: whether the broker has accepted us and the connection stands.
        accepted: how often the broker accepted us.
        lost_qos0: QoS 0 messages that were on their way when a connection broke.
        window: QoS 1 messages that may be in flight (MQTT 5 §3.2.2.3.3, Receive Maximum).
        closing: no more attempts to connect.
    """

    def __init__(
        self,
        client: StockClient,
        address: str,
        filters: Sequence[str],
        backoff: Backoff,
        on_event: Callable[[SessionEvent], None],
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self.client = client
        self.connected = False
        self.accepted = 0
        self.lost_qos0 = 0
        self.window = IDENTIFIERS
        self.closing = False
        self._address = address
        self._filters = tuple(filters)
        self._backoff = backoff
        self._on_event = on_event
        self._clock = clock
        self._sleep = sleep
        self._selector = selectors.DefaultSelector()
        self._watched: tuple[Any, int] | None = None
        self._open = False
        self._subscribed_once = False
        self._farewell = ""
        self._final: BrokerError | None = None
        self._since = self._next_attempt = self._next_misc = clock()
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect

    def turn(self, wait_s: float, limit: int) -> None:
        """Connect if it is time; else wait for the socket at most `wait_s`, read, write and keep alive.

        Args:
            wait_s: longest wait, seconds.
            limit: nothing is read while the inbox holds so many deliveries.

        Raises:
            BrokerError: the first connection or subscription was refused for good.
        """
        client = self.client
        if client.socket() is None:
            if not self.closing:
                self._connect(wait_s)
            return
        # Until the broker has accepted us nothing but its answer comes, and the inbox may be full from before.
        reading = not self.connected or len(client.inbox) < limit
        writable = readable = False
        if reading and buffered_bytes(client.socket()):
            readable = True
        else:
            self._watch(reading, client.want_write())
            for _, mask in self._selector.select(max(0.0, min(wait_s, self._next_misc - self._clock()))):
                writable = bool(mask & selectors.EVENT_WRITE)
                readable = bool(mask & selectors.EVENT_READ)
        if writable:
            client.loop_write()
        if readable:
            client.read_available(limit)
        if readable or not reading:
            client.excuse_ping()
        if client.want_write():  # answers that paho queued while it read
            client.loop_write()
        self._keep_alive()
        self._notice_loss()

    def write(self) -> None:
        """Give the kernel what it takes at once of what is queued."""
        self.client.loop_write()
        self._notice_loss()

    def drop(self, text: str) -> None:
        """Cut the connection without a goodbye; it is made anew after a pause."""
        sock = self.client.socket()
        if sock is None:
            return
        self._farewell = text
        sock.close()
        self.client.loop_read()  # finds the socket closed and tidies up
        self._notice_loss()

    def close(self) -> None:
        """Release socket and selector."""
        self.closing = True
        self.drop("closed")
        self._selector.close()

    def _watch(self, reading: bool, writing: bool) -> None:
        sock = self.client.socket()
        mask = (selectors.EVENT_READ if reading else 0) | (selectors.EVENT_WRITE if writing else 0)
        if self._watched == (sock, mask):
            return
        if self._watched is not None and self._watched[1]:
            self._selector.unregister(self._watched[0])
        if mask:
            self._selector.register(sock, mask)  # type: ignore[arg-type]
        self._watched = (sock, mask)

    def _keep_alive(self) -> None:
        now = self._clock()
        if now < self._next_misc:
            return
        self._next_misc = now + MISC_EVERY_S
        self.client.loop_misc()
        if not self.connected and now - self._since > CONNACK_TIMEOUT_S:
            self.drop(f"the broker at {self._address} took the connection and did not answer")

    def _connect(self, wait_s: float) -> None:
        pause_s = self._next_attempt - self._clock()
        if pause_s > 0:
            self._sleep(max(0.0, min(wait_s, pause_s)))
            if pause_s > wait_s:
                return
        self._farewell = ""
        self._since = self._clock()
        self._next_misc = self._since + MISC_EVERY_S
        self.client.epoch += 1
        try:
            self.client.reconnect()
            self._open = True
            self.client.loop_write()
        except OSError as error:
            text = refusal.connect_error_text(self._address, error)
            if refusal.is_final_error(error) and not self.accepted:
                raise BrokerError(text) from None
            self._retry_later(EventKind.REFUSED, text)

    def _notice_loss(self) -> None:
        if self._final is not None:
            final, self._final = self._final, None
            self.drop(str(final))
            raise final
        if not self._open or self.client.socket() is not None:
            return
        self._open = False
        self.lost_qos0 += self.client.forget_unsent()
        kind = EventKind.DISCONNECTED if self.connected else EventKind.REFUSED
        if self.connected:
            self.connected = False
            self._backoff.lived(self._clock() - self._since)
        if self.closing:
            self._on_event(SessionEvent(kind, self._farewell))
        else:
            self._retry_later(kind, self._farewell)

    def _retry_later(self, kind: EventKind, text: str) -> None:
        pause_s = self._backoff.next_pause_s()
        self._next_attempt = self._clock() + pause_s
        self._on_event(SessionEvent(kind, text, retry_in_s=pause_s))

    def _on_connect(
        self, _client: Client, _data: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._farewell = refusal.refusal_text(self._address, reason)
            if refusal.is_final_refusal(reason) and not self.accepted:
                self._final = BrokerError(self._farewell)
            return
        self.connected = True
        self.accepted += 1
        self.window = min(IDENTIFIERS, getattr(properties, "ReceiveMaximum", IDENTIFIERS))
        if flags.session_present:
            self.client.expect_redelivery()
        text = f"connected to {self._address}, {'session kept' if flags.session_present else 'new session'}"
        self._on_event(SessionEvent(EventKind.CONNECTED, text, session_present=flags.session_present))
        # Another run of ours may have left the session with other filters, so the first time in this run always.
        if not (flags.session_present and self._subscribed_once) and self._filters:
            self.client.subscribe_all(self._filters)

    def _on_subscribe(
        self, _client: Client, _data: Any, _mid: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        refused = [name for name, reason in zip(self._filters, reasons, strict=False) if reason.is_failure]
        if refused:
            text = f"the broker at {self._address} refuses the subscription to {', '.join(map(repr, refused))}"
            if not self._subscribed_once:
                self._final = BrokerError(text)
            self._on_event(SessionEvent(EventKind.REFUSED, text))
            return
        self._subscribed_once = True
        self._on_event(SessionEvent(EventKind.SUBSCRIBED, f"subscribed to {', '.join(map(repr, self._filters))}"))

    def _on_disconnect(
        self, _client: Client, _data: Any, flags: DisconnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        text = refusal.disconnect_text(self._address, reason, flags.is_disconnect_packet_from_server)
        self._farewell = self._farewell or text
