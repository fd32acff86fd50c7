"""Shards served by owners in this process: the same forecasts as one process, through moves, and never by two."""

import json
from pathlib import Path

import pytest
import torch

from stepahead.cluster.owner import Owner
from stepahead.contract.settings import Settings
from tests.broker.brokers import Broker
from tests.broker.conftest import MakePeer, Peer
from tests.broker.test_run_recording import settings_of
from tests.cluster.by_hand import ByHand
from tests.cluster.feed import SMALL, expected, messages


def cluster_settings(broker: Broker, topic: str, shards: int, *more: str) -> Settings:
    return settings_of(
        (
            *SMALL,
            f"broker.url={broker.url('3.1.1')}",
            f"broker.client_id=cluster-{topic}",
            f"subscriptions=[{{filter='{topic}/in/#'}}]",
            f"publish.prefix={topic}/out",
            f"cluster.shards={shards}",
            *more,
        )
    )


class Listener:
    """Hears forecasts, and says whether one that came again differs."""

    def __init__(self, make_peer: MakePeer, prefix: str) -> None:
        self.peer: Peer = make_peer([f"{prefix}/forecast/#"]).subscribed()
        self.found: dict[str, dict[str, object]] = {}
        self.heard = 0

    def until(self, count: int, seconds: float = 180.0) -> None:
        self.peer.until(lambda: self._take() >= count, seconds)

    def _take(self) -> int:
        for message in self.peer.kept:
            forecast = json.loads(message.payload)
            assert self.found.setdefault(forecast["id"], forecast) == forecast, "published again, and different"
            self.heard += 1
        self.peer.kept.clear()
        return len(self.found)


def say(mouth: Peer, feed: list[tuple[bytes, bytes]]) -> None:
    mouth.session.publish_many(feed, 1, False)
    assert mouth.session.flush(120)


def test_shards_that_move_while_readings_come_give_the_forecasts_of_one_process(
    make_peer: MakePeer, broker: Broker, topic: str, tmp_path: Path
) -> None:
    settings = cluster_settings(broker, topic, 4)
    feed = messages(f"{topic}/in", 8, 60)
    ear, mouth = Listener(make_peer, settings.publish.prefix), make_peer().connected()
    with ByHand(settings, tmp_path, "ab").running() as hand:
        for shard in range(4):
            hand.give(shard, "ab"[shard % 2])
        hand.until(lambda: all(hand.serving(shard) for shard in range(4)))
        third = len(feed) // 3
        say(mouth, feed[:third])
        hand.give(0, "b")
        say(mouth, feed[third : 2 * third])
        hand.add("c")
        hand.give(3, "c")
        hand.give(1, "c")
        say(mouth, feed[2 * third :])
        ear.until(len(feed))
        hand.until(hand.settled)
    assert ear.found == expected(settings, feed)
    assert max(int(str(forecast["model"])) for forecast in ear.found.values()) >= 1


def test_an_owner_rounds_its_products_as_the_thread_does_that_repeats_its_journal(
    broker: Broker, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MKL, with another number of threads, adds five to seven rows up in another order; each thread has its number."""
    draw = torch.Generator().manual_seed(0)
    cases = [(torch.randn(1, n, 26, generator=draw), torch.randn(1, 26, 16, generator=draw)) for n in range(1, 20)]

    def products() -> list[bytes]:
        return [torch.bmm(*case).numpy().tobytes() for case in cases]

    theirs: list[list[bytes]] = []
    monkeypatch.setattr(Owner, "_reconcile", lambda owner: theirs.append(products()))
    with ByHand(cluster_settings(broker, topic, 1), tmp_path, "a").running() as hand:
        hand.until(lambda: theirs)
    assert theirs[0] == products()


def test_an_owner_that_is_told_to_stop_waits_for_nothing_between_two_shards(
    broker: Broker, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepahead.cluster.owner.ALL_EVERY_S", 3600.0)  # nobody wakes it
    more = (f"subscriptions=[{{filter='{topic}/in/{{shard}}/+'}}]", "cluster.readings=filters")
    with ByHand(cluster_settings(broker, topic, 4, *more), tmp_path, "a").running() as hand:
        for shard in range(4):
            hand.give(shard, "a")
        hand.until(lambda: all(hand.serving(shard) for shard in range(4)))
        assert hand.owners.pop("a").stop(30.0)


def test_shards_that_read_by_filters_of_their_own_give_the_forecasts_of_one_process(
    make_peer: MakePeer, broker: Broker, topic: str, tmp_path: Path
) -> None:
    more = (f"subscriptions=[{{filter='{topic}/in/{{shard}}/+'}}]", "cluster.readings=filters")
    settings = cluster_settings(broker, topic, 2, *more)
    feeds = [messages(f"{topic}/in/{shard}", 3, 50, seed=shard) for shard in range(2)]
    feed = [message for pair in zip(*feeds, strict=True) for message in pair]
    ear, mouth = Listener(make_peer, settings.publish.prefix), make_peer().connected()
    with ByHand(settings, tmp_path, "ab").running() as hand:
        hand.give(0, "a")
        hand.give(1, "b")
        # The broker keeps a shard's session from its first subscription on.
        hand.until(lambda: hand.log_text().count("subscribed to") == 2)
        say(mouth, feed[:100])
        hand.give(0, "b")  # with all that is on its way
        say(mouth, feed[100:200])
        hand.give(1, "a")
        say(mouth, feed[200:])
        ear.until(len(feed))
    by_level = settings.model_copy(update={"cluster": settings.cluster.model_copy(update={"shards": 1})})
    assert ear.found == expected(by_level, feeds[0]) | expected(by_level, feeds[1])


def test_a_router_that_dies_loses_nothing(make_peer: MakePeer, broker: Broker, topic: str, tmp_path: Path) -> None:
    settings = cluster_settings(broker, topic, 4)
    feed = messages(f"{topic}/in", 8, 40)
    ear, mouth = Listener(make_peer, settings.publish.prefix), make_peer().connected()
    with ByHand(settings, tmp_path, "ab").running() as hand:
        for shard in range(4):
            hand.give(shard, "ab"[shard % 2])
        hand.until(lambda: all(hand.serving(shard) for shard in range(4)))
        for part in range(4):
            say(mouth, feed[80 * part : 80 * (part + 1)])
            hand.replace_router()
        ear.until(len(feed))
        hand.until(hand.settled)
    assert ear.found == expected(settings, feed)


def test_shared_subscriptions_answer_every_reading_whichever_shard_gets_it(
    make_peer: MakePeer, broker: Broker, topic: str, tmp_path: Path
) -> None:
    """Mosquitto deals messages out in turn, not by topic: so forecasts differ, but all are there."""
    more = ("broker.protocol='5'", "cluster.readings=shared", "cluster.hashing_broker=emqx")
    settings = cluster_settings(broker, topic, 2, *more)
    feed = messages(f"{topic}/in", 4, 20)
    ear, mouth = Listener(make_peer, settings.publish.prefix), make_peer().connected()
    with ByHand(settings, tmp_path, "ab").running() as hand:
        hand.give(0, "a")
        hand.give(1, "b")
        hand.until(lambda: hand.log_text().count("subscribed to") == 2)
        say(mouth, feed)
        ear.until(len(feed))
        readings = [hand.attend(name)["shards"] for name in "ab"]
    assert set(ear.found) == set(expected(settings, feed))
    assert all(readings)
