"""MQTT 5 properties of a PUBLISH: written as bytes once, and read where a question came with them."""

import struct
from typing import NamedTuple

__all__ = [
    "Question",
    "content_type",
    "correlation_data",
    "message_expiry",
    "prefixed",
    "read_question",
    "topic_alias",
    "user_property",
]

# MQTT 5 §2.2.2.2: identifier -> how its value is spelled.
FIXED = {0x01: 1, 0x02: 4, 0x23: 2}
TEXT = frozenset({0x03, 0x08, 0x09})
NUMBER, PAIR = 0x0B, 0x26
RESPONSE_TOPIC, CORRELATION_DATA = 0x08, 0x09


class Question(NamedTuple):
    """Where an answer goes, and what it must carry so that the asker knows it (§4.10)."""

    response_topic: bytes | None
    correlation: bytes | None


def _text(identifier: int, data: bytes) -> bytes:
    return struct.pack(">BH", identifier, len(data)) + data


def content_type(mime: str) -> bytes:
    """What the payload is (§3.3.2.3.9)."""
    return _text(0x03, mime.encode())


def message_expiry(seconds: int) -> bytes:
    """After so many seconds the broker need not deliver it any more (§3.3.2.3.3)."""
    return struct.pack(">BI", 0x02, seconds)


def user_property(name: str, value: str) -> bytes:
    """A name and a value, each of at most 65,535 bytes (§3.3.2.3.7).

    Example:
        >>> user_property("a", "bc").hex()
        '2600016100026263'
    """
    left, right = name.encode(), value.encode()
    return struct.pack(">BH", PAIR, len(left)) + left + struct.pack(">H", len(right)) + right


def correlation_data(data: bytes) -> bytes:
    """What the asker wants back (§3.3.2.3.6)."""
    return _text(CORRELATION_DATA, data)


def topic_alias(number: int) -> bytes:
    """A number that stands for the topic on this connection (§3.3.2.3.4)."""
    return struct.pack(">BH", 0x23, number)


def prefixed(properties: bytes) -> bytes:
    """The properties behind their length, a variable byte integer (§2.2.2.1).

    Example:
        >>> prefixed(b"").hex(), prefixed(topic_alias(7)).hex(), prefixed(bytes(200))[:2].hex()
        ('00', '03230007', 'c801')
    """
    length, digits = len(properties), bytearray()
    while length > 127:
        digits.append(length & 127 | 128)
        length >>= 7
    digits.append(length)
    return bytes(digits) + properties


def read_question(block: bytes) -> Question | None:
    """Response topic and correlation data of a message.

    Args:
        block: its properties behind their length; may be empty.

    Returns:
        None when they are malformed.

    Example:
        >>> read_question(prefixed(user_property("a", "b") + correlation_data(b"seven")))
        Question(response_topic=None, correlation=b'seven')
    """
    topic = correlation = None
    at, end = 0, len(block)
    while at < end and block[at] > 127:
        at += 1
    at += 1
    try:
        while at < end:
            identifier = block[at]
            at += 1
            if identifier in TEXT:
                (length,) = struct.unpack_from(">H", block, at)
                value = block[at + 2 : at + 2 + length]
                if len(value) < length:
                    return None
                at += 2 + length
                if identifier == RESPONSE_TOPIC:
                    topic = value
                elif identifier == CORRELATION_DATA:
                    correlation = value
            elif identifier in FIXED:
                at += FIXED[identifier]
            elif identifier == PAIR:
                for _ in range(2):
                    at += 2 + struct.unpack_from(">H", block, at)[0]
            elif identifier == NUMBER:
                while block[at] > 127:
                    at += 1
                at += 1
            else:
                return None
    except (struct.error, IndexError):
        return None
    return Question(topic, correlation) if at <= max(end, 1) else None
