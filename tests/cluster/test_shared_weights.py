"""Weights learned on windows of all shards: by one trainer, adopted by each shard at a position of its journal."""

import io
import shutil
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stepahead.cluster.directory import ClusterDirectory
from stepahead.cluster.share import first_row, merged, share_of, turned
from stepahead.cluster.shared_trainer import SharedTrainer
from stepahead.cluster.trainer_link import LinkedSeat, SharedDoor, TrainerLink
from stepahead.contract.errors import FencedError, SettingsError
from stepahead.contract.records import Readings
from stepahead.contract.settings import Settings
from stepahead.forecasting.engine import Engine
from stepahead.learning.material import Material
from stepahead.network.ensemble import weights_of
from stepahead.network.lstm import MemberNetwork, NetworkShape
from stepahead.service.arrivals import Arrivals
from stepahead.service.outcomes import OutcomeDoor
from stepahead.service.parcel import Parts
from stepahead.service.recovery import Knowledge
from stepahead.service.redelivery import RecentForecasts
from stepahead.storage.journal import Journal
from stepahead.storage.snapshot import SnapshotStore
from stepahead.storage.tree import flatten
from stepahead.telemetry.log import make_log
from tests.broker.brokers import Broker
from tests.broker.conftest import MakePeer
from tests.broker.test_run_recording import settings_of
from tests.cluster.by_hand import SECRET, ByHand
from tests.cluster.feed import SMALL, messages
from tests.cluster.test_owner import Listener, cluster_settings, say

SHARED = (
    "engine.deterministic=false",
    "cluster.weights=shared",
    "learning.every=10",
    "durability.snapshot_every_s=3600",
)
NS = 10**9


def replayed(
    settings: Settings, directory: Path, shard: int, whole: bool
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The state to which a shard's journal leads, and the adoptions that it holds."""
    door = SharedDoor(LinkedSeat(TrainerLink(SECRET), shard, settings.cluster.shards))
    engine = Engine(settings, door)
    door.seat.engine = engine
    knowledge = Knowledge(engine, door, RecentForecasts(1000), Arrivals(1000))
    snapshot = None if whole else SnapshotStore(directory / "snapshots").load_newest()
    if snapshot is not None:
        knowledge.restore(snapshot.state)
    first = 0 if snapshot is None else snapshot.position
    journal = Journal(directory / "journal")
    adoptions = [
        {"position": position, **{name: record.meta[name] for name in ("version", "at")}, "arrays": record.arrays}
        for position, record in journal.read(first)
        if record.kind == "outcome"
    ]
    door.hold()
    knowledge.repeat(journal, first)
    journal.close()
    return engine.state_dict(), adoptions


def journal_leads_to_the_state(
    settings: Settings, before_the_end: Path, root: Path, shard: int, whole: bool
) -> list[dict[str, Any]]:
    """To the bit, from its first record or its newest snapshot; the adoptions in it, whose versions only rise.

    Args:
        settings: of the cluster.
        before_the_end: a copy of the cluster's state, when every reading was answered.
        root: the state after the end.
        shard: which one.
        whole: nothing of the journal was forgotten: from its first record.
    """
    state, adoptions = replayed(settings, ClusterDirectory.shard(before_the_end, shard), shard, whole)
    stored = SnapshotStore(ClusterDirectory.shard(root, shard) / "snapshots").load_newest()
    assert stored is not None
    assert_same(state, stored.state["engine"])
    versions = [adoption["version"] for adoption in adoptions]
    assert versions == sorted(set(versions))
    reached = [adoption["version"] for adoption in adoptions if adoption["at"] < state["position"]]
    assert not reached or max(reached) == state["cohorts"]["default"]["version"]
    return adoptions


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """To the bit."""
    flat, against = flatten(one), flatten(other)
    assert flat.arrays.keys() == against.arrays.keys()
    differing = [name for name, array in flat.arrays.items() if array.tobytes() != against.arrays[name].tobytes()]
    assert differing == []
    assert repr(flat.scalars) == repr(against.scalars)  # NaN equals itself there
    assert repr(flat.values) == repr(against.values)


def test_two_shards_adopt_the_same_weights_and_their_journals_lead_to_their_states(
    make_peer: MakePeer, broker: Broker, topic: str, tmp_path: Path
) -> None:
    settings = cluster_settings(broker, topic, 2, *SHARED)
    feed = messages(f"{topic}/in", 8, 2000)
    ear, mouth = Listener(make_peer, settings.publish.prefix), make_peer().connected()
    root = tmp_path / "state"
    with ByHand(settings, root, "ab").running() as hand:
        hand.give(0, "a")
        hand.give(1, "b")
        hand.until(lambda: hand.serving(0) and hand.serving(1))

        def play(rows: range) -> None:
            for row in rows:
                say(mouth, feed[8 * row : 8 * row + 8])
                ear.until(8 * row + 8)

        play(range(50))
        first = hand.trainer
        assert first is not None
        # Material must come from both.
        hand.until(lambda: first.report()["versions"]["default"] >= 1 and set(first.report()["shares"]) == {0, 1})
        hand.stop_trainer()
        before = first.report()["versions"]["default"]
        play(range(50, 60))  # nobody waits for a trainer that is not there
        hand.start_trainer()
        assert hand.trainer is not None
        assert hand.trainer.report()["versions"]["default"] == before
        hand.give(1, "a")  # in the middle of everything
        hand.until(lambda: hand.serving(1) == ["a"])
        play(range(60, 120))
        row = 120
        while hand.trainer.report()["versions"]["default"] <= before:  # not every fine-tune is better
            play(range(row, row := row + 1))
        while len({shard["model"] for shard in hand.attend("a")["shards"].values()} - {0}) != 1:
            play(range(row, row := row + 1))
        hand.until(hand.settled)  # acknowledged, so in the journal
        # Not the trainer's directory: it goes on learning and writing.
        shutil.copytree(ClusterDirectory.shard(root, 0).parent, tmp_path / "copy" / "shards")
    adopted: dict[int, list[dict[str, Any]]] = {}
    for shard in range(2):
        adopted[shard] = journal_leads_to_the_state(settings, tmp_path / "copy", root, shard, whole=True)
    both = {a["version"]: (a, b) for a in adopted[0] for b in adopted[1] if a["version"] == b["version"]}
    assert both
    for one, other in both.values():
        for name in (name for name in one["arrays"] if name.startswith("weights/")):
            theirs = other["arrays"][name]
            if name.endswith("embedding"):
                theirs = np.roll(theirs, first_row(1, 2), axis=0)
            assert np.array_equal(one["arrays"][name], theirs)
    forecasts = sorted(ear.found.values(), key=lambda forecast: str(forecast["series"]) + str(forecast["issued_at"]))
    for one, other in pairwise(forecasts):
        if one["series"] == other["series"]:
            assert int(str(one["model"])) <= int(str(other["model"]))


def small(*more: str) -> Settings:
    return settings_of((*SMALL, *SHARED, *more))


class Shard:
    """An engine with a seat at the trainer, without broker and journal."""

    def __init__(self, settings: Settings, link: TrainerLink, shard: int) -> None:
        self.door = SharedDoor(LinkedSeat(link, shard, settings.cluster.shards))
        self.engine = Engine(settings, self.door)
        self.door.seat.engine = self.engine

    @property
    def version(self) -> int:
        return self.engine.cohorts[0].ensemble.version

    def step(self, second: int, values: list[float]) -> None:
        outcome = self.door.arrived()
        if outcome is not None:
            self.door.let_in(outcome)
        slots = [self.engine.intern(f"s{number}") for number in range(len(values))]
        self.engine.step(Readings.of(slots, [second * NS] * len(values), values))


class Workshop:
    """Trainers and links to them, all closed at the end."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.heard = io.StringIO()
        self.opened: list[SharedTrainer | TrainerLink] = []

    def trainer(self, settings: Settings) -> SharedTrainer:
        trainer = SharedTrainer(settings, self.root, "127.0.0.1", SECRET, make_log(self.heard), clock=lambda: 0.0)
        self.opened.append(trainer)
        return trainer

    def link(self, trainer: SharedTrainer, secret: bytes = SECRET) -> "CountingLink":
        link = CountingLink(secret, clock=lambda: 0.0)
        self.opened.append(link)
        link.direct(trainer.address, 2)
        before = list(trainer._channels)
        link.turn()
        turn(link, trainer, lambda: link.socket is None or any(each not in before for each in trainer._channels))
        if link.socket is not None:
            exchange(link, trainer, 0)
        return link


class CountingLink(TrainerLink):
    """Counts the shares that are on their way or arrived."""

    given = 0

    def give(self, parts: Parts) -> None:
        lost = self.lost
        super().give(parts)
        self.given += self.lost == lost


def turn(link: TrainerLink, trainer: SharedTrainer, over: Callable[[], bool]) -> None:
    """Turn both until it is over: nothing says when the kernel hands on what one of them has sent."""
    until_s = time.monotonic() + 120
    while not over():
        assert time.monotonic() < until_s
        trainer.turn(0.01)
        link.turn()


def heard(trainer: SharedTrainer) -> int:
    """Shares that a trainer has got."""
    return sum(trainer.report()["shares"].values())


def exchange(link: TrainerLink, trainer: SharedTrainer, shares: int) -> None:
    """Turn both until the trainer has got so many shares, and the link the newest weights."""

    def over() -> bool:
        newest = trainer.report()["versions"]["default"]
        return heard(trainer) >= shares and (link.newest("default") or 0) == newest

    link.turn()
    turn(link, trainer, over)


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path)
    yield workshop
    for each in workshop.opened:
        each.close()


def pattern(second: int, phase: float) -> float:
    return float(np.sin(2 * np.pi * (second / 7 + phase)))


def lstm_error(shard: Shard, level: float, size: float) -> float:
    """Mean error of the network on series 0, from its 20th to its 60th reading, of which it has seen no others."""
    errors = []
    for second in range(60):
        value = level + size * pattern(second, 0.0)
        if second >= 20:
            outlook = shard.engine.outlook(np.array([0], np.int32))
            errors.append(abs(float(outlook.value[0, outlook.names.index("lstm")]) - value))
        shard.step(second, [value])
    return float(np.mean(errors))


def test_what_one_shard_has_seen_helps_in_the_other(workshop: Workshop) -> None:
    settings = small("network.hidden=8", "learning.steps=4", "learning.windows=16")
    trainer = workshop.trainer(settings)
    link = workshop.link(trainer)
    teacher = Shard(settings, link, 0)
    for second in range(700):
        teacher.step(second, [10 + pattern(second, number / 5) for number in range(5)])
        exchange(link, trainer, link.given)
    silent = settings.model_copy(update={"learning": settings.learning.model_copy(update={"enabled": False})})
    pupil, alone = Shard(silent, link, 1), Shard(silent, TrainerLink(SECRET), 1)
    pupil.engine.intern("s0")
    alone.engine.intern("s0")
    taught, untaught = lstm_error(pupil, -3.0, 50.0), lstm_error(alone, -3.0, 50.0)
    assert trainer.report()["shares"].keys() == {0}
    assert pupil.version == teacher.version == trainer.report()["versions"]["default"] > 5
    assert alone.version == 0
    assert taught < 0.5 * untaught


def test_a_trainer_goes_on_from_what_it_wrote_down_and_fences_the_one_before(workshop: Workshop) -> None:
    settings = small()
    old = workshop.trainer(settings)
    link = workshop.link(old)
    shards = [Shard(settings, link, number) for number in range(2)]

    def live(trainer: SharedTrainer, seconds: range) -> None:
        for second in seconds:
            wanted = heard(trainer) - link.given
            for shard in shards:
                shard.step(second, [float(second % 5), float(second % 3)])
            exchange(link, trainer, wanted + link.given)

    live(old, range(100))
    version = old.report()["versions"]["default"]
    assert version >= 2
    new = workshop.trainer(settings)
    assert new.fence.epoch == old.fence.epoch + 1
    stored = SnapshotStore(workshop.root / "trainer" / "snapshots").load_newest()
    assert stored is not None
    assert_same(new.state_dict(), stored.state)
    assert new.report()["versions"]["default"] == version
    with pytest.raises(FencedError, match="epoch 1 is over, 2 has begun"):
        live(old, range(100, 200))
    newcomer = workshop.link(new)
    link.direct(new.address, 2)
    link.direct(("127.0.0.1", 1, 1), 2)  # a word of the old one that comes late
    live(new, range(200, 300))
    assert new.report()["versions"]["default"] > version
    for shard in shards:
        assert shard.version >= version
    late = Shard(settings, newcomer, 1)  # one that was away
    exchange(newcomer, new, 0)
    late.step(0, [1.0])
    assert late.version == new.report()["versions"]["default"]


def test_nothing_is_lost_without_a_trainer_but_shares() -> None:
    link = TrainerLink(SECRET)
    link.direct(("127.0.0.1", 1, 1), 2)
    shard = Shard(small(), link, 0)
    for second in range(100):
        link.turn()
        shard.step(second, [float(second % 5)])
    assert shard.engine.position == 100
    assert link.lost >= 1


def test_garbage_ends_a_connection_and_nothing_else(workshop: Workshop) -> None:
    settings = small()
    trainer = workshop.trainer(settings)
    link = workshop.link(trainer)
    assert workshop.link(trainer, b"something else").socket is None
    for garbage in (
        1,
        {"head": {}, "arrays": []},
        {"head": {"cohort": "x"}, "arrays": [["a", "|O", [1], b"12345678"]]},
    ):
        assert link._channel is not None
        link._channel.send(garbage)
        turn(link, trainer, lambda: link.socket is None)  # noqa: B023  # called before the next one is made
        link = workshop.link(trainer)
    assert "does not know the secret" in workshop.heard.getvalue()
    assert workshop.heard.getvalue().count("share_refused") == 3


class Kept(OutcomeDoor):
    """Keeps what it is given to learn from."""

    def __init__(self) -> None:
        self.material: list[Material] = []

    busy = False
    not_before = 0

    def submit(self, material: Material) -> None:
        self.material.append(material)

    def poll(self) -> None:
        return None


def test_shares_are_parts_of_each_batch_and_batches_hold_windows_of_all() -> None:
    door = Kept()
    engine = Engine(small("learning.windows=8", "learning.steps=3", "network.members=2"), door)
    slots = [engine.intern(f"s{number}") for number in range(3)]
    for second in range(60):
        engine.step(Readings.of(slots, [second * NS] * 3, [second % 5, second % 3, second % 7]))
    material = door.material[-1]
    one = share_of(material, 0, first_row(0, 2), 180, 3, sharers=2)
    other = share_of(material, 1, first_row(1, 2), 180, 3, sharers=2)
    assert len(one.lessons) == 6 * 4
    batches = merged([one.lessons, other.lessons], 6).windows.series.reshape(6, 8)
    assert (batches[:, :4] < 3).all()
    assert (batches[:, 4:] == batches[:, :4] + 512).all()
    whole = material.lessons.windows.diff.reshape(6, 8, -1)
    assert np.array_equal(one.lessons.windows.diff.reshape(6, 4, -1), whole[:, ::2])


def test_a_shard_sees_its_series_at_the_rows_that_the_trainer_learned_them_at() -> None:
    network = MemberNetwork(NetworkShape(features=3, hidden=5), seed=1)
    torch.nn.init.normal_(network.head.weight, generator=torch.Generator().manual_seed(0))
    inputs, first = torch.randn(4, 7, 3, generator=torch.Generator().manual_seed(2)), first_row(5, 8)
    expected, _ = network(inputs, torch.arange(4) + first)
    (ours,) = turned([weights_of(network)], first)
    network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in ours.items()})
    assert torch.equal(network(inputs, torch.arange(4))[0], expected)


def test_the_deterministic_setting_wants_weights_of_each_shard() -> None:
    from stepahead.cluster.program import check

    with pytest.raises(SettingsError, match=r"allowed is cluster.weights = 'shard'"):
        check(Settings.model_validate({"engine": {"deterministic": True}}))
