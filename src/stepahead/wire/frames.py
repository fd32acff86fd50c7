"""MQTT packets in a stream of bytes: PUBLISH and PUBACK are taken apart in place, the others are cut out whole."""

import struct
from collections.abc import Iterator, MutableMapping, MutableSequence
from typing import Any

from stepahead.wire.delivery import AnnotatedDelivery, Delivery

__all__ = ["FrameReader", "publish_head"]

BUFFERED_BYTES = 1 << 20
"""A packet longer than this is not gathered in memory."""

_head_1 = struct.Struct(">BBH").pack
_head_2 = struct.Struct(">BBBH").pack
_new = tuple.__new__


def publish_head(first: int, topic_bytes: int, rest_bytes: int) -> bytes:
    """Fixed header of a PUBLISH and the length of its topic (MQTT 3.1.1 §2.2, §3.3).

    Args:
        first: packet type and flags.
        topic_bytes: length of the topic.
        rest_bytes: length of what follows the topic: packet identifier, properties, payload.

    Example:
        >>> publish_head(0x32, 3, 130).hex()
        '3287010003'
    """
    remaining = 2 + topic_bytes + rest_bytes
    if remaining < 128:
        return _head_1(first, remaining, topic_bytes)
    if remaining < 16_384:
        return _head_2(first, remaining & 127 | 128, remaining >> 7, topic_bytes)
    digits = bytearray([first])
    while remaining > 127:
        digits.append(remaining & 127 | 128)
        remaining >>= 7
    digits.append(remaining)
    return bytes(digits) + topic_bytes.to_bytes(2, "big")


class FrameReader:
    """Takes a stream apart that may be cut anywhere.

    Args:
        mqtt5: whether packets carry properties.
        max_payload_bytes: of a message in a packet longer than 1 MiB only so many bytes and one more are kept,
            enough to see that it is too large.

    Attributes:
        malformed: the stream is not MQTT; nothing after that is read.

    Example:
        >>> inbox, unacknowledged, reader = [], {7: None}, FrameReader(mqtt5=False, max_payload_bytes=1000)
        >>> stream = bytes.fromhex("3005000161" "3231" "4002" "0007" "d000")
        >>> [others for part in (stream[:4], stream[4:]) for others in reader.feed(part, inbox, unacknowledged, 0, 0)]
        [(208, b'')]
        >>> inbox[0].topic, inbox[0].payload, unacknowledged
        (b'a', b'21', {})
    """

    def __init__(self, mqtt5: bool, max_payload_bytes: int) -> None:
        self._mqtt5 = mqtt5
        self._keep_bytes = max_payload_bytes + 1
        self.reset()

    def reset(self) -> None:
        """Start with a new stream."""
        self.malformed = False
        self._rest = b""
        self._skipped: Delivery | None = None
        self._skip_bytes = 0

    def feed(
        self,
        data: bytes,
        inbox: MutableSequence[Delivery],
        unacknowledged: MutableMapping[int, Any],
        epoch: int,
        received_ns: int,
    ) -> Iterator[tuple[int, bytes]]:
        """Take the next bytes.

        Args:
            data: as they came from the socket.
            inbox: QoS 0 and 1 messages are appended.
            unacknowledged: identifiers that the broker acknowledges are removed.
            epoch: added to packet identifiers to make tokens.
            received_ns: stamped on the first message, and a nanosecond more on each that follows.

        Yields:
            First byte and body of every other packet, and of every PUBACK with a reason code, in order.
        """
        if self._skip_bytes:
            data = self._skip(data, inbox)
        if self._rest:
            data = self._rest + data
        start, end, mqtt5 = 0, len(data), self._mqtt5
        append = inbox.append
        while end - start > 1 and not self.malformed:
            first, length, body = data[start], data[start + 1], start + 2
            if length > 127:
                length &= 127
                shift = 7
                while body < end:
                    digit = data[body]
                    body += 1
                    length |= (digit & 127) << shift
                    if digit < 128:
                        break
                    shift += 7
                    if shift > 21:
                        self.malformed = True  # a fifth digit is no length (§2.2.3)
                        return
                else:
                    break
            stop = body + length
            is_publish = first & 0xF0 == 0x30
            if stop > end:
                if length > BUFFERED_BYTES:
                    if not is_publish:
                        self.malformed = True
                    elif self._begin_skip(data, first, body, stop, epoch, received_ns):
                        start = end
                break
            if is_publish:
                if length < 3 or first & 6 > 2:
                    self.malformed = True  # no room for a topic, or QoS 2, which we never subscribe to
                    return
                # The topic and, with QoS 1, the identifier; then, in MQTT 5, properties.
                at = body + 2 + (data[body] << 8 | data[body + 1])
                topic = data[body + 2 : at]
                token = 0
                if first & 6:
                    at += 2
                    if at > stop:
                        self.malformed = True
                        return
                    token = epoch | data[at - 2] << 8 | data[at - 1]
                if mqtt5:
                    before = at
                    at = self._after_properties(data, at, stop)
                    if 1 < at - before <= stop - before and topic:
                        message = _new(AnnotatedDelivery, (topic, data[at:stop], first & 15, token, received_ns))
                        message.properties = data[before:at]
                        append(message)
                        start = stop
                        continue
                if at > stop or not topic:
                    self.malformed = True
                    return
                append(_new(Delivery, (topic, data[at:stop], first & 15, token, received_ns)))
                received_ns += 1  # or the second of two readings without a time of their own would be a repetition
            elif first == 0x40 and length >= 2:
                unacknowledged.pop(data[body] << 8 | data[body + 1], None)
                if length > 2:
                    yield first, data[body:stop]
            else:
                yield first, data[body:stop]
            start = stop
        self._rest = data[start:] if start else data

    @staticmethod
    def _after_properties(data: bytes, at: int, stop: int) -> int:
        """Where the properties that start here end (MQTT 5 §2.2.2); beyond `stop` when they are malformed."""
        length = shift = 0
        while at < stop:
            digit = data[at]
            at += 1
            length |= (digit & 127) << shift
            if digit < 128:
                return at + length
            shift += 7
        return stop + 1

    def _begin_skip(self, data: bytes, first: int, body: int, stop: int, epoch: int, received_ns: int) -> bool:
        """Keep topic, identifier and the start of a payload too large to gather; False until these are here."""
        end = len(data)
        if end < body + 2:
            return False
        at = body + 2 + (data[body] << 8 | data[body + 1])
        topic = data[body + 2 : at]
        token = 0
        if first & 6:
            at += 2
            token = epoch | int.from_bytes(data[at - 2 : at], "big")
        if end <= at + 4:
            return False
        if self._mqtt5:
            at = self._after_properties(data, at, end)
        if at > end:
            return False
        self._skipped = Delivery(topic, data[at : at + self._keep_bytes], first & 15, token, received_ns)
        self._skip_bytes = stop - end
        return True

    def _skip(self, data: bytes, inbox: MutableSequence[Delivery]) -> bytes:
        """Let the rest of such a payload pass; what follows it is returned."""
        message = self._skipped
        assert message is not None
        taken = min(len(data), self._skip_bytes)
        self._skip_bytes -= taken
        missing = self._keep_bytes - len(message.payload)
        if missing > 0:
            message = message._replace(payload=message.payload + data[: min(taken, missing)])
        if self._skip_bytes:
            self._skipped = message
        else:
            self._skipped = None
            inbox.append(message)
        return data[taken:]
