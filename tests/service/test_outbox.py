from stepahead.service.outbox import Outbox
from stepahead.wire.delivery import Delivery
from tests.service.engine_double import Clock, FakeSession


def delivery(number: int) -> Delivery:
    return Delivery(b"a", b"1", 2, number, 0)


def test_nothing_leaves_before_its_record_is_durable_and_then_all_in_order() -> None:
    session = FakeSession(Clock())
    outbox = Outbox(session, qos=1, retain=False)
    for number in range(1, 4):
        outbox.add([delivery(number)], [(b"out/%d" % number, b"")], position=number)
    outbox.send(durable=0)
    assert session.order == []
    assert outbox.held
    outbox.send(durable=2)
    assert session.order == ["publish out/1", "publish out/2", "acknowledge", "acknowledge"]
    assert [message.token for message in session.acknowledged] == [1, 2]
    outbox.send(durable=3)
    assert session.order[4:] == ["publish out/3", "acknowledge"]
    assert outbox.forecasts == 3
    assert not outbox.held


def test_with_the_disk_in_trouble_forecasts_go_out_once_and_acknowledgements_wait() -> None:
    session = FakeSession(Clock())
    outbox = Outbox(session, qos=1, retain=False)
    outbox.add([delivery(1)], [(b"out/1", b"")], position=1)
    outbox.send(durable=0, anyway=True)
    outbox.send(durable=0, anyway=True)
    outbox.add([delivery(2)], [(b"out/2", b"")], position=2)
    outbox.send(durable=0, anyway=True)
    assert session.order == ["publish out/1", "publish out/2"]
    outbox.send(durable=2)
    assert [message.token for message in session.acknowledged] == [1, 2]
    assert session.order == ["publish out/1", "publish out/2", "acknowledge", "acknowledge"]


def test_forecasts_go_out_ahead_of_the_disk_unless_they_hang_on_an_earlier_record() -> None:
    session = FakeSession(Clock())
    outbox = Outbox(session, qos=1, retain=False)
    outbox.add([delivery(1)], [(b"out/1", b"")], position=1, binding=0)
    outbox.add([delivery(2)], [(b"out/2", b"")], position=3, binding=2)
    outbox.add([delivery(3)], [(b"out/3", b"")], position=4, binding=2)
    outbox.send(durable=0)
    assert session.order == ["publish out/1"]
    assert (outbox.held, outbox.unsafe) == (True, True)
    outbox.send(durable=2)
    assert session.order[1:] == ["publish out/2", "publish out/3", "acknowledge"]
    assert (outbox.held, outbox.unsafe) == (False, True)
    outbox.send(durable=4)
    assert [message.token for message in session.acknowledged] == [1, 2, 3]
    assert (outbox.held, outbox.unsafe) == (False, False)
