"""No shard is ever served by two: an old epoch neither writes, nor publishes, nor acknowledges."""

import os
import socket
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest

from stepahead.cluster.channel import HEAD, Channel
from stepahead.cluster.epoch import Fence, FencedFilesystem, claim, read_epoch
from stepahead.cluster.shard_session import OwnSession, RoutedSession
from stepahead.contract.errors import FencedError, StateError
from stepahead.contract.settings import BrokerSettings
from stepahead.storage.journal import Journal
from stepahead.storage.record import Record
from stepahead.wire.delivery import Delivery
from stepahead.wire.session import Session
from stepahead.wire.speaker import Speaker
from tests.broker.brokers import Broker
from tests.broker.conftest import MakePeer
from tests.cluster.by_hand import ByHand
from tests.cluster.feed import expected, messages
from tests.cluster.test_owner import Listener, cluster_settings, say


def record(value: float) -> Record:
    return Record("batch", {}, {"value": np.array([value])})


def values(directory: Path) -> list[float]:
    journal = Journal(directory)
    found = [float(each.arrays["value"][0]) for _, each in journal.read(0)]
    journal.close()
    return found


def test_epochs_only_rise(tmp_path: Path) -> None:
    assert read_epoch(tmp_path) == (0, "nobody")
    claim(tmp_path, 3, "a")
    for epoch in (1, 3):
        with pytest.raises(FencedError, match=f"epoch {epoch} of .* cannot begin: a has begun 3"):
            claim(tmp_path, epoch, "b")
    assert read_epoch(tmp_path) == (3, "a")


def test_a_file_that_is_let_go_of_while_it_is_written_keeps_its_handle_until_that_is_over(tmp_path: Path) -> None:
    fence = claim(tmp_path, 1, "a")
    inside, go_on = threading.Event(), threading.Event()

    class Halting(Fence):
        def check(self) -> None:
            super().check()
            inside.set()
            assert go_on.wait(200)

    (tmp_path / "ours").touch()
    disk = FencedFilesystem(Halting(fence.directory, fence.epoch))
    go_on.set()
    file = disk.append(tmp_path / "ours")
    inside.clear()
    go_on.clear()
    writer = threading.Thread(target=file.write, args=(b"late",))
    writer.start()
    assert inside.wait(200)
    disk.abandon()
    with (tmp_path / "another shard's").open("wb"):  # takes the lowest number that is free
        go_on.set()
        writer.join()
    assert (tmp_path / "ours").read_bytes() == b"late"
    assert (tmp_path / "another shard's").read_bytes() == b""
    with pytest.raises(FencedError, match="let go of"):
        file.write(b"more")


def test_a_damaged_epoch_is_refused_by_name(tmp_path: Path) -> None:
    fence = claim(tmp_path, 1, "a")
    (tmp_path / "epoch").write_text("{")
    with pytest.raises(FencedError, match="cannot be read"):
        fence.check()
    with pytest.raises(StateError, match="cannot be read"):
        claim(tmp_path, 2, "b")


def test_an_old_owner_cannot_commit(tmp_path: Path) -> None:
    old = claim(tmp_path, 1, "a")
    disk = FencedFilesystem(old)
    journal = Journal(tmp_path / "journal", filesystem=disk)
    journal.append(record(1))
    assert journal.commit() == 1
    journal.append(record(2))
    claim(tmp_path, 2, "b")
    with pytest.raises(FencedError, match="epoch 1 is over, 2 has begun: b has"):
        journal.commit()
    assert journal.durable_position == 1
    with pytest.raises(FencedError):
        disk.rename(tmp_path / "x", tmp_path / "y")
    with pytest.raises(FencedError):
        disk.remove(tmp_path / "epoch")
    with pytest.raises(FencedError):
        disk.create(tmp_path / "new")
    disk.abandon()
    assert values(tmp_path / "journal") == [1]


def test_what_an_old_owner_writes_too_late_is_superseded_by_the_new_owners_records(tmp_path: Path) -> None:
    """A machine that hangs between the check and the write: the check is passed over here."""
    late = Journal(tmp_path)
    late.append(record(1))
    late.commit()
    new = Journal(tmp_path)
    new.append(record(2))
    new.commit()
    late.append(record(-1))
    late.append(record(-2))
    late.commit()
    new.append(record(3))
    new.commit()
    late.close()
    new.close()
    assert values(tmp_path) == [1, 2, 3]


def test_an_old_owner_can_neither_publish_nor_acknowledge(tmp_path: Path) -> None:
    ours, theirs = map(Channel, socket.socketpair())
    session = Session(BrokerSettings(url="mqtt://127.0.0.1:1"), [], None, print)
    fence = claim(tmp_path, 1, "a")
    routed, own = RoutedSession(Speaker(session), fence), OwnSession(session, fence)
    routed.attach(ours)
    theirs.send([Delivery(b"t", b"1", 2, 7, 0)])
    (message,) = routed.receive(0.0, 10)
    claim(tmp_path, 2, "b")
    for old in (routed, own):
        with pytest.raises(FencedError):
            old.publish_many([(b"forecast", b"{}")], 1, False)
        with pytest.raises(FencedError):
            old.publish("status", b"{}", 1, True)
        with pytest.raises(FencedError):
            old.acknowledge([message])
    with pytest.raises(FencedError):  # it would cut the new owner's connection
        own.receive(0.0, 10)
    assert session.waiting_out == 0
    assert list(theirs.frames()) == []
    routed.drop()
    theirs.close()


def test_acknowledgements_wait_for_the_broker_to_have_the_forecasts(tmp_path: Path) -> None:
    ours, theirs = map(Channel, socket.socketpair())
    session = Session(BrokerSettings(url="mqtt://127.0.0.1:1"), [], None, print)
    routed = RoutedSession(Speaker(session), claim(tmp_path, 1, "a"))
    routed.attach(ours)
    theirs.send([Delivery(b"t", b"1", 2, 7, 0), Delivery(b"t", b"2", 2, 8, 0)])
    first, second = routed.receive(0.0, 10)
    routed.acknowledge([first])
    assert [msgspec.msgpack.decode(frame) for frame in theirs.frames()] == [1]
    routed.publish_many([(b"forecast", b"{}")], 1, False)
    routed.acknowledge([second])
    routed.settle()
    assert routed.owes
    assert list(theirs.frames()) == []
    routed.drop()
    theirs.close()


def test_garbage_on_a_channel_ends_it_and_nothing_else(tmp_path: Path) -> None:
    session = Session(BrokerSettings(url="mqtt://127.0.0.1:1"), [], None, print)
    routed = RoutedSession(Speaker(session), claim(tmp_path, 1, "a"))
    for garbage in (b"\xff" * 64, HEAD.pack(3) + b"abc", HEAD.pack(1) + b"\xc0"):
        ours, theirs = socket.socketpair()
        channel = Channel(ours)
        routed.attach(channel)
        theirs.send(garbage)
        assert routed.receive(0.0, 10) == []
        assert channel.closed is not None
        theirs.close()


def test_two_owners_are_told_to_serve_one_shard_and_only_the_newer_does(
    make_peer: MakePeer, broker: Broker, topic: str, tmp_path: Path
) -> None:
    settings = cluster_settings(broker, topic, 1)
    feed = messages(f"{topic}/in", 2, 40)
    ear, mouth = Listener(make_peer, settings.publish.prefix), make_peer().connected()
    with ByHand(settings, tmp_path, "ab").running() as hand:
        hand.give(0, "a")
        hand.until(lambda: hand.serving(0) == ["a"])
        say(mouth, feed[:40])
        # Nobody takes it from the first one, and the lock is out of the way, as where flock reaches one machine only.
        os.unlink(tmp_path / "shards" / "0000" / "lock")
        hand.give(0, "b", take=False)
        say(mouth, feed[40:])
        hand.until(lambda: hand.serving(0) == ["b"])
        hand.until(lambda: hand.attend("a")["refused"])
        refused = hand.attend("a")["refused"]
        assert hand.serving(0) == ["b"]
        assert "epoch 1 is over, 2 has begun: b has" in refused[0][1]
        del hand.wanted["a"][0]
        ear.until(len(feed))
        hand.until(hand.settled)
    assert ear.found == expected(settings, feed)
