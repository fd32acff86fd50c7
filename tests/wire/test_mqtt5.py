"""What only MQTT 5 has: aliases, properties, bounds of the broker, reasons in words."""

from collections.abc import Iterator

import pytest

from stepahead.contract.errors import BrokerError
from stepahead.wire.delivery import AnnotatedDelivery
from stepahead.wire.event import EventKind
from stepahead.wire.properties import content_type, prefixed, topic_alias, user_property
from tests.wire.test_scripted_broker import CONNACK, PATIENCE_S, Table


def connack(properties: bytes) -> bytes:
    body = b"\x00\x00" + prefixed(properties)
    return bytes([0x20, len(body)]) + body


def publish(first: int, topic: bytes, mid: int, properties: bytes, payload: bytes) -> bytes:
    body = len(topic).to_bytes(2, "big") + topic + (mid.to_bytes(2, "big") if first & 6 else b"")
    body += prefixed(properties) + payload
    return bytes([first, len(body)]) + body


@pytest.fixture(params=["paho", "fast"])
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    table = Table(str(request.param), "5")
    yield table
    for session in table.sessions:
        session.close(0)
    table.broker.close()


@pytest.fixture
def fast() -> Iterator[Table]:
    table = Table("fast", "5")
    yield table
    for session in table.sessions:
        session.close(0)
    table.broker.close()


ALIAS_MAXIMUM_2 = b"\x22\x00\x02"


@pytest.mark.parametrize("qos", [0, 1])
def test_the_first_topics_get_the_aliases_that_the_broker_allows(fast: Table, qos: int) -> None:
    first = 0x30 | qos << 1
    session = fast.session(())
    fast.connect(session, connack(ALIAS_MAXIMUM_2))
    for _ in range(2):
        session.publish_many([(b"one", b"1"), (b"two", b"2"), (b"three", b"3", content_type("x"))], qos, False)
    expected = publish(first, b"one", 1, topic_alias(1), b"1") + publish(first, b"two", 2, topic_alias(2), b"2")
    expected += publish(first, b"three", 3, content_type("x"), b"3")
    expected += publish(first, b"", 4, topic_alias(1), b"1") + publish(first, b"", 5, topic_alias(2), b"2")
    expected += publish(first, b"three", 6, content_type("x"), b"3")
    assert fast.broker.hear(expected) == expected


def test_aliases_are_of_one_connection(fast: Table) -> None:
    session = fast.session(())
    fast.connect(session, connack(ALIAS_MAXIMUM_2))
    session.publish_many([(b"one", b"1"), (b"one", b"2", user_property("a", "b"))], 1, True)
    fast.broker.hear()
    fast.lose(session)
    fast.connect(session, connack(ALIAS_MAXIMUM_2))
    session.receive(0.05, 1)
    more = user_property("a", "b") + topic_alias(1)
    expected = publish(0x3B, b"one", 1, topic_alias(1), b"1") + publish(0x3B, b"", 2, more, b"2")
    assert fast.broker.hear(expected) == expected
    fast.lose(session)
    fast.connect(session, CONNACK["5"])  # and now it allows none
    session.receive(0.05, 1)
    expected = publish(0x3B, b"one", 1, b"", b"1") + publish(0x3B, b"one", 2, user_property("a", "b"), b"2")
    assert fast.broker.hear(expected) == expected


def test_the_stock_client_sends_properties_and_no_aliases() -> None:
    table = Table("paho", "5")
    session = table.session(())
    table.connect(session, connack(ALIAS_MAXIMUM_2))
    properties = content_type("application/json") + user_property("series", "ü")
    session.publish_many([(b"one", b"1", properties), (b"one", b"2", properties)], 1, False)
    expected = publish(0x32, b"one", 1, properties, b"1") + publish(0x32, b"one", 2, properties, b"2")
    assert table.broker.hear(expected) == expected
    session.close(0)
    table.broker.close()


def test_the_properties_of_a_message_come_with_it(table: Table) -> None:
    session = table.session()
    table.connect(session)
    properties = b"\x08\x00\x04back" + b"\x09\x00\x01c"
    table.broker.say(publish(0x32, b"a/b", 9, properties, b"21") + publish(0x30, b"a/b", 0, b"", b"22"))
    taken = []
    while len(taken) < 2:
        taken += session.receive(1.0, 10)
    assert isinstance(taken[0], AnnotatedDelivery)
    assert (taken[0].topic, taken[0].payload, taken[0].properties) == (b"a/b", b"21", prefixed(properties))
    assert not isinstance(taken[1], AnnotatedDelivery)


def test_what_is_too_long_for_the_broker_is_not_sent_and_said_once(table: Table) -> None:
    session = table.session(())
    table.connect(session, connack(b"\x27\x00\x00\x00\x40"))  # Maximum Packet Size 64
    session.publish_many([(b"o", b"x" * 100), (b"o", b"short"), (b"o", b"x" * 100)], 1, False)
    assert table.broker.hear() == publish(0x32, b"o", 1, b"", b"short")
    assert session.refused_out == 2
    table.broker.say(b"\x40\x02\x00\x01")
    table.until(session, lambda: session.pending_out.messages == 0)
    assert [event.text for event in table.events if "larger than it takes" in event.text] == [table.events[-1].text]


def test_a_refused_message_is_counted_and_said_in_words(table: Table) -> None:
    session = table.session(())
    table.connect(session)
    session.publish_many([(b"o", b"1"), (b"o", b"2")], 1, False)
    table.broker.say(b"\x40\x04\x00\x01\x87\x00" + b"\x40\x04\x00\x02\x87\x00")
    table.until(session, lambda: session.refused_out == 2)
    assert [event.text for event in table.events if "not authorised" in event.text] == [table.events[-1].text]


@pytest.mark.parametrize(
    ("code", "words"),
    [(0x87, "not authorised"), (0x9E, "does not support shared subscriptions"), (0x97, "quota")],
)
def test_a_refused_subscription_is_said_in_words(table: Table, code: int, words: str) -> None:
    session = table.session(("a/#",))
    table.connect(session)
    table.broker.say(b"\x90\x04\x00\x01\x00" + bytes([code]))
    with pytest.raises(BrokerError, match=rf"'a/#': .*{words}"):
        session.receive(PATIENCE_S, 1)


def test_a_filter_that_is_not_needed_may_be_refused(table: Table) -> None:
    session = table.session(("a/#",), optional=("ask/#",))
    table.connect(session)
    table.broker.say(b"\x90\x05\x00\x01\x00\x01\x87")
    table.until(session, lambda: EventKind.SUBSCRIBED in table.kinds())
    assert table.events[-2].text.endswith(
        "refuses the subscription to 'ask/#': not authorised; its rules (ACL) must let us read it; it goes on without"
    )
    assert table.events[-1].text == "subscribed to 'a/#'"


def test_a_lower_qos_than_asked_for_is_said(table: Table) -> None:
    session = table.session(("a/#", "b/#"))
    table.connect(session)
    table.broker.say(b"\x90\x05\x00\x01\x00\x01\x00")
    table.until(session, lambda: EventKind.SUBSCRIBED in table.kinds())
    assert "grants QoS 0 only for 'b/#'" in table.events[-2].text


def test_a_broker_of_qos_0_only_is_refused_with_what_to_do(table: Table) -> None:
    with pytest.raises(BrokerError, match=r"takes QoS 0 only; set broker\.qos = 0"):
        table.connect(table.session(()), connack(b"\x24\x00"))
    session = table.session((), qos=0)
    table.connect(session, connack(b"\x24\x00"))
    assert session.connected


def test_what_the_broker_does_otherwise_than_asked_is_said(table: Table) -> None:
    session = table.session((), session_expiry_s=3600)
    reason = b"\x1f\x00\x04full"
    table.connect(session, connack(b"\x11\x00\x00\x00\x0a" + b"\x25\x00" + b"\x28\x00" + b"\x2a\x00"))
    assert "it keeps our session for 10 s only" in table.events[-1].text
    assert "no retained messages" in table.events[-1].text
    assert "no wildcards" in table.events[-1].text
    assert "no shared subscriptions" in table.events[-1].text
    table.broker.say(b"\xe0" + bytes([2 + len(reason)]) + b"\x97" + prefixed(reason))
    table.until(session, lambda: not session.connected)
    assert "a quota is exceeded (it says: full)" in table.events[-1].text


def test_we_tell_how_many_unacknowledged_messages_we_take_and_how_long_to_keep_the_session(table: Table) -> None:
    """Receive Maximum is our back-pressure: the broker sends no more than so many that are not yet safe with us."""
    session = table.session((), queue_messages=300, session_expiry_s=77)
    table.until(session, lambda: session.socket is not None)
    table.broker.accept()
    for _ in range(20):
        session.receive(0.01, 1)
    hello = table.broker.hear(b"\x21\x01\x2c", b"\x11\x00\x00\x00\x4d")
    assert hello[0] == 0x10
