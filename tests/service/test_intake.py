from stepahead.service.intake import BROKER_MESSAGES, Intake
from stepahead.wire.delivery import Delivery
from tests.service.engine_double import Clock, FakeSession


def fill(session: FakeSession, count: int, flags: int = 2) -> None:
    session.inbox.extend(Delivery(b"a", b"%d" % i, flags, 65_536 + i, 0) for i in range(count))


def make(queue_messages: int = 10) -> tuple[Intake, FakeSession]:
    clock = Clock()
    session = FakeSession(clock)
    return Intake(session, queue_messages, clock), session


def test_all_that_is_there_is_read_though_little_is_taken() -> None:
    intake, session = make()
    fill(session, 5000)
    intake.read(0.1, enough=8, delay_s=0)
    assert not session.inbox
    assert [message.payload for message in intake.take(3)] == [b"0", b"1", b"2"]
    assert [message.payload for message in intake.take(2)] == [b"3", b"4"]
    assert len(intake) == 4995


def test_reading_pauses_when_more_waits_than_a_broker_may_send() -> None:
    intake, session = make(queue_messages=10)
    fill(session, BROKER_MESSAGES + 500)
    intake.read(0.1, enough=8, delay_s=0)
    assert len(intake) == BROKER_MESSAGES + 10
    intake.read(0.1, enough=8, delay_s=0)
    assert len(intake) == BROKER_MESSAGES + 10
    assert session.flushes  # which keeps the connection alive
    intake.take(100)
    intake.read(0.1, enough=8, delay_s=0)
    assert len(session.inbox) == 390


def test_large_payloads_pause_reading_by_their_bytes() -> None:
    intake, session = make()
    for _ in range(80):
        session.inbox.append(Delivery(b"a", b"x" * 2**20, 2, 65_537, 0))
        intake.read(0.0, enough=1, delay_s=0)
    assert 64 <= len(intake) <= 66


def test_waiting_is_for_the_first_message_only() -> None:
    intake, session = make()
    intake.read(0.25, enough=8, delay_s=0)
    assert session.waits == [0.25]
    fill(session, 2)
    intake.read(0.25, enough=8, delay_s=0)
    intake.read(0.25, enough=8, delay_s=0)
    assert session.waits[1:] == [0.25, 0.0]


def delivery(epoch: int, packet: int, flags: int = 2, payload: bytes | None = None) -> Delivery:
    return Delivery(b"a", b"%d" % packet if payload is None else payload, flags, epoch * 65_536 + packet, 0)


def test_what_waits_when_the_connection_breaks_is_answered_once_and_acknowledged_on_the_next() -> None:
    intake, session = make()
    session.inbox.extend(delivery(1, packet) for packet in range(1, 6))
    intake.read(0.0, enough=8, delay_s=0)
    assert [message.token for message in intake.take(2)] == [65_537, 65_538]
    intake.connected_anew(session_present=True)
    # Two that were taken and not acknowledged, two that wait; the broker lost one that waits, and goes on.
    session.inbox.extend(delivery(2, packet, flags=10) for packet in (1, 2, 3, 5))
    session.inbox.extend(delivery(2, packet) for packet in (6, 7))
    intake.read(0.0, enough=8, delay_s=0)
    taken = intake.take(100)
    assert [message.payload for message in taken] == [b"3", b"4", b"5", b"1", b"2", b"6", b"7"]
    assert [message.token >> 16 for message in taken] == [2, 1, 2, 2, 2, 2, 2]
    assert not session.inbox


def test_another_message_with_the_same_identifier_is_another_message() -> None:
    for session_present, payload in ((True, b"other"), (False, b"3")):
        intake, session = make()
        session.inbox.append(delivery(1, 3))
        intake.read(0.0, enough=8, delay_s=0)
        intake.connected_anew(session_present)
        session.inbox.append(delivery(2, 3, payload=payload))
        session.inbox.append(Delivery(b"a", b"3", 0, 0, 0))
        intake.read(0.0, enough=8, delay_s=0)
        assert [message.payload for message in intake.take(10)] == [b"3", payload, b"3"]
