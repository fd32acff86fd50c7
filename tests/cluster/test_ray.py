"""`stepahead cluster run` on real Ray: the forecasts of one process, through kills of actors and nodes."""

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from stepahead.cluster.directory import ClusterDirectory
from stepahead.cluster.sharding import ShardRule
from stepahead.cluster.shards import place
from tests.broker.brokers import Broker, free_port
from tests.broker.conftest import MakePeer
from tests.broker.test_run_recording import settings_of
from tests.cluster.feed import SMALL, Feed, expected
from tests.cluster.processes import LOOPBACK, descendants, listening
from tests.cluster.running import READY_S, Nodes, RunningCluster
from tests.cluster.test_shared_weights import SHARED, journal_leads_to_the_state, replayed

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
        "cluster.silent_s=120",  # on a machine that is starved, who is slow is not dead
        *more,
    )


@pytest.mark.timeout(1200)
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
        # By the hash of their names, which are new each time, one may get all of them once in a while.
        assert set(cluster.status["placement"].values()) == set(place(SHARDS, cluster.status["owners"]).values())
        fed = {ShardRule(settings_of(ours)).of(topic) for topic, _ in feed.all}

        def told() -> list[str]:
            metrics = urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60).read().decode()
            return [line for line in metrics.splitlines() if line.startswith("stepahead_cluster_shard")]

        # Figures come twice a second.
        cluster.until(
            lambda: sum(line.startswith("stepahead_cluster_shard_lag_seconds{") for line in told()) == len(fed)
        )
        assert f"stepahead_cluster_shards_served {SHARDS}.0" in told()

        def ready() -> bool:
            try:
                return bool(urlopen(f"http://127.0.0.1:{port}/readyz", timeout=60).status == 200)
            except HTTPError:
                return False

        cluster.until(ready)  # what has been answered late counts until its acknowledgement has been told of

        def rows() -> int:
            page = urlopen(f"http://127.0.0.1:{port}/api/now?view=overview&size=200", timeout=60)
            return len(json.loads(page.read())["body"]["rows"])

        cluster.until(lambda: rows() == SENSORS)  # who does not answer within a second is left out
        addresses = listening(descendants(cluster.process.pid))
        assert len(addresses) >= actors  # Ray's own, and each owner's for the router
        assert set(addresses) <= LOOPBACK, "strangers could reach Ray"
        shown = cluster.show()
        assert shown.returncode == 0, shown.stdout + shown.stderr
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
        for pid, _ in blow or []:
            cluster.until_noticed(pid)

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
        trial, moves = Trial(cluster, nodes, feed), 0
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
                lambda new=new: any(o["node"] == new and o["up"] for o in cluster.status["owners"].values()), READY_S
            )
            # Its shards move just now: kill one who gives.
            giver = trial.rng.choice([n for n, o in cluster.status["owners"].items() if o["node"] != new])
            trial.strike("amid a rebalance", [(cluster.pid_of(giver), signal.SIGKILL)])
            cluster.until_whole(3)
            after = dict(cluster.status["placement"])
            newcomer = next(name for name, owner in cluster.status["owners"].items() if owner["node"] == new)
            moved = {shard for shard in after if after[shard] != before[shard]}
            assert {after[shard] for shard in moved} <= {newcomer}
            moves += len(moved)  # by the hash of its name, which is new each time, it may get none once in a while

            trial.strike("a node", node=new)
            cluster.until(lambda name=newcomer: name not in cluster.status.get("owners", {name}), READY_S)
            cluster.until_whole(2)
            assert cluster.status["placement"] == before
        while feed.sent < len(feed.all):
            cluster.play(feed, 10)
        cluster.answered(feed)
        another = cluster.another(tmp_path / "another")
        assert another.returncode == 1
        assert "this Ray has a stepahead cluster already: give each cluster a Ray of its own" in another.stderr
        assert cluster.end() == 0
    worst = {kind: f"{len(all_s)} times, back in {max(all_s):.1f} s at most" for kind, all_s in trial.back_s.items()}
    print(f"{len(cluster.found)} forecasts of {len(feed.all)} readings:", worst)
    assert cluster.found == expected(settings_of(ours), feed.all)
    if long_form:
        assert moves, "no newcomer has ever got anything"
        assert max(max(all_s) for all_s in trial.back_s.values()) <= BACK_S


@pytest.mark.timeout(1200)
def test_kills_of_trainer_and_owner_leave_every_journal_leading_to_its_state(
    make_peer: MakePeer, broker: Broker, topic: str, tmp_path: Path
) -> None:
    ours = assignments(broker, topic, *SHARED, "cluster.shards=4", "cluster.actors=2")
    feed, settings = Feed(f"{topic}/in", SENSORS, 2000), settings_of(ours)
    copy, state = tmp_path / "copy", tmp_path / "state"
    with RunningCluster(tmp_path, make_peer, ours, f"{topic}/out") as cluster:
        cluster.until_whole(2)

        def trainer_reaches(version: int) -> None:
            """Play until the trainer has handed out a version and every shard with series has it, or a newer one."""
            while handed_out() < version or min(models().values(), default=0) < version:
                assert feed.sent < len(feed.all), cluster.status["trainer"]
                cluster.play(feed, 2)
                cluster.answered(feed)

        def handed_out() -> int:
            return int(cluster.status["trainer"].get("versions", {}).get("default", 0))

        def models() -> dict[str, int]:
            """Series -> newest version that has made a forecast."""
            newest: dict[str, int] = {}
            for forecast in cluster.found.values():
                newest[forecast["series"]] = max(forecast["model"], newest.get(forecast["series"], 0))
            return newest

        def another_trainer() -> bool:
            """Whether there is one, with what the one before it wrote down: it answers before it has read that."""
            trainer = cluster.status["trainer"]
            return bool(trainer["up"] and trainer["pid"] != pid and trainer["versions"])

        cluster.until(lambda: cluster.status["trainer"]["up"], READY_S)
        trainer_reaches(2)
        pid = cluster.status["trainer"]["pid"]
        os.kill(pid, signal.SIGKILL)
        cluster.play(feed, 5)
        cluster.answered(feed)  # whoever waits for the trainer would not answer
        victim = cluster.pid_of(sorted(cluster.status["owners"])[0])
        os.kill(victim, signal.SIGKILL)
        cluster.play(feed, 5)
        cluster.answered(feed)
        cluster.until_noticed(victim)
        cluster.until(another_trainer)
        cluster.until_whole(2)
        trainer_reaches(handed_out() + 1)
        while len(cluster.status["trainer"]["shares"]) < 2:  # the first to come may be enough for a fine-tune alone
            assert feed.sent < len(feed.all), cluster.status["trainer"]
            cluster.play(feed, 2)
            cluster.answered(feed)

        def copied() -> bool:
            """Whether all that was published is in a copy of the journals: forecasts may be told before that."""
            shutil.rmtree(copy, ignore_errors=True)
            try:
                shutil.copytree(state / "shards", copy / "shards")
            except OSError:  # what was listed has got another name
                return False
            shards = [ClusterDirectory.shard(copy, shard) for shard in range(4)]
            states = [replayed(settings, directory, shard, whole=False)[0] for shard, directory in enumerate(shards)]
            return sum(each["position"] for each in states) == feed.sent

        cluster.until(copied)
        assert cluster.end() == 0
    adoptions = [journal_leads_to_the_state(settings, copy, state, shard, whole=False) for shard in range(4)]
    assert all(adoptions[shard] for shard in {ShardRule(settings).of(topic) for topic, _ in feed.all})
    told: dict[str, int] = {}
    for forecast in sorted(cluster.found.values(), key=lambda forecast: int(forecast["issued_at"])):
        assert forecast["model"] >= told.get(forecast["series"], 0), "the weights went back"
        told[forecast["series"]] = forecast["model"]


@pytest.mark.timeout(1200)
def test_kills_of_the_only_owner_are_answered_by_the_spare(
    make_peer: MakePeer, broker: Broker, topic: str, tmp_path: Path, long_form: bool
) -> None:
    times = 10 if long_form else 1
    ours = assignments(broker, topic)
    feed, back_s = Feed(f"{topic}/in", SENSORS, 10 + 20 * times), list[float]()
    with RunningCluster(tmp_path, make_peer, ours, f"{topic}/out") as cluster:
        for _ in range(times):
            cluster.until_whole(1)
            cluster.until(lambda: sum(owner["up"] for owner in cluster.status["owners"].values()) == 2, READY_S)
            cluster.play(feed, 10)
            (owner,) = set(cluster.status["placement"].values())
            pid, began = cluster.pid_of(owner), time.monotonic()
            os.kill(pid, signal.SIGKILL)
            cluster.play(feed, 5)
            cluster.answered(feed)
            back_s.append(time.monotonic() - began)
            cluster.until_noticed(pid)
            cluster.until_whole(1)
        while feed.sent < len(feed.all):
            cluster.play(feed, 5)
        cluster.answered(feed)
        assert cluster.end() == 0
    print(f"the only owner: {times} times, back in {', '.join(f'{each:.1f}' for each in back_s)} s")
    assert cluster.found == expected(settings_of(ours), feed.all)
    if long_form:
        assert max(back_s) <= BACK_S
