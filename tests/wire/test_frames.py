"""The reader of packets against paho's own decoder, cut at every byte."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt import _packet
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from stepahead.wire.delivery import Delivery
from stepahead.wire.frames import BUFFERED_BYTES, FrameReader, publish_head

EPOCH = 3 << 16


def length_digits(length: int) -> bytes:
    digits = []
    while True:
        length, digit = divmod(length, 128)
        digits.append(digit | (128 if length else 0))
        if not length:
            return bytes(digits)


def publish(flags: int, topic: bytes, mid: int, payload: bytes, properties: bytes | None) -> bytes:
    body = len(topic).to_bytes(2, "big") + topic
    if flags & 6:
        body += mid.to_bytes(2, "big")
    body += (properties or b"") + payload
    return bytes([0x30 | flags]) + length_digits(len(body)) + body


def properties_of(expiry: int, name: str) -> bytes:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.MessageExpiryInterval = expiry
    properties.UserProperty = (name, "x" * 150)
    return bytes(properties.pack())


@st.composite
def packets(draw: st.DrawFn, mqtt5: bool) -> bytes:
    kind = draw(st.sampled_from(["publish", "publish", "puback", "other"]))
    if kind == "publish":
        flags = draw(st.sampled_from([0, 1, 2, 3, 10, 11]))
        topic = draw(st.binary(min_size=1, max_size=200))
        payload = draw(st.binary(max_size=300))
        some = draw(st.booleans()) and properties_of(draw(st.integers(0, 1000)), draw(st.text("ab", max_size=5)))
        return publish(flags, topic, draw(st.integers(1, 65535)), payload, (some or b"\0") if mqtt5 else None)
    if kind == "puback":
        mid = draw(st.integers(1, 65535)).to_bytes(2, "big")
        return b"\x40\x02" + mid if draw(st.booleans()) or not mqtt5 else b"\x40\x03" + mid + b"\x80"
    return draw(st.sampled_from([b"\xd0\x00", b"\x20\x02\x00\x00", b"\x90\x03\x00\x01\x01"]))


def by_paho(packet: bytes, mqtt5: bool) -> Delivery:
    end_of_length = next(i for i in range(1, 5) if packet[i] < 128)
    body = packet[end_of_length + 1 :]
    version = MQTTProtocolVersion.MQTTv5 if mqtt5 else MQTTProtocolVersion.MQTTv311
    read = _packet.decode_publish(packet[0], body, version)
    flags = read.dup << 3 | read.qos << 1 | read.retain
    token = EPOCH | read.mid if read.qos else 0
    return Delivery(read.topic, bytes(read.payload), flags, token, 99)


def read(reader: FrameReader, parts: list[bytes], waiting: dict[int, None]) -> tuple[list[Delivery], list[object]]:
    inbox: list[Delivery] = []
    others = [other for part in parts for other in reader.feed(part, inbox, waiting, EPOCH, 99)]
    return inbox, others


@pytest.mark.parametrize("mqtt5", [False, True])
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_cut_gives_what_paho_decodes(data: st.DataObject, mqtt5: bool) -> None:
    stream = data.draw(st.lists(packets(mqtt5), min_size=1, max_size=8))
    whole = b"".join(stream)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=12)))
    parts = [whole[a:b] for a, b in itertools.pairwise([0, *cuts, len(whole)])]
    acknowledged = [int.from_bytes(p[2:4], "big") for p in stream if p[0] == 0x40]
    waiting = dict.fromkeys([*acknowledged, 70_000])
    inbox, others = read(FrameReader(mqtt5, 1000), parts, waiting)
    stamps = [message.received_ns for message in inbox]
    assert [m._replace(received_ns=99) for m in inbox] == [by_paho(p, mqtt5) for p in stream if p[0] & 0xF0 == 0x30]
    assert all(99 <= stamp < 99 + 8 for stamp in stamps)
    assert waiting == {70_000: None}
    expected = [(p[0], p[2:]) for p in stream if p[0] & 0xF0 != 0x30 and (p[0] != 0x40 or len(p) > 4)]
    assert others == expected


def test_messages_that_were_read_at_once_do_not_have_the_same_time() -> None:
    stream = b"".join(publish(2, b"a", mid, b"21.5", None) for mid in range(1, 6))
    inbox, _ = read(FrameReader(False, 1000), [stream], {})
    assert [message.received_ns for message in inbox] == [99, 100, 101, 102, 103]


@pytest.mark.parametrize("mqtt5", [False, True])
def test_every_byte_boundary(mqtt5: bool) -> None:
    properties = properties_of(7, "a") if mqtt5 else None
    stream = [publish(3, b"a/b", 9, b"x" * 200, properties), b"\x40\x02\x00\x05", b"\xd0\x00"]
    whole = b"".join(stream)
    for cut in range(len(whole) + 1):
        waiting: dict[int, None] = {5: None}
        inbox, others = read(FrameReader(mqtt5, 1000), [whole[:cut], whole[cut:]], waiting)
        assert (inbox, others, waiting) == ([by_paho(stream[0], mqtt5)], [(0xD0, b"")], {})
    one_by_one = [whole[i : i + 1] for i in range(len(whole))]
    assert read(FrameReader(mqtt5, 1000), one_by_one, {})[0] == [by_paho(stream[0], mqtt5)]


@pytest.mark.parametrize("mqtt5", [False, True])
@pytest.mark.parametrize("piece", [1 << 16, 100_001])
def test_a_giant_is_let_pass_with_its_start(mqtt5: bool, piece: int) -> None:
    giant = publish(2, b"t", 8, b"z" * (3 * BUFFERED_BYTES), b"\0" if mqtt5 else None)
    whole = publish(0, b"a", 0, b"1", b"\0" if mqtt5 else None) + giant + b"\x40\x02\x00\x05"
    waiting: dict[int, None] = {5: None}
    parts = [whole[i : i + piece] for i in range(0, len(whole), piece)]
    inbox, _ = read(FrameReader(mqtt5, 1000), parts, waiting)
    assert [(m.topic, m.payload, m.token) for m in inbox] == [(b"a", b"1", 0), (b"t", b"z" * 1001, EPOCH | 8)]
    assert waiting == {}


@pytest.mark.parametrize(
    "stream",
    [
        b"\x30\x80\x80\x80\x80\x01",  # a length of five digits
        b"\x30\x02\x00\x00",  # an empty topic
        b"\x30\x03\x00\x05a",  # a topic longer than the packet
        b"\x32\x04\x00\x01ab",  # no room for the identifier
        b"\x34\x06\x00\x01a\x00\x01b",  # QoS 2, which we never asked for
        b"\x36\x06\x00\x01a\x00\x01b",  # QoS 3
        b"\x90\xff\xff\xff\x7f" + b"\0" * 100,  # a SUBACK of 256 MiB
    ],
)
def test_what_is_not_mqtt_is_said(stream: bytes) -> None:
    reader = FrameReader(mqtt5=False, max_payload_bytes=100)
    inbox, others = read(reader, [stream], {})
    assert reader.malformed
    assert (inbox, others) == ([], [])


@given(st.binary(max_size=400), st.booleans())
@settings(max_examples=400)
def test_any_bytes_are_survived(stream: bytes, mqtt5: bool) -> None:
    read(FrameReader(mqtt5, 100), [stream[:7], stream[7:]], {})


@pytest.mark.parametrize("rest", [0, 1, 124, 125, 126, 16_379, 16_380, 16_381, 2_097_147, 2_097_148, 2_097_149])
def test_the_head_is_that_of_the_standard(rest: int) -> None:
    assert publish_head(0x31, 1, rest) == b"\x31" + length_digits(3 + rest) + b"\x00\x01"
