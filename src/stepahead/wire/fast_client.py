"""A paho client that reads 64 KiB at a time, takes messages apart in place, and writes all that is queued at once.

paho does the rest: CONNECT, SUBSCRIBE, PING, DISCONNECT and their answers, TLS, properties. This needs members of paho
that are not public, so it is used with the versions it was tested with and no others.
"""

import struct
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from paho.mqtt.client import MQTTMessageInfo
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes

from stepahead.contract.settings import BrokerSettings
from stepahead.wire.delivery import Will
from stepahead.wire.frames import FrameReader, publish_head
from stepahead.wire.properties import prefixed, topic_alias
from stepahead.wire.stock_client import Row, StockClient

__all__ = ["TESTED_WITH", "FastClient"]

TESTED_WITH = frozenset({"2.2.0"})
READ_BYTES = 65_536
IDENTIFIERS = 65_535
Packet: TypeAlias = tuple[bytes, bytes, bool, bytes]
"""Topic, payload, whether it is retained, MQTT 5 properties."""


class FastClient(StockClient):
    """`StockClient` with its hot paths replaced; the same suite of tests runs over both."""

    name = "fast"

    def __init__(
        self,
        settings: BrokerSettings,
        will: Will | Callable[[], Will] | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
        clean: bool = False,
    ) -> None:
        # Before paho's constructor, whose destructor may run when it raises.
        self._chunks: list[bytes] = []
        self._sending = memoryview(b"")
        self._packets: dict[int, Packet] = {}
        self._aliases: dict[bytes, int] = {}
        self._unsent_count = 0
        self._unsent_bytes = 0
        self._reader = FrameReader(settings.protocol == "5", settings.max_payload_bytes)
        super().__init__(settings, will, wall_ns, clean)

    @property
    def in_flight(self) -> int:
        """QoS 1 messages that the broker has not acknowledged."""
        return len(self._packets)

    @property
    def unsent(self) -> int:
        """QoS 0 messages of which the kernel has not taken all; counted until everything queued is taken."""
        return self._unsent_count

    @property
    def waiting_bytes(self) -> int:
        """Topic and payload bytes of the messages in flight and unsent."""
        return sum(len(topic) + len(payload) for topic, payload, *_ in self._packets.values()) + self._unsent_bytes

    def publish_rows(self, rows: Sequence[Row], qos: int, retain: bool) -> None:
        """Queue messages; they leave in one write with everything else."""
        rows = self.sendable(rows)
        if qos:
            packets, identifier = self._packets, self._last_mid
            for row in rows:
                identifier = identifier % IDENTIFIERS + 1
                while identifier in packets:
                    identifier = identifier % IDENTIFIERS + 1
                packets[identifier] = packet = (row[0], row[1], retain, row[2] if len(row) == 3 else b"")
                self._queue_publish(identifier, packet, 0)
            self._last_mid = identifier
            return
        chunks, first = self._chunks, 0x30 | retain
        for row in rows:
            topic, payload = row[0], row[1]
            self._unsent_bytes += len(topic) + len(payload)
            if self._mqtt5:
                topic, properties = self._with_properties(topic, row[2] if len(row) == 3 else b"")
                head = publish_head(first, len(topic), len(payload) + len(properties))
                chunks += (head, topic, properties, payload)
            else:
                chunks += (publish_head(first, len(topic), len(payload)), topic, payload)
        self._unsent_count += len(rows)

    def acknowledge(self, identifiers: Sequence[int]) -> None:
        """Queue PUBACKs (MQTT 3.1.1 §3.4): 0x40, length 2, packet identifier."""
        self._chunks.append(struct.pack(f">{len(identifiers)}I", *[0x4002_0000 | number for number in identifiers]))

    def read_available(self, limit: int) -> MQTTErrorCode:
        """Read and take apart what the socket holds, until the inbox holds `limit` deliveries (or a little more)."""
        while True:
            try:
                data = self._sock_recv(READ_BYTES)
            except BlockingIOError:
                return MQTTErrorCode.MQTT_ERR_SUCCESS
            except OSError:
                return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
            if not data:
                return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
            self._last_bytes_received = time.monotonic()
            code = self._take_apart(data)
            if code:
                return self._loop_rc_handle(code)
            # A short read emptied the socket; TLS hands out at most one record of 16 KiB at a time.
            if len(self.inbox) >= limit or self._sock is None or (len(data) < READ_BYTES and not self._ssl):
                return MQTTErrorCode.MQTT_ERR_SUCCESS

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Paho's name for the same."""
        return self.read_available(max_packets)

    def loop_write(self) -> MQTTErrorCode:
        """Give the kernel all that is queued in as few writes as it takes."""
        if self._sock is None:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        while self._chunks or self._sending:
            if not self._sending:
                self._sending = memoryview(b"".join(self._chunks))
                self._chunks.clear()
            try:
                taken = self._sock_send(self._sending)  # type: ignore[arg-type]
            except BlockingIOError:
                return MQTTErrorCode.MQTT_ERR_SUCCESS
            except OSError:
                return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
            self._sending = self._sending[taken:]
            self._last_msg_out = time.monotonic()
        self._unsent_count = self._unsent_bytes = 0
        return super().loop_write()  # a DISCONNECT, after which paho closes the socket

    def want_write(self) -> bool:
        """Whether anything is queued."""
        return bool(self._chunks) or bool(self._sending) or super().want_write()

    def reconnect(self) -> MQTTErrorCode:
        """Connect anew; what was half read or half written went down with the old connection."""
        self._chunks.clear()
        self._sending = memoryview(b"")
        self._reader.reset()
        self._aliases.clear()  # they are of one connection (MQTT 5 §3.3.2.3.4)
        return super().reconnect()

    def forget_unsent(self) -> int:
        """Told that the connection is gone; how many QoS 0 messages may have gone down with it."""
        lost, self._unsent_count, self._unsent_bytes = self._unsent_count, 0, 0
        return lost

    def _take_apart(self, data: bytes) -> MQTTErrorCode:
        for first, body in self._reader.feed(data, self.inbox, self._packets, self.epoch << 16, self._wall_ns()):
            if first & 0xF0 == 0x40:  # a PUBACK with a reason code
                if body[2] >= 0x80:
                    self.refused[body[2]] += 1
                continue
            code = self._hand_to_paho(first, body)
            if code or self._sock is None:
                return code
        return MQTTErrorCode.MQTT_ERR_PROTOCOL if self._reader.malformed else MQTTErrorCode.MQTT_ERR_SUCCESS

    def _hand_to_paho(self, first: int, body: bytes) -> MQTTErrorCode:
        self._in_packet = {
            "command": first,
            "have_remaining": 1,
            "remaining_count": [],
            "remaining_mult": 1,
            "remaining_length": len(body),
            "packet": bytearray(body),
            "to_process": 0,
            "pos": 0,
        }
        try:
            return self._packet_handle()
        except ValueError:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL

    def _handle_connack(self) -> MQTTErrorCode:
        code = super()._handle_connack()
        if code == MQTTErrorCode.MQTT_ERR_SUCCESS:
            # Before anything new: what the broker has not acknowledged, in its old order, as a repetition (DUP).
            for identifier, packet in self._packets.items():
                self._queue_publish(identifier, packet, 8)
        return code

    def _queue_publish(self, identifier: int, packet: Packet, dup: int) -> None:
        topic, payload, retain, properties = packet
        behind_topic = identifier.to_bytes(2, "big")
        if self._mqtt5:
            topic, properties = self._with_properties(topic, properties)
            behind_topic += properties
        rest_bytes = len(behind_topic) + len(payload)
        self._chunks += (publish_head(0x32 | dup | retain, len(topic), rest_bytes), topic, behind_topic, payload)

    def _with_properties(self, topic: bytes, properties: bytes) -> tuple[bytes, bytes]:
        """The topic, or nothing where an alias stands for it, and the properties behind their length.

        The first topics get the aliases that there are: a broker that allows a handful would forget one topic for
        the next all the time if the newest got them.
        """
        if self.alias_maximum:
            number = self._aliases.get(topic)
            if number is not None:
                return b"", prefixed(properties + topic_alias(number))
            if len(self._aliases) < self.alias_maximum:
                number = self._aliases[topic] = len(self._aliases) + 1
                return topic, prefixed(properties + topic_alias(number))
        return topic, prefixed(properties) if properties else b"\0"

    def _packet_queue(
        self, command: int, packet: bytes | bytearray, mid: int, qos: int, info: MQTTMessageInfo | None = None
    ) -> MQTTErrorCode:
        if command & 0xF0 == PacketTypes.DISCONNECT << 4:
            return super()._packet_queue(command, packet, mid, qos, info)
        self._chunks.append(bytes(packet))
        return MQTTErrorCode.MQTT_ERR_SUCCESS
