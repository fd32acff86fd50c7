"""What a session promises, over every client, protocol and broker."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from stepahead.service.intake import Intake
from stepahead.wire.delivery import Delivery, Will
from stepahead.wire.event import EventKind
from stepahead.wire.session import Pending
from tests.broker.brokers import Broker
from tests.broker.conftest import MakePeer, Peer


def payloads(messages: list[Delivery]) -> list[bytes]:
    return [message.payload for message in messages]


def numbered(topic: str, count: int, start: int = 0) -> list[tuple[bytes, bytes]]:
    return [(topic.encode(), b"%d" % i) for i in range(start, start + count)]


@pytest.mark.parametrize("qos", [0, 1])
def test_messages_come_in_order_with_their_bytes(make_peer: MakePeer, broker: Broker, topic: str, qos: int) -> None:
    ear = make_peer([f"{topic}/#"], qos=qos).subscribed()
    mouth = make_peer(qos=qos).connected()
    rows = [(f"{topic}/{i % 7}".encode(), b'{"value": %d}' % i) for i in range(3000)]
    mouth.session.publish_many(rows[:1500], qos, False)
    for row in rows[1500:1600]:
        mouth.session.publish(row[0].decode(), row[1], qos, False)
    mouth.session.publish_many(rows[1600:], qos, False)
    assert mouth.session.flush(60)
    taken = ear.take(3000)
    assert [(m.topic, m.payload) for m in taken] == rows
    assert {m.qos for m in taken} == {qos}
    assert not any(m.retain or m.dup for m in taken)
    ear.nothing()


def test_filters_choose(make_peer: MakePeer, broker: Broker, topic: str) -> None:
    ear = make_peer([f"{topic}/+/x", f"{topic}/deep/#"]).subscribed()
    mouth = make_peer().connected()
    for name in ("a/x", "a/y", "a/b/x", "deep", "deep/a/b/c", "deeper/z"):
        mouth.session.publish(f"{topic}/{name}", name.encode(), 1, False)
    assert sorted(payloads(ear.take(3))) == [b"a/x", b"deep", b"deep/a/b/c"]
    ear.nothing()


def test_retained_messages_are_marked(make_peer: MakePeer, broker: Broker, topic: str) -> None:
    mouth = make_peer().connected()
    mouth.session.publish(topic, b"kept", 1, True)
    assert mouth.session.flush(60)
    ear = make_peer([topic]).subscribed()
    (kept,) = ear.take(1)
    assert (kept.payload, kept.retain) == (b"kept", True)
    mouth.session.publish(topic, b"live", 1, False)
    (live,) = ear.take(1)
    assert (live.payload, live.retain) == (b"live", False)
    mouth.session.publish(topic, b"", 1, True)  # clear it
    assert mouth.session.flush(60)


def test_close_and_open_brings_nothing_acknowledged_again(make_peer: MakePeer, broker: Broker, topic: str) -> None:
    ear = make_peer([topic]).subscribed()
    mouth = make_peer().connected()
    mouth.session.publish_many(numbered(topic, 100), 1, False)
    assert mouth.session.flush(60)
    ear.take(100)
    ear.caught_up()
    assert ear.session.close(5)
    again = make_peer([topic], client_id=ear.settings.client_id).subscribed()
    again.nothing()
    assert again.events[0].session_present is True


def test_exactly_the_unacknowledged_come_again_in_order(make_peer: MakePeer, broker: Broker, topic: str) -> None:
    ear = make_peer([topic]).subscribed()
    mouth = make_peer().connected()
    mouth.session.publish_many(numbered(topic, 50), 1, False)
    assert mouth.session.flush(60)
    taken = ear.take(50, acknowledge=False)
    ear.session.acknowledge(taken[:20])
    ear.caught_up()
    ear.nothing(0.1)
    ear.vanish()
    again = make_peer([topic], client_id=ear.settings.client_id)
    redelivered = again.take(30)
    assert payloads(redelivered) == payloads(taken[20:])
    if broker.name == "mosquitto":  # the embedded broker leaves the DUP flag out, against MQTT 3.1.1 §3.3.1.1
        assert all(message.dup for message in redelivered)
    again.nothing()


def test_messages_wait_for_a_session_that_is_away(make_peer: MakePeer, broker: Broker, topic: str) -> None:
    ear = make_peer([topic]).subscribed()
    ear.session.close(5)
    mouth = make_peer().connected()
    mouth.session.publish_many(numbered(topic, 200), 1, False)
    assert mouth.session.flush(60)
    again = make_peer([topic], client_id=ear.settings.client_id)
    assert payloads(again.take(200)) == [b"%d" % i for i in range(200)]


KILLED = """
import sys, time
from stepahead.contract.settings import BrokerSettings
from stepahead.wire.session import Session
session = Session(BrokerSettings.model_validate_json(sys.argv[1]), [sys.argv[2]], None, lambda event: None)
taken = []
while len(taken) < 10:
    taken += session.receive(1.0, 10 - len(taken))
session.acknowledge(taken[:4])
session.publish(sys.argv[2] + "/caught-up", b"", 1, False)
assert session.flush(60)  # the broker has read the acknowledgements too
print("ready", flush=True)
time.sleep(600)
"""


def test_kill_9_loses_nothing_unacknowledged(make_peer: MakePeer, broker: Broker, topic: str) -> None:
    ear = make_peer([topic]).subscribed()
    ear.session.close(5)
    mouth = make_peer().connected()
    mouth.session.publish_many(numbered(topic, 10), 1, False)
    assert mouth.session.flush(60)
    arguments = [sys.executable, "-c", KILLED, ear.settings.model_dump_json(), topic]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    child.send_signal(signal.SIGKILL)
    child.wait(60)
    child.stdout.close()
    again = make_peer([topic], client_id=ear.settings.client_id)
    assert payloads(again.take(6)) == [b"%d" % i for i in range(4, 10)]
    again.nothing()


@pytest.mark.parametrize("size", [200_000, 1_000_000])
def test_large_payloads_pass_whole(make_peer: MakePeer, broker: Broker, topic: str, size: int) -> None:
    ear = make_peer([topic]).subscribed()
    mouth = make_peer().connected()
    large = bytes(range(256)) * (size // 256)
    mouth.session.publish(topic, b"before", 1, False)
    mouth.session.publish(topic, large, 1, False)
    mouth.session.publish(topic, b"after", 1, False)
    mouth.session.flush(60)
    assert payloads(ear.take(3)) == [b"before", large, b"after"]


def test_the_will_is_published_when_we_vanish_and_only_then(make_peer: MakePeer, broker: Broker, topic: str) -> None:
    ear = make_peer([topic]).subscribed()
    will = Will(topic, b"gone", qos=1, retain=False)
    polite = make_peer(will=will).connected()
    polite.session.close(5)
    ear.nothing()
    rude = make_peer(will=will).connected()
    rude.vanish()
    assert payloads(ear.take(1)) == [b"gone"]


def test_a_second_client_with_our_id_takes_over_and_we_come_back(
    make_peer: MakePeer, broker: Broker, topic: str
) -> None:
    first = make_peer([topic]).subscribed()
    second = make_peer([topic], client_id=first.settings.client_id).subscribed()
    first.until(lambda: EventKind.DISCONNECTED in first.kinds())
    second.session.close(5)
    first.until(lambda: first.kinds().count(EventKind.CONNECTED) >= 2 and first.session.connected)
    make_peer().connected().session.publish(topic, b"still here", 1, False)
    assert payloads(first.take(1)) == [b"still here"]


def test_messages_of_a_lost_connection_are_not_acknowledged_on_the_next(
    make_peer: MakePeer, broker: Broker, topic: str
) -> None:
    ear = make_peer([topic]).subscribed()
    mouth = make_peer().connected()
    mouth.session.publish_many(numbered(topic, 5), 1, False)
    mouth.session.flush(60)
    old = ear.take(5, acknowledge=False)
    ear.session.socket.shutdown(socket.SHUT_RDWR)
    ear.until(lambda: EventKind.DISCONNECTED in ear.kinds())
    # The broker may use the same packet identifiers for other messages now.
    new = ear.take(5, acknowledge=False)
    ear.session.acknowledge(old)
    assert payloads(new) == payloads(old)
    ear.session.receive(0.2, 1)
    ear.vanish()
    again = make_peer([topic], client_id=ear.settings.client_id)
    assert payloads(again.take(5)) == payloads(old)


def test_what_was_received_and_not_taken_is_taken_once(make_peer: MakePeer, broker: Broker, topic: str) -> None:
    ear = make_peer([topic]).subscribed()
    mouth = make_peer().connected()
    mouth.session.publish_many(numbered(topic, 40), 1, False)
    mouth.session.flush(60)
    time.sleep(0.3)  # so that all of it is there
    intake = Intake(ear.session, 1000, time.monotonic)

    def read_until(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            intake.read(0.05, 1000, 0.0)

    read_until(lambda: len(intake) == 40)
    first = intake.take(1)
    ear.session.acknowledge(first)
    ear.session.receive(0.0, 1)
    ear.session.socket.shutdown(socket.SHUT_RDWR)
    read_until(lambda: ear.kinds().count(EventKind.CONNECTED) == 2)
    # One was acknowledged; the rest was read from the socket and not taken, and comes again, on a new connection.
    epoch, rest = first[0].token >> 16, [b"%d" % i for i in range(1, 40)]
    if broker.name == "iotcore":
        # It gives what it delivers again other packet identifiers, against MQTT 3.1.1 §4.4: nothing but the readings
        # themselves tells then that they are the same, so both are taken, and the engine knows the second ones.
        read_until(lambda: len(intake) >= 2 * 39)
        assert payloads(intake.take(39)) == rest
        assert payloads(intake.take(100))[-39:] == rest
        return
    read_until(lambda: sum(token >> 16 > epoch for token in intake._renewed.values()) == 39)
    taken = intake.take(100)
    assert payloads(taken) == rest
    (renewed,) = {message.token >> 16 for message in taken}
    assert renewed > epoch
    assert len(intake) == 0


def test_the_session_survives_a_restart_of_the_broker(make_peer: MakePeer, own_broker: Broker, topic: str) -> None:
    ear = make_peer([f"{topic}/#"], will=Will(f"{topic}/will", b"gone")).subscribed()
    mouth = make_peer().connected()
    mouth.session.publish(f"{topic}/a", b"1", 1, False)
    assert mouth.session.flush(60)
    ear.take(1)
    own_broker.kill()
    ear.until(lambda: EventKind.REFUSED in ear.kinds())
    mouth.until(lambda: not mouth.session.connected)
    mouth.session.publish_many(numbered(f"{topic}/b", 10), 1, False)
    assert mouth.session.pending_out.messages == 10
    own_broker.start()
    # Nothing was persisted: no session is present, so both subscribe again.
    ear.until(lambda: ear.kinds().count(EventKind.SUBSCRIBED) == 2)
    assert mouth.session.flush(60)
    mouth.session.publish(f"{topic}/c", b"2", 1, False)
    taken = payloads(ear.take(1))
    while taken[-1] != b"2":
        taken += payloads(ear.take(1))
    assert {event.retry_in_s is not None for event in ear.events if event.kind == EventKind.REFUSED} == {True}


def test_nothing_is_lost_to_a_slow_consumer(make_peer: MakePeer, broker: Broker, topic: str) -> None:
    count = 5_000
    ear = make_peer([topic], queue_messages=500).subscribed()
    mouth = make_peer().connected()
    mouth.session.publish_many(numbered(topic, count), 1, False)
    taken: list[bytes] = []
    deadline = time.monotonic() + 200
    while len(taken) < count and time.monotonic() < deadline:
        mouth.session.receive(0.0, 1)
        batch = ear.session.receive(0.01, 100)
        ear.session.acknowledge(batch)
        taken += payloads(batch)
    assert taken == [b"%d" % i for i in range(count)]


def test_reading_stops_while_too_much_is_pending_and_nothing_deadlocks(
    make_peer: MakePeer, broker: Broker, topic: str
) -> None:
    """An echo whose answers pile up: every message is answered once, and the bound of what waits is kept."""
    count = 5_000
    echo = make_peer([f"{topic}/in"], queue_messages=100).subscribed()
    ear = make_peer([f"{topic}/out"]).subscribed()
    mouth = make_peer().connected()
    mouth.session.publish_many(numbered(f"{topic}/in", count), 1, False)
    answers: list[bytes] = []
    most = 0
    deadline = time.monotonic() + 200
    while len(answers) < count and time.monotonic() < deadline:
        mouth.session.receive(0.0, 1)
        batch = echo.session.receive(0.001, 64)
        echo.session.publish_many([(f"{topic}/out".encode(), m.payload) for m in batch], 1, False)
        echo.session.acknowledge(batch)
        most = max(most, echo.session.pending_out.messages)
        heard = ear.session.receive(0.0, 1000)
        ear.session.acknowledge(heard)
        answers += payloads(heard)
    assert answers == [b"%d" % i for i in range(count)]
    assert most < 100 + 64


def test_flush_waits_for_the_acknowledgements(make_peer: MakePeer, broker: Broker, topic: str) -> None:
    mouth = make_peer().connected()
    mouth.session.publish_many(numbered(topic, 500), 1, False)
    assert mouth.session.flush(60)
    assert mouth.session.pending_out == Pending(0, 0)
    assert mouth.session.lost_qos0 == 0


def test_what_is_published_before_the_first_connection_goes_out_with_it(
    make_peer: MakePeer, broker: Broker, topic: str
) -> None:
    ear = make_peer([topic]).subscribed()
    mouth = make_peer()
    mouth.session.publish_many(numbered(topic, 3), 1, False)
    mouth.session.publish_many(numbered(topic, 3, start=3), 0, False)
    assert mouth.session.flush(60)
    assert payloads(ear.take(6)) == [b"%d" % i for i in range(6)]


def quiet(peer: Peer) -> float:
    """CPU seconds of one second without messages; of this thread, as other tests may have left theirs."""
    before = time.thread_time()
    peer.session.receive(1.0, 10)
    return time.thread_time() - before


def test_an_idle_session_costs_nothing(make_peer: MakePeer, broker: Broker, topic: str) -> None:
    ear = make_peer([topic]).subscribed()
    assert quiet(ear) < 0.05


def test_a_shared_subscription_deals_each_message_to_one(make_peer: MakePeer, broker: Broker, topic: str) -> None:
    one, other = (make_peer([f"$share/group/{topic}/#"]).subscribed() for _ in range(2))
    mouth = make_peer().connected()
    mouth.session.publish_many(numbered(f"{topic}/a", 40), 1, False)
    assert mouth.session.flush(60)
    taken: list[bytes] = []
    deadline = time.monotonic() + 200
    while len(taken) < 40 and time.monotonic() < deadline:
        for peer in (one, other):
            batch = peer.session.receive(0.02, 100)
            peer.session.acknowledge(batch)
            taken += payloads(batch)
    assert sorted(taken) == sorted(b"%d" % i for i in range(40))
    one.nothing(0.1)
