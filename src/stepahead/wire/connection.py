"""One client and its connection: made, watched, subscribed, lost, made again."""

import selectors
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from stepahead.contract.errors import BrokerError
from stepahead.wire import refusal
from stepahead.wire.backoff import Backoff
from stepahead.wire.event import EventKind, SessionEvent
from stepahead.wire.stock_client import StockClient, buffered_bytes
from stepahead.wire.welcome import IDENTIFIERS, read_welcome

__all__ = ["Connection"]

CONNACK_TIMEOUT_S = 4.0
"""TCP says a CONNECT again that went down with a dead line, the last times after some 3 and 6 s: a new one is heard
earlier than the latter."""
MISC_EVERY_S = 1.0
ASK_AFTER_S = 1.0
ANSWER_S = 2.0
"""A broker that owes us acknowledgements, or was sent what nobody acknowledges, says nothing, and does not answer a
ping for so long is not behind this connection any more: a proxy or a router that forgot it takes what we send, so that
TCP notices nothing, and the MQTT keep-alive takes half a minute. That has to be so long for its other purpose, the
broker's patience with us."""


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
        session_expiry_s: how long the broker is asked to keep our session (MQTT 5).
        optional: further filters, which the broker may refuse without harm.

    Attributes:
        connected: whether the broker has accepted us and the connection stands.
        accepted: how often the broker accepted us.
        lost_qos0: QoS 0 messages that were on their way when a connection broke.
        window: QoS 1 messages that may be in flight (MQTT 5 §3.2.2.3.3, Receive Maximum).
        limits: numbers that the broker gave in its CONNACK, by the name of the property (MQTT 5 only).
        granted: QoS granted to each filter at the last subscription.
        closing: no more attempts to connect.
        spoke: something was sent that the broker does not acknowledge, and it has not been heard since.
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
        session_expiry_s: int = 0,
        optional: Sequence[str] = (),
    ) -> None:
        self.client = client
        self.connected = False
        self.accepted = 0
        self.lost_qos0 = 0
        self.window = IDENTIFIERS
        self.limits: Mapping[str, int] = {}
        self.granted: tuple[int, ...] = ()
        self.closing = False
        self.spoke = False
        self._address = address
        self._filters = (*filters, *optional)
        self._optional = frozenset(optional)
        self._session_expiry_s = session_expiry_s
        self._backoff = backoff
        self._on_event = on_event
        self._clock = clock
        self._sleep = sleep
        self._selector = selectors.DefaultSelector()
        self._watched: tuple[Any, int] | None = None
        self._open = False
        self._subscribed_once = False
        self._farewell = ""
        self._deaf = ""
        self._refused: set[int] = set()
        self._refused_before = 0
        self._final: BrokerError | None = None
        self._since = self._next_attempt = self._next_misc = clock()  # of the attempt, or of the loss behind it
        self._looked_s = clock()
        self._silent_s = 0.0
        self._asked_s: float | None = None
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
            if reading and not readable:
                self._listen_to_silence()
        if writable:
            client.loop_write()
        if readable:
            client.read_available(limit)
        if readable or not reading:
            client.excuse_ping()
            self._heard_now()
        if client.want_write():  # answers that paho queued while it read
            client.loop_write()
        self._keep_alive()
        if self.client.refused:
            self._tell_refused()
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

    def _heard_now(self) -> None:
        self._looked_s, self._silent_s, self._asked_s, self.spoke = self._clock(), 0.0, None, False

    def _listen_to_silence(self) -> None:
        """Ask, and then give up, a broker that should have said something.

        Nothing can be read now, so nothing has come since we last looked; but of a long time only a second counts: the
        machine may have stood still, and the broker on it.
        """
        now = self._clock()
        self._silent_s += min(now - self._looked_s, MISC_EVERY_S)
        self._looked_s = now
        if not self.connected:
            self._heard_now()
        elif self._asked_s is None:
            if self._silent_s > ASK_AFTER_S and (self.spoke or self.client.in_flight):
                self._asked_s = self._silent_s
                self.client.ask()
        elif self._silent_s > self._asked_s + ANSWER_S:
            self.drop(f"the broker at {self._address} answers nothing any more")

    def _connect(self, wait_s: float) -> None:
        pause_s = self._next_attempt - self._clock()
        if pause_s > 0:
            self._sleep(max(0.0, min(wait_s, pause_s)))
            if pause_s > wait_s:
                return
        self._farewell = ""
        self._refused_before = self.client.refused.total()
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

    def _tell_refused(self) -> None:
        """Once for each reason: a rule that denies our output denies every message of it."""
        for code in sorted(self.client.refused.keys() - self._refused):
            text = refusal.publish_text(self._address, code)
            self._on_event(SessionEvent(EventKind.PUBLISH_REFUSED, text))
        self._refused |= self.client.refused.keys()

    def _notice_loss(self) -> None:
        if self._final is not None:
            final, self._final = self._final, None
            self.drop(str(final))
            raise final
        if self._deaf:
            # Connected and hearing nothing would look like a feed that fell silent: tried again until it is granted.
            text, self._deaf = self._deaf, ""
            self.drop(text)
        if not self._open or self.client.socket() is not None:
            return
        self._open = False
        self.lost_qos0 += self.client.forget_unsent()
        kind = EventKind.DISCONNECTED if self.connected else EventKind.REFUSED
        if self.connected:
            self.connected = False
            self._backoff.lived(self._clock() - self._since)
            self._since = self._clock()
        if self.closing:
            self._on_event(SessionEvent(kind, self._farewell))
        else:
            self._retry_later(kind, self._farewell)

    def _retry_later(self, kind: EventKind, text: str) -> None:
        now = self._clock()
        pause_s = self._backoff.next_pause_s(tried_s=now - self._since)
        self._next_attempt = now + pause_s
        self._on_event(SessionEvent(kind, text, retry_in_s=pause_s))

    def _on_connect(
        self, _client: Client, _data: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._farewell = refusal.refusal_text(self._address, reason, properties)
            if refusal.is_final_refusal(reason) and not self.accepted:
                self._final = BrokerError(self._farewell)
            return
        welcome = read_welcome(properties, self._session_expiry_s)
        if welcome.maximum_qos < self.client.qos:
            self._farewell = f"the broker at {self._address} takes QoS 0 only; set broker.qos = 0"
            self._final = None if self.accepted else BrokerError(self._farewell)
            self.client.disconnect()
            return
        self.connected = True
        self.accepted += 1
        told = {} if properties is None else vars(properties)
        self.limits = {name: value for name, value in told.items() if isinstance(value, int) and name[0].isupper()}
        self.window = welcome.window
        self.client.alias_maximum = welcome.alias_maximum
        self.client.packet_bytes = welcome.packet_bytes
        notes = "".join(f"; {note}" for note in welcome.notes)
        text = f"connected to {self._address}, {'session kept' if flags.session_present else 'new session'}{notes}"
        self._on_event(SessionEvent(EventKind.CONNECTED, text, session_present=flags.session_present))
        # Another run of ours may have left the session with other filters, so the first time in this run always.
        if not (flags.session_present and self._subscribed_once) and self._filters:
            self.client.subscribe_all(self._filters)

    def _on_subscribe(
        self, _client: Client, _data: Any, _mid: int, reasons: list[ReasonCode], properties: Properties | None
    ) -> None:
        self.granted = tuple(reason.value for reason in reasons)
        answers = dict(zip(self._filters, reasons, strict=False))
        refused = {name: reason for name, reason in answers.items() if reason.is_failure}
        if refused:
            text = refusal.subscription_text(self._address, refused, properties)
            if not refused.keys() <= self._optional:
                if not self._subscribed_once:
                    self._final = BrokerError(text)
                    self._on_event(SessionEvent(EventKind.REFUSED, text))
                else:
                    self._deaf = text
                return
            self._on_event(SessionEvent(EventKind.REFUSED, f"{text}; it goes on without"))
        weak = [name for name, reason in answers.items() if reason.value < self.client.qos]
        if weak:
            names = ", ".join(map(repr, weak))
            text = f"the broker at {self._address} grants QoS 0 only for {names}: readings can be lost"
            self._on_event(SessionEvent(EventKind.REFUSED, text))
        self._subscribed_once = True
        taken = ", ".join(repr(name) for name in self._filters if name not in refused)
        self._on_event(SessionEvent(EventKind.SUBSCRIBED, f"subscribed to {taken}"))

    def _on_disconnect(
        self, _client: Client, _data: Any, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        text = refusal.disconnect_text(self._address, reason, flags.is_disconnect_packet_from_server, properties)
        if self.client.tls is not None and not self.connected:
            text = refusal.unanswered_tls_text(self._address, self.client.tls.alert)
            if refusal.is_final_alert(self.client.tls.alert) and not self.accepted:
                self._final = self._final or BrokerError(text)
        elif self.client.refused.total() > self._refused_before:
            # mosquitto 2.0.11 does so after each PUBLISH of MQTT 5 that its rules deny.
            text += ", after it had refused what we publish"
        self._farewell = self._farewell or text
