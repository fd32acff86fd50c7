"""The controller: knows the nodes, keeps an owner on each, places the shards, and tells how all of it goes."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from stepahead.cluster.directory import ClusterDirectory
from stepahead.cluster.epoch import read_epoch
from stepahead.cluster.placement import Placement
from stepahead.contract.settings import Settings
from stepahead.telemetry.log import Log

__all__ = ["Controller", "Hands"]

TICK_S = 0.1
CALM_S = 0.5
"""Between two looks while everybody is there and serves: a call costs both sides about a millisecond."""
NODES_EVERY_S = 0.5
GATHER_S = 20.0
"""So long the first placement waits for owners that are still starting."""
PAGE_S = 1.0
"""So long the page waits for an owner."""
LONGEST_TICK_S = 1.0
"""More than this between two looks is not the others' silence but our own: we did not run. It does not count."""
ROUTER, TRAINER = "router", "trainer"
TUNE_S = 30.0
"""So much longer than a fine-tune the trainer may be silent: no forecast waits for it."""


class Hands(Protocol):
    """By what the controller starts and calls processes; see `actors.Crew`."""

    def nodes(self) -> list[str]:
        """Ids of the nodes that are alive."""

    def owner(self, name: str, node: str) -> Any:
        """Start an owner on a node."""

    def router(self) -> Any:
        """Start the router."""

    def trainer(self) -> Any:
        """Start the trainer of all shards."""

    def call(self, actor: Any, method: str, *arguments: Any) -> Any:
        """Begin a call."""

    def answers(self, calls: Mapping[str, Any], wait_s: float) -> dict[str, Any]:
        """Name -> answer of each call that is over by then; None = the process is gone."""

    def kill(self, actor: Any) -> None:
        """End a process that hangs; it is started again."""

    def forget(self, actor: Any) -> None:
        """End a process for good."""


class Member:
    """A process that we started: an owner, the router or the trainer."""

    def __init__(self, actor: Any, node: str, spare: bool = False) -> None:
        self.actor = actor
        self.node = node
        self.spare = spare
        """It serves only while no other owner is there."""
        self.call: Any = None
        self.silent_s = 0.0
        """How long we have listened for the answer to the call that is under way."""
        self.report: Mapping[str, Any] | None = None
        """The newest answer; None while it does not answer."""
        self.restarts = 0
        self.pid: int | None = None


class Controller:
    """Turned by one thread; `status` may be asked by others.

    Args:
        settings: of the cluster.
        root: the cluster's state directory.
        hands: starts and calls processes.
        log: told of every change.
        clock: monotonic seconds.
        sleep: waits.
    """

    def __init__(
        self,
        settings: Settings,
        root: Path,
        hands: Hands,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._hands = hands
        self._log = log
        self._clock = clock
        self._sleep = sleep
        shards = range(settings.cluster.shards)
        self._placement = Placement({s: read_epoch(ClusterDirectory.shard(root, s))[0] for s in shards})
        self._members: dict[str, Member] = {}
        self._router: Member | None = None
        self._trainer: Member | None = None
        self._next_nodes_s = 0.0
        self._heard_s = clock()
        self._began_s = clock()
        self._served: dict[int, Mapping[str, Any]] = {}
        self._whole = False
        self._calm = False
        self._begun = False
        self.failed: str | None = None
        """What ended a process in a way that starting it again cannot mend."""

    def turn(self) -> None:
        """Look who is there, decide, tell; ten times a second, twice when nothing changes."""
        now_s = self._clock()
        if now_s >= self._next_nodes_s:
            self._next_nodes_s = now_s + NODES_EVERY_S
            self._look_at_nodes()
        reports = self._reports()
        expected = [name for name, member in self._members.items() if not member.spare]
        if self._begun or reports.keys() >= set(expected) or now_s - self._began_s > GATHER_S:
            self._begun = True
            spares = [name for name, member in self._members.items() if member.spare]
            wanted = self._placement.decide(reports, spares)
        else:
            wanted = {}  # who comes a second later would only have shards moved to
        self._ask(wanted)
        self._hear()
        self._note()

    def _look_at_nodes(self) -> None:
        nodes = self._hands.nodes()
        for node in nodes:
            for number in range(self._settings.cluster.actors):
                name = f"owner-{node[:10]}-{number}"
                if name not in self._members:
                    self._members[name] = Member(self._hands.owner(name, node), node)
                    self._log.info("owner_added", owner=name, node=node)
        self._keep_a_spare(nodes)
        for name, member in list(self._members.items()):
            if member.node not in nodes:
                del self._members[name]
                self._placement.lost(name)
                self._log.warning("node_lost", owner=name, node=member.node)
        if self._router is None and self._settings.cluster.readings == "router":
            self._router = Member(self._hands.router(), "")
        if self._trainer is None and self._settings.cluster.weights == "shared" and self._settings.learning.enabled:
            self._trainer = Member(self._hands.trainer(), "")

    def _keep_a_spare(self, nodes: Sequence[str]) -> None:
        """Beside an owner that is alone: a process takes ten seconds and more to start on a busy machine."""
        cluster = self._settings.cluster
        alone = cluster.spare and cluster.actors == 1 and len(nodes) == 1
        if alone and f"owner-{nodes[0][:10]}-spare" not in self._members and self._begun:
            name = f"owner-{nodes[0][:10]}-spare"
            self._members[name] = Member(self._hands.owner(name, nodes[0]), nodes[0], spare=True)
            self._log.info("spare_added", owner=name)
        for name, member in list(self._members.items()):
            if member.spare and not alone and member.report is not None and not member.report["shards"]:
                del self._members[name]
                self._placement.lost(name)
                self._hands.forget(member.actor)
                self._log.info("spare_removed", owner=name)

    def _reports(self) -> dict[str, Mapping[str, Any]]:
        return {name: member.report for name, member in self._members.items() if member.report is not None}

    def _ask(self, wanted: Mapping[str, Mapping[int, int]]) -> None:
        """Call everybody who has answered; owners with what they are to serve, the router with who serves what."""
        trainer = self._trainer
        told = None if trainer is None or trainer.report is None else trainer.report["address"]
        training = (told, sum(figures["series"] > 0 for figures in self._served.values()))
        for name, member in self._members.items():
            if member.call is None:
                member.call = self._hands.call(member.actor, "attend", wanted.get(name, {}), training)
        if trainer is not None and trainer.call is None:
            trainer.call = self._hands.call(trainer.actor, "tend")
        router = self._router
        if router is not None and router.call is None:
            addresses = {
                shard: (*member.report["address"], figures["epoch"])
                for member in self._members.values()
                if member.report is not None and member.report["address"] is not None
                for shard, figures in member.report["shards"].items()
            }
            router.call = self._hands.call(router.actor, "direct", addresses)

    def _hear(self) -> None:
        everybody = dict(self._members)
        everybody |= {
            name: member for name, member in ((ROUTER, self._router), (TRAINER, self._trainer)) if member is not None
        }
        calls = {name: member.call for name, member in everybody.items() if member.call is not None}
        began_s = self._clock()
        answers = self._hands.answers(calls, TICK_S)
        now_s = self._clock()
        tick_s = CALM_S if self._calm else TICK_S
        if now_s - began_s < tick_s:
            self._sleep(tick_s - (now_s - began_s))
        listened_s, self._heard_s = min(now_s - self._heard_s, LONGEST_TICK_S), now_s
        for name, member in everybody.items():
            if name in answers:
                member.call, member.silent_s = None, 0.0
                self._answered(name, member, answers[name])
            elif member.report is not None:
                member.silent_s += listened_s
                if member.silent_s > self._patience_s(name):
                    self._log.error("silent", process=name, seconds=member.silent_s)
                    self._gone(name, member)
                    self._hands.kill(member.actor)

    def _patience_s(self, name: str) -> float:
        """How long a process may be silent."""
        patience_s = self._settings.cluster.silent_s
        return patience_s + self._settings.learning.max_seconds + TUNE_S if name == TRAINER else patience_s

    def _answered(self, name: str, member: Member, report: Mapping[str, Any] | None) -> None:
        if report is None:
            if member.report is not None:
                self._log.error("died", process=name, pid=member.pid)
            self._gone(name, member)
            return
        if member.pid is not None and report["pid"] != member.pid:
            member.restarts += 1
            self._gone(name, member)
            self._log.info("restarted", process=name, pid=report["pid"])
        member.pid, member.report = report["pid"], report
        if report["failed"] is not None and name != TRAINER:  # forecasts go on without it
            self.failed = f"{name}: {report['failed']}"

    def _gone(self, name: str, member: Member) -> None:
        """Nobody serves what a process served."""
        member.report = None
        self._placement.lost(name)

    def _note(self) -> None:
        """Keep the newest figures of each shard, also while nobody serves it."""
        for member in self._members.values():
            if member.report is not None:
                self._served.update(member.report["shards"])
        serving = len(self._serving())
        whole = serving == len(self._placement.holdings)
        router = self._router
        routed = router is None or (router.report is not None and router.report["shards_connected"] == serving)
        self._calm = whole and routed and all(member.report is not None for member in self._members.values())
        if whole != self._whole:
            self._whole = whole
            self._log.info("cluster", serving=serving, shards=len(self._placement.holdings))

    def _serving(self) -> dict[int, str]:
        """Shard -> who serves it now."""
        return {
            shard: name
            for name, member in list(self._members.items())
            if member.report is not None
            for shard in member.report["shards"]
        }

    def status(self) -> dict[str, Any]:
        """Nodes, owners, shards, lag and what is wrong, as plain values."""
        serving, router = self._serving(), self._router
        waiting: Mapping[int, int] = {}
        told: Mapping[str, Any] = {}
        if router is not None and router.report is not None:
            told, waiting = router.report, router.report["waiting_of"]
        shards = {}
        for shard, holding in self._placement.holdings.items():
            figures = self._served.get(shard, {})
            shards[shard] = {
                "owner": serving.get(shard),
                "state": "served" if shard in serving else "moving" if holding.owner else "unserved",
                "epoch": holding.epoch,
                "moves": max(0, holding.moves),
                "lag_s": figures.get("lag_s"),
                "waiting": figures.get("waiting", 0) + waiting.get(shard, 0),
                "series": figures.get("series", 0),
                "readings": figures.get("readings", 0),
                "forecasts": figures.get("forecasts", 0),
                "trouble": figures.get("trouble"),
                "dropped": figures.get("dropped", {}),
                "model": figures.get("model", 0),
            }
        owners = {
            name: {
                "node": member.node,
                "pid": member.pid,
                "up": member.report is not None,
                "restarts": member.restarts,
                "spare": member.spare,
                "shards": sum(owner == name for owner in serving.values()),
                "refused": {} if member.report is None else dict(member.report["refused"]),
            }
            for name, member in list(self._members.items())
        }
        trainer = self._trainer
        return {
            "uptime_s": round(self._clock() - self._began_s, 1),
            "shards": shards,
            "served": len(serving),
            "owners": owners,
            "nodes": len({member.node for member in list(self._members.values())}),
            "router": None if router is None else {"restarts": router.restarts, "up": bool(told), **told},
            "trainer": None
            if trainer is None
            else {"restarts": trainer.restarts, "up": trainer.report is not None, **(trainer.report or {})},
        }

    def ask_owners(self, question: bytes) -> list[bytes]:
        """The answers of those owners that are up and answer in time; from the page's thread."""
        calls = {
            name: self._hands.call(member.actor, "ask", question)
            for name, member in list(self._members.items())
            if member.report is not None
        }
        answers = self._hands.answers(calls, PAGE_S) if calls else {}
        return [answer for answer in answers.values() if answer]

    def stop(self, timeout_s: float) -> bool:
        """Stop reading, then finish all shards; whether all were through in time."""
        until_s = self._clock() + timeout_s
        alone = [[] if member is None else [member] for member in (self._router, self._trainer)]
        groups = [alone[0], list(self._members.values()), alone[1]]
        fine = True
        for group in groups:
            calls = {
                str(number): self._hands.call(member.actor, "stop")
                for number, member in enumerate(group)
                if member.report is not None
            }
            while calls and self._clock() < until_s:
                for name, answer in self._hands.answers(calls, TICK_S).items():
                    del calls[name]
                    fine = fine and answer is True
            fine = fine and not calls
        return fine
