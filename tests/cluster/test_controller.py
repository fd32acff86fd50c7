"""The controller, with hands that play the processes: whose silence counts, and what follows from it."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stepahead.cluster.controller import Controller
from stepahead.contract.settings import Settings
from stepahead.telemetry.log import make_log

SILENT_S = 5.0


class Played:
    """Owners that answer at once, unless they are deaf; a clock that moves when somebody waits."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.deaf: set[str] = set()
        self.killed: list[str] = []
        self.dead: set[str] = set()
        self.there = ["a", "b"]
        self.stood_still_s = 0.0
        """The next wait takes so much longer: whoever waits did not run."""

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def nodes(self) -> list[str]:
        return self.there

    def owner(self, name: str, node: str) -> str:
        return name

    def router(self) -> str:
        return "router"

    def trainer(self) -> str:
        return "trainer"

    def call(self, actor: str, method: str, *arguments: Any) -> tuple[str, Any]:
        return actor, arguments

    def answers(self, calls: Mapping[str, Any], wait_s: float) -> dict[str, Any]:
        self.now_s += wait_s + self.stood_still_s
        self.stood_still_s = 0.0
        answered = {name: arguments for name, (_, arguments) in calls.items() if name not in self.deaf}
        return {name: None if name in self.dead else report(arguments) for name, arguments in answered.items()}

    def kill(self, actor: str) -> None:
        self.killed.append(actor)

    def forget(self, actor: str) -> None:
        self.killed.append(actor)


def report(arguments: tuple[Any, ...]) -> dict[str, Any]:
    shards = {shard: {"epoch": epoch, "series": 1} for shard, epoch in arguments[0].items()}
    return {"pid": 7, "shards": shards, "refused": {}, "address": None, "failed": None}


@pytest.fixture
def played() -> Played:
    return Played()


@pytest.fixture
def controller(played: Played, tmp_path: Path) -> Controller:
    return made(played, tmp_path)


def made(played: Played, tmp_path: Path) -> Controller:
    cluster = {"shards": 4, "readings": "filters", "silent_s": SILENT_S, "weights": "shard"}
    settings = Settings.model_validate({"cluster": cluster})
    made = Controller(settings, tmp_path, played, make_log(io.StringIO()), played.clock, played.sleep)
    for _ in range(3):
        made.turn()
    assert made.status()["served"] == 4
    return made


def test_an_owner_that_does_not_answer_is_ended_and_its_shards_go_to_the_other(
    controller: Controller, played: Played
) -> None:
    played.deaf = {"owner-a-0"}
    for _ in range(round(SILENT_S / 0.5) - 1):
        controller.turn()
    assert played.killed == []
    for _ in range(5):
        controller.turn()
    assert played.killed == ["owner-a-0"]
    assert {shard["owner"] for shard in controller.status()["shards"].values()} == {"owner-b-0"}


def test_while_the_controller_itself_stood_still_nobody_was_silent(controller: Controller, played: Played) -> None:
    before = controller.status()["shards"]
    for _ in range(5):
        played.deaf, played.stood_still_s = {"owner-a-0", "owner-b-0"}, 20 * SILENT_S
        controller.turn()
        played.deaf = set()
        controller.turn()
    assert played.killed == []
    assert controller.status()["shards"] == before


def owners(controller: Controller) -> set[str | None]:
    return {shard["owner"] for shard in controller.status()["shards"].values()}


def turns(controller: Controller, count: int = 5) -> None:
    for _ in range(count):
        controller.turn()


def test_beside_an_owner_that_is_alone_a_spare_is_kept_which_serves_until_it_is_back(
    played: Played, tmp_path: Path
) -> None:
    played.there = ["a"]
    controller = made(played, tmp_path)
    turns(controller)
    assert set(controller.status()["owners"]) == {"owner-a-0", "owner-a-spare"}
    assert owners(controller) == {"owner-a-0"}
    played.dead = {"owner-a-0"}
    turns(controller)
    assert owners(controller) == {"owner-a-spare"}
    played.dead = set()
    turns(controller)
    assert owners(controller) == {"owner-a-0"}
    played.there = ["a", "b"]
    turns(controller, 15)
    assert set(controller.status()["owners"]) == {"owner-a-0", "owner-b-0"}
    assert owners(controller) == {"owner-a-0", "owner-b-0"}
    assert played.killed == ["owner-a-spare"]
