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


def test_what_will_be_delivered_again_is_dropped_and_the_rest_kept() -> None:
    for session_present, left in ((True, 4), (False, 7)):
        intake, session = make()
        fill(session, 3, flags=2)
        fill(session, 4, flags=0)
        intake.read(0.0, enough=8, delay_s=0)
        intake.connected_anew(session_present)
        assert len(intake) == left
