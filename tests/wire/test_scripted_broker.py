"""What no real broker can be made to do: refusals, silence, half packets, unanswered publishes."""

import contextlib
import select
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stepahead.contract.errors import BrokerError
from stepahead.contract.settings import BrokerSettings
from stepahead.wire.client_choice import make_client
from stepahead.wire.event import EventKind, SessionEvent
from stepahead.wire.session import Session

CONNACK = {"3.1.1": b"\x20\x02\x00\x00", "5": b"\x20\x03\x00\x00\x00"}
SUBACK = {"3.1.1": b"\x90\x03\x00\x01\x01", "5": b"\x90\x04\x00\x01\x00\x01"}
PATIENCE_S = 60.0


class ScriptedBroker:
    """A listening socket and the bytes it is told to say; no thread, the test takes turns with the session."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.connections: list[socket.socket] = []

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.listener.getsockname()[1]}"

    def accept(self) -> None:
        self.listener.settimeout(PATIENCE_S)
        sock, _ = self.listener.accept()
        sock.settimeout(PATIENCE_S)
        self.connections.append(sock)

    def say(self, data: bytes) -> None:
        self.connections[-1].sendall(data)

    def hear(self, *parts: bytes) -> bytes:
        """What has come, as soon as these parts are in it: what was sent by several writes may come in pieces."""
        heard = self.connections[-1].recv(1 << 20)
        while not all(part in heard for part in parts):
            try:
                more = self.connections[-1].recv(1 << 20)
            except TimeoutError:
                more = b""
            assert more, f"{parts} did not come, but {heard!r}"
            heard += more
        return heard

    def hear_nothing(self) -> None:
        self.connections[-1].settimeout(0.1)
        with pytest.raises(TimeoutError):
            self.hear()
        self.connections[-1].settimeout(PATIENCE_S)

    def close(self) -> None:
        for sock in [self.listener, *self.connections]:
            sock.close()


class Table:
    """The broker, a session and what it told."""

    def __init__(self, client: str, protocol: str) -> None:
        self.broker = ScriptedBroker()
        self.client, self.protocol = client, protocol
        self.events: list[SessionEvent] = []
        self.sessions: list[Session] = []

    def session(self, filters: tuple[str, ...] = ("a/#",), optional: tuple[str, ...] = (), **more: object) -> Session:
        defaults = {"reconnect_min_s": 0.05, "reconnect_max_s": 0.1, "url": self.broker.url}
        given = defaults | {"client": self.client, "protocol": self.protocol} | more
        settings = BrokerSettings.model_validate(given)
        self.sessions.append(Session(settings, filters, None, self.events.append, optional=optional))
        return self.sessions[-1]

    def until(self, session: Session, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.events
            session.receive(0.01, 1)

    def connect(self, session: Session, connack: bytes | None = None) -> None:
        self.until(session, lambda: session.socket is not None)
        self.broker.accept()
        session.receive(0.0, 1)
        assert self.broker.hear()[0] == 0x10
        before = len(self.events)
        self.broker.say(CONNACK[self.protocol] if connack is None else connack)
        self.until(session, lambda: len(self.events) > before)

    def lose(self, session: Session) -> None:
        self.broker.connections[-1].close()
        self.until(session, lambda: not session.connected)

    def kinds(self) -> list[EventKind]:
        return [event.kind for event in self.events]


@pytest.fixture(params=["paho", "fast"])
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["3.1.1", "5"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def table(client: str, protocol: str) -> Iterator[Table]:
    table = Table(client, protocol)
    yield table
    for session in table.sessions:
        session.close(0)
    table.broker.close()


def test_a_refused_filter_is_named(table: Table) -> None:
    session = table.session(("a/#", "b/#"))
    table.connect(session)
    refused = b"\x90\x04\x00\x01\x01\x80" if table.protocol == "3.1.1" else b"\x90\x05\x00\x01\x00\x01\x87"
    table.broker.say(refused)
    with pytest.raises(BrokerError, match=r"refuses the subscription to 'b/#'"):
        session.receive(PATIENCE_S, 1)


def test_a_filter_refused_later_is_tried_again_and_not_borne_in_silence(table: Table) -> None:
    session = table.session(("a/#", "b/#"))
    granted = {"3.1.1": b"\x90\x04\x00\x01\x01\x01", "5": b"\x90\x05\x00\x01\x00\x01\x01"}
    refused = {"3.1.1": b"\x90\x04\x00%c\x01\x80", "5": b"\x90\x05\x00%c\x00\x01\x87"}
    table.connect(session)
    table.broker.say(granted[table.protocol])
    table.until(session, lambda: EventKind.SUBSCRIBED in table.kinds())
    table.lose(session)
    table.connect(session)  # a new session: the broker has forgotten ours
    request = table.broker.hear()
    table.broker.say(refused[table.protocol] % request[request.index(0x82) + 3])
    table.until(session, lambda: not session.connected)
    (last,) = [event for event in table.events if "refuses the subscription" in event.text]
    assert (last.kind, "'b/#'" in last.text, "'a/#'" in last.text) == (EventKind.DISCONNECTED, True, False)
    assert last.retry_in_s is not None
    table.connect(session)
    assert session.connected


@pytest.mark.parametrize(
    ("code_311", "code_5", "words"),
    [
        (2, 0x85, "does not accept the client id"),
        (4, 0x86, "user name or password is wrong"),
        (5, 0x87, "user name or password is wrong, or this client may not connect"),
    ],
)
def test_a_refusal_is_final_at_first_and_not_later(table: Table, code_311: int, code_5: int, words: str) -> None:
    no = bytes([0x20, 2, 0, code_311]) if table.protocol == "3.1.1" else bytes([0x20, 3, 0, code_5, 0])
    with pytest.raises(BrokerError, match=words):
        table.connect(table.session(), no)
    session = table.session(())
    table.connect(session)
    assert session.connected
    table.lose(session)
    table.connect(session, no)
    assert table.events[-1].kind == EventKind.REFUSED
    assert words in table.events[-1].text
    table.connect(session)
    assert session.connected


def test_what_the_broker_says_in_its_own_words_is_read_out(client: str) -> None:
    table = Table(client, "5")
    words = b"quota of\nplant 7"
    told = b"\x1f" + len(words).to_bytes(2, "big") + words  # MQTT 5 §3.2.2.3.9, Reason String
    table.connect(table.session(), b"\x20" + bytes([3 + len(told), 0, 0x97, len(told)]) + told)
    assert table.events[-1].text.endswith("refused the connection: a quota is exceeded (it says: quota of plant 7)")
    table.connect(table.sessions[0])
    table.broker.say(b"\xe0" + bytes([2 + len(told), 0x97, len(told)]) + told)
    table.until(table.sessions[0], lambda: EventKind.DISCONNECTED in table.kinds())
    assert table.events[-1].text.endswith("closed the connection: a quota is exceeded (it says: quota of plant 7)")
    table.sessions[0].close(0)
    table.broker.close()


def test_a_broker_not_ready_is_tried_again(table: Table) -> None:
    session = table.session()
    table.connect(session, b"\x20\x02\x00\x03" if table.protocol == "3.1.1" else b"\x20\x03\x00\x88\x00")
    assert "it is not ready" in table.events[-1].text
    table.connect(session)
    assert session.connected


def test_packets_may_come_byte_by_byte(table: Table) -> None:
    session = table.session()
    stream = CONNACK[table.protocol] + SUBACK[table.protocol]
    properties = b"" if table.protocol == "3.1.1" else b"\x00"
    body = b"\x00\x03a/b\x00\x09" + properties + b"21.5"
    stream += bytes([0x32, len(body)]) + body
    table.until(session, lambda: session.socket is not None)
    table.broker.accept()
    table.broker.hear()
    taken = []
    for i in range(len(stream)):
        table.broker.say(stream[i : i + 1])
        taken += session.receive(0.005, 10)
    taken += session.receive(PATIENCE_S, 10) if not taken else []
    assert [(m.topic, m.payload, m.qos, m.token & 0xFFFF) for m in taken] == [(b"a/b", b"21.5", 1, 9)]
    assert table.kinds() == [EventKind.CONNECTED, EventKind.SUBSCRIBED]
    table.broker.hear()
    session.acknowledge(taken)
    assert table.broker.hear() == b"\x40\x02\x00\x09"


def test_what_was_not_acknowledged_goes_out_again_first_and_in_order(table: Table) -> None:
    session = table.session(())
    table.connect(session)
    session.publish_many([(b"o", b"1"), (b"o", b"2"), (b"o", b"3")], 1, False)
    properties = b"" if table.protocol == "3.1.1" else b"\x00"

    def packet(first: int, mid: int, payload: bytes) -> bytes:
        body = b"\x00\x01o" + mid.to_bytes(2, "big") + properties + payload
        return bytes([first, len(body)]) + body

    sent = packet(0x32, 1, b"1") + packet(0x32, 2, b"2") + packet(0x32, 3, b"3")
    assert table.broker.hear(sent) == sent
    table.broker.say(b"\x40\x02\x00\x02")
    table.until(session, lambda: session.pending_out.messages == 2)
    table.lose(session)
    session.publish("o", b"4", 1, False)
    table.connect(session)
    session.receive(0.05, 1)
    sent = packet(0x3A, 1, b"1") + packet(0x3A, 3, b"3") + packet(0x32, 4, b"4")
    assert table.broker.hear(sent) == sent


def test_receive_maximum_of_the_broker_is_kept(client: str) -> None:
    table = Table(client, "5")
    session = table.session(())
    table.connect(session, b"\x20\x06\x00\x00\x03\x21\x00\x02")
    session.publish_many([(b"o", b"%d" % i) for i in range(5)], 1, False)
    heard = table.broker.hear(b"o\x00\x02\x001")
    assert [heard.count(b"o\x00%c\x00%d" % (i + 1, i)) for i in range(5)] == [1, 1, 0, 0, 0]
    table.broker.hear_nothing()
    table.broker.say(b"\x40\x02\x00\x01")
    table.until(session, lambda: session.pending_out.messages == 4)
    assert b"o\x00\x03\x002" in table.broker.hear()
    session.close(0)
    table.broker.close()


def test_an_acknowledgement_does_not_overtake_forecasts_that_wait_for_the_receive_maximum(client: str) -> None:
    """Or a kill would lose them: nobody owes us a reading that was acknowledged."""
    table = Table(client, "5")
    session = table.session()
    table.connect(session, b"\x20\x06\x00\x00\x03\x21\x00\x02" + SUBACK["5"])
    body = b"\x00\x03a/b\x00\x09\x00" + b"21.5"
    table.broker.say(bytes([0x32, len(body)]) + body)
    taken = session.receive(PATIENCE_S, 1)
    assert len(taken) == 1
    session.publish_many([(b"o", b"%d" % i) for i in range(3)], 1, False)
    session.acknowledge(taken)
    session.publish_many([(b"o", b"3")], 1, False)
    puback = b"\x40\x02\x00\x09"
    assert puback not in table.broker.hear(b"\x001")
    table.broker.hear_nothing()
    table.broker.say(b"\x40\x02\x00\x02")  # the subscription took packet identifier 1
    table.until(session, lambda: session.pending_out.messages == 3)
    heard = table.broker.hear(b"\x002", puback)
    assert heard.index(b"\x002") < heard.index(puback)
    assert b"\x003" not in heard
    table.broker.say(b"\x40\x02\x00\x03\x40\x02\x00\x04")
    table.until(session, lambda: session.pending_out.messages == 1)
    assert b"\x003" in table.broker.hear()
    session.close(0)
    table.broker.close()


def test_an_acknowledgement_that_waited_does_not_go_to_the_next_connection(table: Table) -> None:
    session = table.session()
    table.connect(session, None)
    table.broker.say(SUBACK[table.protocol])
    properties = b"" if table.protocol == "3.1.1" else b"\x00"
    body = b"\x00\x03a/b\x00\x09" + properties + b"21.5"
    table.broker.say(bytes([0x32, len(body)]) + body)
    taken = session.receive(PATIENCE_S, 1)
    assert len(taken) == 1
    table.lose(session)
    session.publish("o", b"late", 1, False)
    session.acknowledge(taken)
    table.connect(session)
    session.receive(0.1, 1)
    assert b"\x40\x02\x00\x09" not in table.broker.hear(b"late")
    table.broker.hear_nothing()


class OwnTime:
    """Seconds that pass where a session waits, ten times as fast as ours, or where the test lets them pass.

    However slow the machine is, the session has waited no longer than that.
    """

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def go_on(self, seconds: float) -> None:
        self.now_s += seconds

    def rule(self, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        selector = session._connection._selector
        wait = selector.select

        def select(timeout: float) -> Any:
            ready = wait(timeout / 10)
            self.go_on(0.0 if ready else timeout)
            return ready

        monkeypatch.setattr(selector, "select", select)


def hurried(table: Table, monkeypatch: pytest.MonkeyPatch, qos: int = 1) -> tuple[Session, OwnTime]:
    """A session with a time of its own, which has published something."""
    settings = {"url": table.broker.url, "client": table.client, "protocol": table.protocol}
    clock = OwnTime()
    session = Session(
        BrokerSettings.model_validate(settings), [], None, table.events.append, clock=clock, sleep=clock.go_on
    )
    table.sessions.append(session)
    clock.rule(session, monkeypatch)
    table.connect(session)
    monkeypatch.undo()  # from here on its patience counts
    clock.rule(session, monkeypatch)
    session.publish("o", b"1", qos, False)
    return session, clock


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("polled", [False, True], ids=["waits", "is polled"])
def test_a_broker_that_answers_nothing_any_more_is_left_within_five_seconds(
    table: Table, monkeypatch: pytest.MonkeyPatch, qos: int, polled: bool
) -> None:
    """Its machine takes what we send, so that TCP notices nothing, and the keep-alive is half a minute."""
    session, clock = hurried(table, monkeypatch, qos)
    began_s = clock.now_s
    while session.connected:
        session.receive(0.0 if polled else 0.5, 1)
        clock.go_on(0.1 if polled else 0.0)
        assert clock.now_s - began_s < 5
    assert clock.now_s - began_s > 2.5
    assert PINGREQ in table.broker.hear(PINGREQ)
    assert "answers nothing any more" in table.events[-1].text


def test_of_a_time_in_which_we_did_not_look_one_second_counts(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine may have stood still, and the broker on it."""
    session, clock = hurried(table, monkeypatch)
    for stood_still_s in (3.0, 0.5, 5.0, 0.1):  # after the second it asks
        clock.go_on(stood_still_s)
        session.receive(0.0, 1)
        assert session.connected
    assert PINGREQ in table.broker.hear(PINGREQ)


def test_who_has_said_nothing_does_not_ask(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    session, clock = hurried(table, monkeypatch, qos=0)
    session._connection.spoke = False
    until_s = clock.now_s + 6
    while clock.now_s < until_s:
        session.receive(0.5, 1)
    assert session.connected
    assert PINGREQ not in table.broker.hear()


def test_a_broker_that_holds_acknowledgements_back_and_answers_pings_is_kept(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, clock = hurried(table, monkeypatch)
    until_s, answered = clock.now_s + 12, 0
    while clock.now_s < until_s:
        session.receive(1.0, 1)
        if session._connection._asked_s is not None:
            table.broker.hear(PINGREQ)
            table.broker.say(b"\xd0\x00")
            assert select.select([session.socket], [], [], PATIENCE_S)[0]
            answered += 1
    assert session.connected
    assert answered > 1


class Flood:
    """A session whose broker sends and sends, and acknowledges nothing of the ten messages that fill its queue."""

    def __init__(self, table: Table) -> None:
        self.ahead_s = 0.0
        settings = {"url": table.broker.url, "client": table.client, "protocol": table.protocol}
        self.session = Session(
            BrokerSettings.model_validate(settings | {"queue_messages": 10, "keepalive_s": 60}),
            [],
            None,
            table.events.append,
            clock=lambda: time.monotonic() + self.ahead_s,
        )
        table.sessions.append(self.session)
        table.connect(self.session)
        self.publish(10)
        body = b"\x00\x01a" + (b"" if table.protocol == "3.1.1" else b"\x00") + b"21"
        self.message = bytes([0x30, len(body)]) + body
        self.sent_bytes = 0
        self.socket = table.broker.connections[-1]
        self.socket.setblocking(False)

    def publish(self, messages: int) -> None:
        self.session.publish_many([(b"o", b"x")] * messages, 1, False)

    def send(self) -> None:
        offset = self.sent_bytes % len(self.message)
        with contextlib.suppress(BlockingIOError):
            self.sent_bytes += self.socket.send((self.message * 1000)[offset:])

    def fill_inbox(self) -> None:
        while len(self.session._client.inbox) < 65_545:
            assert self.session.receive(0.0, 100) == []
            self.send()
            self.session.flush(0.001)


def test_acknowledgements_behind_more_than_a_broker_may_send_are_reached(table: Table) -> None:
    """Reading goes on until the inbox is full, and then what is in it is given, piece by piece."""
    flood = Flood(table)
    flood.fill_inbox()
    taken = 0
    while taken < 1000:
        flood.send()
        taken += len(flood.session.receive(0.0, 100))
        assert len(flood.session._client.inbox) < 65_545 + 2 * 65_536 // len(flood.message)
    assert flood.session.connected
    flood.socket.setblocking(True)
    rest = -flood.sent_bytes % len(flood.message)
    flood.socket.sendall(flood.message[len(flood.message) - rest :])
    flood.socket.sendall(b"".join(b"\x40\x02\x00" + bytes([identifier]) for identifier in range(1, 11)))
    while flood.session.congested:
        taken += len(flood.session.receive(0.1, 100))
    while messages := flood.session.receive(0.1, 10_000):
        taken += len(messages)
    assert taken == (flood.sent_bytes + rest) // len(flood.message)
    assert flood.session.pending_out.messages == 0


def test_a_broker_that_never_acknowledges_does_not_fill_the_memory(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a million answers that nobody acknowledges (here, of a thousand) the connection is made anew."""
    monkeypatch.setattr("stepahead.wire.session.MOST_UNANSWERED", 1000)
    flood = Flood(table)
    flood.fill_inbox()
    while flood.session.pending_out.messages < 1000:
        flood.send()
        flood.publish(len(flood.session.receive(0.0, 90)))
    flood.fill_inbox()
    assert flood.session.receive(0.0, 100) == []
    assert flood.session.connected
    flood.ahead_s += 1.0
    flood.session.receive(0.0, 100)
    flood.ahead_s += 61.0
    flood.session.receive(0.0, 100)
    assert "acknowledges nothing" in table.events[-1].text
    assert flood.session.pending_out.messages == 1000


def test_silence_instead_of_a_welcome_is_not_waited_for_for_ever(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # its patience counts
    now = [0.0]
    session = Session(
        BrokerSettings.model_validate({"url": table.broker.url, "client": table.client, "protocol": table.protocol}),
        [],
        None,
        table.events.append,
        clock=lambda: now[0],
    )
    table.sessions.append(session)
    for _ in range(30):
        now[0] += 0.5
        session.receive(0.0, 1)
    assert table.events[0].text.endswith("took the connection and did not answer")


def test_the_pauses_grow_and_have_a_limit() -> None:
    now, slept, events = [0.0], [], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    with socket.socket() as deaf:  # bound, so that nobody else is given its port
        deaf.bind(("127.0.0.1", 0))
        url = f"mqtt://127.0.0.1:{deaf.getsockname()[1]}"
        settings = BrokerSettings(url=url, reconnect_min_s=0.5, reconnect_max_s=4.0)
        session = Session(settings, [], None, events.append, clock=lambda: now[0], sleep=sleep, jitter=lambda: 0.0)
        session.receive(60.0, 1)
    pauses = [event.retry_in_s for event in events]
    assert pauses[:5] == [0.25, 0.5, 1.0, 2.0, 2.0]
    assert sum(slept) == pytest.approx(60.0)
    session.close(0)


def test_an_untested_paho_is_not_driven_fast() -> None:
    events: list[SessionEvent] = []
    client = make_client(BrokerSettings(), None, time.time_ns, events.append, paho_version="9.9")
    assert client.name == "paho"
    assert "paho-mqtt 9.9 is not one the fast client was tested with" in events[0].text
    assert make_client(BrokerSettings(), None, time.time_ns, events.append).name == "fast"
    assert make_client(BrokerSettings(client="paho"), None, time.time_ns, events.append).name == "paho"
    assert len(events) == 1


PUBLISH = {"3.1.1": b"\x30\x06\x00\x03a/bx", "5": b"\x30\x07\x00\x03a/b\x00x"}  # topic a/b, QoS 0, payload x
PINGREQ = b"\xc0\x00"


def test_what_waits_in_the_inbox_does_not_keep_us_from_connecting_again(table: Table) -> None:
    session = table.session()
    table.connect(session)
    table.broker.say(PUBLISH[table.protocol] * 5)
    # The fast client reads all five: more than the next calls ask for.
    assert len(session.receive(PATIENCE_S, 1)) == 1
    table.broker.connections[-1].close()
    session._connection.drop("cut")
    table.connect(session)
    assert session.connected
    table.broker.say(PUBLISH[table.protocol])
    assert sum(len(session.receive(0.1, 1)) for _ in range(8)) >= 1


def test_a_ping_whose_answer_stands_behind_unread_messages_is_not_missed(table: Table) -> None:
    """A slow consumer leaves the answer unread for longer than the keep-alive; the broker is not to blame."""
    session = table.session()
    table.connect(session)
    session._client._keepalive = 1  # shorter than the settings allow
    table.broker.say(PUBLISH[table.protocol] * 3)
    until = time.monotonic() + 4
    while time.monotonic() < until:
        session._connection.turn(0.2, 1)  # the inbox stays as full as that, so nothing more is read
    assert session.connected, table.events[-1]
    assert PINGREQ in table.broker.hear(PINGREQ)


def test_messages_that_keep_coming_are_as_good_as_the_answer_to_a_ping(table: Table) -> None:
    session = table.session()
    table.connect(session)
    session._client._keepalive = 1
    until = time.monotonic() + 4
    while time.monotonic() < until:
        table.broker.say(PUBLISH[table.protocol])
        assert len(session.receive(PATIENCE_S, 1)) == 1
        time.sleep(0.2)
    assert session.connected, table.events[-1]
