"""Listening by one connection and speaking by another: what is acknowledged when, and what is read when."""

import time
from collections.abc import Callable, Iterator

import pytest

from stepahead.contract.settings import BrokerSettings
from stepahead.wire.delivery import Delivery
from stepahead.wire.event import EventKind, SessionEvent
from stepahead.wire.paired_session import PairedSession
from stepahead.wire.session import Session
from stepahead.wire.speaker import Speaker
from tests.wire.test_scripted_broker import CONNACK, PATIENCE_S, PINGREQ, SUBACK, ScriptedBroker


class Pair:
    """A paired session between two scripted brokers: one that it hears, and one that it speaks to."""

    def __init__(self, **more: object) -> None:
        self.heard, self.spoken_to = ScriptedBroker(), ScriptedBroker()
        self.events: list[SessionEvent] = []
        self.ahead_s = 0.0
        self.stopped_s: float | None = None
        retry = {"reconnect_min_s": 0.01, "reconnect_max_s": 0.02}

        def session(broker: ScriptedBroker, filters: list[str]) -> Session:
            settings = BrokerSettings.model_validate(retry | {"url": broker.url} | more)
            return Session(settings, filters, None, self.events.append, clock=self.clock)

        self.listening = session(self.heard, ["a/#"])
        self.speaking = session(self.spoken_to, [])
        self.session = PairedSession(self.listening, Speaker(self.speaking), self.clock)

    def clock(self) -> float:
        return (time.monotonic() if self.stopped_s is None else self.stopped_s) + self.ahead_s

    def stop_clock(self) -> None:
        """From here on only the test lets time pass."""
        self.stopped_s = time.monotonic()

    def say_welcome(self, broker: ScriptedBroker, session: Session) -> None:
        self.turn_until(lambda: session.socket is not None)
        broker.accept()
        assert self.session.receive(0.0, 1) == []
        assert broker.hear()[0] == 0x10
        broker.say(CONNACK["3.1.1"])

    def welcome(self, broker: ScriptedBroker, session: Session, *answers: bytes) -> None:
        self.say_welcome(broker, session)
        self.turn_until(lambda: session.connected)
        for answer in answers:
            broker.hear()
            broker.say(answer)

    def connect(self) -> None:
        self.welcome(self.heard, self.listening, SUBACK["3.1.1"])
        self.welcome(self.spoken_to, self.speaking)
        self.turn_until(lambda: EventKind.SUBSCRIBED in {event.kind for event in self.events})

    def turn_until(self, condition: Callable[[], object]) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert self.session.receive(0.01, 100) == []
            assert time.monotonic() < until_s

    def receive(self, count: int) -> list[Delivery]:
        taken: list[Delivery] = []
        until_s = time.monotonic() + PATIENCE_S
        while len(taken) < count:
            taken += self.session.receive(0.01, 100)
            assert time.monotonic() < until_s
        return taken

    def close(self) -> None:
        self.session.close(0.0)
        self.heard.close()
        self.spoken_to.close()


@pytest.fixture
def make_pair() -> Iterator[Callable[..., Pair]]:
    made: list[Pair] = []

    def make(**more: object) -> Pair:
        made.append(Pair(**more))
        return made[-1]

    yield make
    for pair in made:
        pair.close()


@pytest.fixture
def pair(make_pair: Callable[..., Pair]) -> Pair:
    return make_pair()


def reading(identifier: int) -> bytes:
    return b"\x32\x06\x00\x01a" + identifier.to_bytes(2, "big") + b"7"


def puback(identifier: int) -> bytes:
    return b"\x40\x02" + identifier.to_bytes(2, "big")


def forecast(identifier: int) -> bytes:
    return b"\x32\x06\x00\x01o" + identifier.to_bytes(2, "big") + b"7"


def test_a_reading_is_acknowledged_when_the_broker_has_all_that_was_published_before(pair: Pair) -> None:
    pair.connect()
    assert pair.session.connected
    pair.heard.say(reading(11) + reading(12))
    one, other = pair.receive(2)
    pair.session.publish("o", b"7", 1, False)
    pair.session.acknowledge([one])
    pair.session.publish("o", b"7", 1, False)
    pair.session.acknowledge([other])
    pair.session.receive(0.0, 1)
    assert pair.spoken_to.hear(forecast(2)) == forecast(1) + forecast(2)
    pair.heard.hear_nothing()
    assert pair.session.waiting_out == 2
    pair.spoken_to.say(puback(1))
    pair.turn_until(lambda: pair.session.waiting_out == 1)
    assert pair.heard.hear() == puback(11)
    pair.heard.hear_nothing()
    pair.spoken_to.say(puback(2))
    assert pair.session.flush(PATIENCE_S)
    assert pair.heard.hear() == puback(12)


def test_what_was_not_published_at_qos_1_is_not_waited_for(pair: Pair) -> None:
    pair.connect()
    pair.heard.say(reading(11))
    pair.session.publish("o", b"7", 0, False)
    pair.session.acknowledge(pair.receive(1))
    assert pair.session.flush(PATIENCE_S)
    assert pair.heard.hear() == puback(11)


def test_nothing_is_received_before_we_can_speak_nor_while_too_much_of_ours_waits(
    make_pair: Callable[..., Pair],
) -> None:
    pair = make_pair(queue_messages=1)
    pair.welcome(pair.heard, pair.listening, SUBACK["3.1.1"])
    pair.heard.say(reading(11))
    for _ in range(20):
        assert pair.session.receive(0.01, 100) == []
    assert not pair.session.connected
    pair.say_welcome(pair.spoken_to, pair.speaking)
    assert len(pair.receive(1)) == 1
    pair.session.publish("o", b"7", 1, False)
    pair.heard.say(reading(12))
    for _ in range(20):
        assert pair.session.receive(0.01, 100) == []
    pair.spoken_to.hear()
    pair.spoken_to.say(puback(1))
    assert len(pair.receive(1)) == 1


def test_what_a_lost_connection_left_unconfirmed_is_sent_again_and_then_acknowledged(pair: Pair) -> None:
    pair.connect()
    pair.heard.say(reading(11))
    (delivery,) = pair.receive(1)
    pair.session.publish("o", b"7", 1, False)
    pair.session.acknowledge([delivery])
    pair.spoken_to.hear()
    pair.spoken_to.connections[-1].close()
    pair.turn_until(lambda: not pair.speaking.connected)
    pair.welcome(pair.spoken_to, pair.speaking)
    pair.session.receive(0.0, 1)
    again = pair.spoken_to.hear()
    assert again == bytes([forecast(1)[0] | 8]) + forecast(1)[1:]
    pair.heard.hear_nothing()
    pair.spoken_to.say(puback(1))
    pair.turn_until(lambda: pair.session.waiting_out == 0)
    assert pair.heard.hear() == puback(11)


def test_the_broker_that_we_hear_is_asked_for_a_sign_of_life_when_we_have_spoken(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.connect()
    pair.stop_clock()
    monkeypatch.undo()  # from here on their patience counts
    pair.session.receive(0.0, 1)
    pair.session.publish("status", b"online", 1, True)
    pair.ahead_s += 0.9  # of a long time only a second counts
    pair.session.receive(0.0, 1)
    pair.ahead_s += 0.9
    pair.session.receive(0.0, 1)
    assert PINGREQ in pair.heard.hear(PINGREQ)
    for _ in range(4):
        pair.ahead_s += 0.9
        pair.session.receive(0.0, 1)
    assert not pair.listening.connected
    assert "answers nothing any more" in pair.events[-1].text


def test_a_flush_that_comes_to_nothing_says_so_in_time(pair: Pair) -> None:
    pair.connect()
    pair.session.publish("o", b"7", 1, False)
    began_s = time.monotonic()
    assert not pair.session.flush(0.1)
    assert time.monotonic() - began_s < 20
