"""What a session promises, over every client, protocol and broker."""

import pytest

from tests.broker.conftest import MakePeer


@pytest.mark.parametrize("qos", [0, 1])
def test_messages_come_in_order_with_their_bytes(make_peer: MakePeer, broker: object, topic: str, qos: int) -> None:
    ear = make_peer([f"{topic}/#"], qos=qos).subscribed()
    mouth = make_peer(qos=qos).connected()
    rows = [(f"{topic}/{i % 7}".encode(), b'{"value": %d}' % i) for i in range(3000)]
    mouth.session.publish_many(rows[:1500], qos, False)
    for row in rows[1500:1600]:
        mouth.session.publish(row[0].decode(), row[1], qos, False)
    mouth.session.publish_many(rows[1600:], qos, False)
    assert mouth.session.flush(10)
    taken = ear.take(3000)
    assert [(m.topic, m.payload) for m in taken] == rows
    assert {m.qos for m in taken} == {qos}
    assert not any(m.retain or m.dup for m in taken)
    ear.nothing()


def test_close_and_open_brings_nothing_acknowledged_again(make_peer: MakePeer, broker: object, topic: str) -> None:
    ear = make_peer([topic]).subscribed()
    mouth = make_peer().connected()
    mouth.session.publish_many([(topic.encode(), b"%d" % i) for i in range(100)], 1, False)
    assert mouth.session.flush(10)
    ear.take(100)
    assert ear.session.close(5)
    again = make_peer([topic], client_id=ear.settings.client_id).subscribed()
    again.nothing()
    assert again.events[0].session_present is True
