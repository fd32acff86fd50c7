"""paho-mqtt as it is, driven from outside: no thread, nothing read or written unless asked."""

import select
import socket
import ssl
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from stepahead.contract.settings import BrokerSettings
from stepahead.wire.address import CONNECT_TIMEOUT_S, HandshakingContext, parse_address, read_password, tls_context
from stepahead.wire.delivery import AnnotatedDelivery, Delivery, Will
from stepahead.wire.properties import prefixed
from stepahead.wire.refusal import TOO_LARGE

__all__ = ["Row", "StockClient"]

Row: TypeAlias = tuple[bytes, bytes] | tuple[bytes, bytes, bytes]
"""Topic and payload of one message to publish and, if it has any, its MQTT 5 properties, as `wire.properties` writes
them; MQTT 3.1.1 leaves those out."""
HEAD_BYTES = 16
"""Fixed header, lengths, packet identifier and topic alias of a PUBLISH, at most."""

# A peer that vanished without a word is found by the kernel in about 8 s, long before the MQTT keep-alive.
PROBES = {"TCP_KEEPIDLE": 2, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 8000}


class StockClient(Client):
    """A paho client with a persistent session, manual acknowledgement and an inbox.

    Args:
        settings: where to connect, as whom, and how.
        will: what the broker says when we vanish; a function is asked anew for each connection.
        wall_ns: UTC nanoseconds since 1970.
        clean: begin with an empty session and leave none behind.

    Attributes:
        inbox: deliveries in order of arrival, not yet handed on.
        epoch: number of the connection, part of every token.
        tls: the context of encrypted connections; None without encryption.
        refused: messages that the broker acknowledged with an error (MQTT 5 only), by reason code, and under
            `TOO_LARGE` those that it would not have taken.
        alias_maximum: topics that may have an alias on this connection; only the fast client uses them.
        packet_bytes: longest packet that the broker takes; none = any.
    """

    name = "paho"

    def __init__(
        self,
        settings: BrokerSettings,
        will: Will | Callable[[], Will] | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
        clean: bool = False,
    ) -> None:
        self._will_now = will
        self._mqtt5 = settings.protocol == "5"
        self._half_open: socket.socket | None = None
        address = parse_address(settings.url)
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            clean_session=None if self._mqtt5 else clean or settings.session_expiry_s == 0,
            protocol=MQTTProtocolVersion.MQTTv5 if self._mqtt5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
            transport="tcp" if address.websocket_path is None else "websockets",
        )
        if address.websocket_path is not None:
            self.ws_set_options(address.websocket_path)
        self.inbox: deque[Delivery] = deque()
        self.epoch = 0
        self._unacknowledged: dict[int, int] = {}
        self._unsent: dict[int, int] = {}
        self.refused: Counter[int] = Counter()
        self.tls: HandshakingContext | None = None
        self.alias_maximum = 0
        self.packet_bytes: int | None = None
        self._wall_ns = wall_ns
        self._subscription_qos: int = settings.qos
        self.connect_timeout = CONNECT_TIMEOUT_S
        # Above zero, paho walks all messages in flight at each acknowledgement: 2.0k against 5.6k messages a second.
        self.max_inflight_messages_set(0)
        if settings.username is not None:
            self.username_pw_set(settings.username, read_password(settings))
        if address.tls:
            self.tls = tls_context(settings)
            self.tls_set_context(self.tls)
        properties = None
        if self._mqtt5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = 0 if clean else settings.session_expiry_s
            properties.ReceiveMaximum = min(settings.queue_messages, 65_535)
        self.connect_async(address.host, address.port, settings.keepalive_s, clean_start=clean, properties=properties)
        self.on_message = _take
        self.on_publish = _handed_over
        self.on_socket_open = _tune
        # Being set, it keeps publish() from writing each message by itself: all go in one loop_write().
        self.on_socket_register_write = _leave_to_loop

    @property
    def qos(self) -> int:
        """QoS of our subscriptions."""
        return self._subscription_qos

    @property
    def in_flight(self) -> int:
        """QoS 1 messages that the broker has not acknowledged."""
        return len(self._unacknowledged)

    @property
    def unsent(self) -> int:
        """QoS 0 messages that the kernel has not taken."""
        return len(self._unsent)

    @property
    def waiting_bytes(self) -> int:
        """Topic and payload bytes of the messages in flight and unsent."""
        return sum(self._unacknowledged.values()) + sum(self._unsent.values())

    def reconnect(self) -> MQTTErrorCode:
        """Connect anew.

        Raises:
            OSError: there is no connection; its socket is closed, which paho leaves to the garbage collector when a
                WebSocket's handshake fails.
        """
        self._half_open = None
        will = self._will_now() if callable(self._will_now) else self._will_now
        if will is not None:
            self.will_set(will.topic, will.payload, will.qos, will.retain)
        try:
            return super().reconnect()
        except OSError:
            if self._half_open is not None:
                self._half_open.close()
            raise
        finally:
            self._half_open = None

    def _create_socket_connection(self) -> socket.socket:
        self._half_open = super()._create_socket_connection()
        return self._half_open

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        self._half_open = wrapped = super()._ssl_wrap_socket(tcp_sock)
        return wrapped

    def subscribe_all(self, filters: Sequence[str]) -> int:
        """Subscribe to all filters with one packet; the packet identifier that its answer will carry."""
        if self._mqtt5:
            # Retain handling 1: kept messages come for new subscriptions only, not again at every start.
            options = SubscribeOptions(qos=self._subscription_qos, retainHandling=1)
            _, mid = self.subscribe([(name, options) for name in filters])
        else:
            _, mid = self.subscribe([(name, self._subscription_qos) for name in filters])
        assert mid is not None  # the session subscribes only when connected
        return mid

    def publish_rows(self, rows: Sequence[Row], qos: int, retain: bool) -> None:
        """Queue messages for the socket; the session calls `loop_write` afterwards.

        Args:
            rows: topics and payloads.
            qos: 0 or 1.
            retain: whether the broker is to keep the message for later subscribers.
        """
        waiting = self._unacknowledged if qos else self._unsent
        for row in self.sendable(rows):
            topic, payload = row[0], row[1]
            text = topic.decode()
            properties = None
            if len(row) == 3 and self._mqtt5:
                properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
                properties.unpack(prefixed(row[2]))  # type: ignore[no-untyped-call]
            info = self.publish(text, payload, qos, retain, properties)
            while info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:  # this identifier is still in flight: take the next
                info = self.publish(text, payload, qos, retain, properties)
            waiting[info.mid] = len(topic) + len(payload)

    def sendable(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Leave out and count what is longer than the broker takes: it would close the connection, again and again."""
        if self.packet_bytes is None:
            return rows
        bound = self.packet_bytes - HEAD_BYTES
        short = [row for row in rows if sum(map(len, row)) <= bound]
        if len(short) < len(rows):
            self.refused[TOO_LARGE] += len(rows) - len(short)
        return short

    def acknowledge(self, identifiers: Sequence[int]) -> None:
        """Queue the acknowledgements (PUBACK) of QoS 1 messages, in this order."""
        for identifier in identifiers:
            self.ack(identifier, 1)

    def read_available(self, limit: int) -> MQTTErrorCode:
        """Read what the socket holds without waiting, until the inbox holds `limit` deliveries."""
        while True:
            code = self.loop_read()
            if code or len(self.inbox) >= limit or not self._readable():
                return code

    def ask(self) -> None:
        """Send a ping now: any broker that is there answers it, whatever else it holds back."""
        self._send_pingreq()

    def excuse_ping(self) -> None:
        """Told that the broker has just been heard, or that we do not listen: no answer to a ping is overdue.

        Paho waits for the answer itself, which under back-pressure stands behind all that we have not read.
        """
        self._ping_t = 0.0

    def forget_unsent(self) -> int:
        """Told that the connection is gone; how many QoS 0 messages went down with it."""
        lost = len(self._unsent)
        self._unsent.clear()
        return lost

    def _readable(self) -> bool:
        sock = self.socket()
        if sock is None:
            return False
        return buffered_bytes(sock) > 0 or bool(select.select([sock], [], [], 0)[0])


def buffered_bytes(sock: Any) -> int:
    """Bytes that TLS has decrypted already, of which no select will tell."""
    return sock.pending() if hasattr(sock, "pending") else 0


def _take(client: Client, _userdata: Any, message: MQTTMessage) -> None:
    assert isinstance(client, StockClient)
    try:
        topic = message.topic.encode()
    except UnicodeDecodeError as error:
        topic = error.object  # the bytes as they came; the decoder counts them
    flags = message.dup << 3 | message.qos << 1 | message.retain
    token = client.epoch << 16 | message.mid
    fields = (topic, bytes(message.payload), flags, token, client._wall_ns())
    properties = message.properties
    if properties is None or properties.isEmpty():  # type: ignore[no-untyped-call]
        client.inbox.append(Delivery(*fields))
    else:
        annotated = AnnotatedDelivery(*fields)
        annotated.properties = properties.pack()  # type: ignore[no-untyped-call]
        client.inbox.append(annotated)


def _handed_over(client: Client, _userdata: Any, mid: int, reason: ReasonCode, _properties: Properties) -> None:
    assert isinstance(client, StockClient)
    if client._unacknowledged.pop(mid, None) is None:
        client._unsent.pop(mid, None)
    elif reason.is_failure:
        client.refused[reason.value] += 1


def _tune(_client: Client, _userdata: Any, sock: Any) -> None:
    sock = getattr(sock, "_socket", sock)  # below paho's WebSocket
    if isinstance(sock, socket.socket):
        # Without it, Nagle's algorithm holds the second small write back for a delayed acknowledgement: 40 ms.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in PROBES.items():
            if hasattr(socket, option):  # named differently or absent outside Linux
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _leave_to_loop(_client: Client, _userdata: Any, _sock: Any) -> None:
    pass
