"""`stepahead cluster run` on real Ray: the forecasts of one process, through kills of actors and nodes."""

import os
import random
import signal
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from stepahead.cluster.sharding import ShardRule
from tests.broker.brokers import Broker, free_port
from tests.broker.conftest import MakePeer
from tests.broker.test_run_recording import settings_of
from tests.cluster.feed import SMALL, Feed, expected
from tests.cluster.processes import LOOPBACK, descendants, listening
from tests.cluster.running import Nodes, RunningCluster

SHARDS, SENSORS = 8, 16
BACK_S = 10.0


def assignments(broker: Broker, topic: str, *more: str) -> tuple[str, ...]:
    return (
        *SMALL,
        f"broker.url={broker.url('3.1.1')}",
        f"broker.client_id=ray-{topic}",
        f"subscriptions=[{{filter='{topic}/in/#'}}]",
        f"publish.prefix={topic}/out",
        f"cluster.shards={SHARDS}",
        *more,
    )


def test_several_actors_give_the_forecasts_of_one_process_to_the_bit(
    make_peer: MakePeer, broker: Broker, topic: str, tmp_path: Path, long_form: bool
) -> None:
    for actors in (2, 4) if long_form else (2,):
        (tmp_path / str(actors)).mkdir()
        compare(make_peer, broker, f"{topic}-{actors}", tmp_path / str(actors), actors, 400 if long_form else 60)


def compare(make_peer: MakePeer, broker: Broker, topic: str, tmp_path: Path, actors: int, rows: int) -> None:
    port = free_port()
    ours = assignments(broker, topic, f"cluster.actors={actors}", "http.enabled=true", f"http.port={port}")
    feed = Feed(f"{topic}/in", SENSORS, rows)
    with RunningCluster(tmp_path, make_peer, ours, f"{topic}/out") as cluster:
        cluster.until_whole(actors)
        while feed.sent < len(feed.all):
            cluster.play(feed, 20)
        cluster.answered(feed)
        assert len(set(cluster.status["placement"].values())) > 1
        told = urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
        assert f"stepahead_cluster_shards_served {SHARDS}.0" in told
        rule = ShardRule(settings_of(ours))
        fed = {rule.of(topic) for topic, _ in feed.all}
        assert sum(line.startswith("stepahead_cluster_shard_lag_seconds{") for line in told.splitlines()) == len(fed)
        assert urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10).status == 200
        addresses = listening(descendants(cluster.process.pid))
        assert len(addresses) >= actors  # Ray's own, and each owner's for the router
        assert set(addresses) <= LOOPBACK, "strangers could reach Ray"
        shown = cluster.show()
        assert shown.returncode == 0, shown.stderr
        assert f"{SHARDS} of {SHARDS} shards served by {actors} owners on 1 nodes" in shown.stdout
        assert cluster.end() == 0
    assert cluster.found == expected(settings_of(ours), feed.all)
    models = {forecast["model"] for forecast in cluster.found.values()}
    print(f"{actors} actors: {len(cluster.found)} forecasts equal, model versions {sorted(models)}")
    assert max(models) >= 1


class Trial:
    """A cluster on several nodes, a feed, and what each blow did to it."""

    def __init__(self, cluster: RunningCluster, nodes: Nodes, feed: Feed) -> None:
        self.cluster, self.nodes, self.feed = cluster, nodes, feed
        self.rng = random.Random(11)
        self.back_s: dict[str, list[float]] = {}

    def strike(self, kind: str, blow: list[tuple[int, int]] | None = None, node: str | None = None) -> None:
        """Kill in the midst of readings; every reading, also of the next row, must be answered."""
        cluster, feed = self.cluster, self.feed
        cluster.play(feed, 2)
        began = time.monotonic()
        for pid, number in blow or []:
            os.kill(pid, number)
        if node is not None:
            self.nodes.kill(node)
        cluster.play(feed, 1)
        cluster.answered(feed)
        self.back_s.setdefault(kind, []).append(time.monotonic() - began)
        # The status comes once a second: wait for one that knows of it.
        cluster.until(lambda: time.monotonic() > began + 2)
        cluster.status = {}

    def owner_on(self, nodes: list[str]) -> str:
        owners = self.cluster.status["owners"]
        return self.rng.choice([name for name, owner in owners.items() if owner["node"] in nodes])


@pytest.mark.timeout(3600)
def test_kills_of_actors_and_nodes_lose_nothing_and_leave_every_forecast_as_it_was(
    make_peer: MakePeer, broker: Broker, topic: str, tmp_path: Path, long_form: bool
) -> None:
    times = 10 if long_form else 1
    ours = assignments(broker, topic)
    feed = Feed(f"{topic}/in", SENSORS, 20 + 40 * times)
    with Nodes(tmp_path, 2) as nodes, RunningCluster(tmp_path, make_peer, ours, f"{topic}/out", nodes) as cluster:
        cluster.until_whole(2)
        trial = Trial(cluster, nodes, feed)
        cluster.play(feed, 8)
        cluster.answered(feed)
        for _ in range(times):
            victim = trial.rng.choice(sorted(cluster.status["owners"]))
            trial.strike("an actor", [(cluster.pid_of(victim), signal.SIGKILL)])
            cluster.until_whole(2)

            before = dict(cluster.status["placement"])
            new = nodes.add()
            cluster.play(feed, 1)
            cluster.until(
                lambda new=new: any(o["node"] == new and o["up"] for o in cluster.status["owners"].values()), 90
            )
            # Its shards move just now: kill one who gives.
            giver = trial.rng.choice([n for n, o in cluster.status["owners"].items() if o["node"] != new])
            trial.strike("amid a rebalance", [(cluster.pid_of(giver), signal.SIGKILL)])
            cluster.until_whole(3)
            after = dict(cluster.status["placement"])
            newcomer = next(name for name, owner in cluster.status["owners"].items() if owner["node"] == new)
            moved = {shard for shard in after if after[shard] != before[shard]}
            assert {after[shard] for shard in moved} <= {newcomer}
            assert moved, "the newcomer has got nothing"

            trial.strike("a node", node=new)
            cluster.until(lambda name=newcomer: name not in cluster.status.get("owners", {name}))
            cluster.until_whole(2)
            assert cluster.status["placement"] == before
        while feed.sent < len(feed.all):
            cluster.play(feed, 10)
        cluster.answered(feed)
        assert cluster.end() == 0
    worst = {kind: f"{len(all_s)} times, back in {max(all_s):.1f} s at most" for kind, all_s in trial.back_s.items()}
    print(f"{len(cluster.found)} forecasts of {len(feed.all)} readings:", worst)
    assert cluster.found == expected(settings_of(ours), feed.all)
    assert max(max(all_s) for all_s in trial.back_s.values()) <= BACK_S
