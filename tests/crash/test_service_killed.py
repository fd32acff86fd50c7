"""`kill -9` of the service at seeded moments: nothing acknowledged is lost, and no forecast differs by a bit.

Two in three kills strike the process at a moment of its work by name (see `doomed`), the others from outside.
"""

import json
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulators.playback import Recording
from stepahead.contract.settings import PublishSettings, Settings
from stepahead.forecasting.engine import Engine
from stepahead.service.arrivals import Arrivals
from stepahead.service.history_records import repeat_record
from stepahead.service.outcomes import OutcomeDoor
from stepahead.service.program import REMEMBERED_FORECASTS
from stepahead.service.recovery import Knowledge, resume
from stepahead.service.redelivery import RecentForecasts
from stepahead.storage.journal import Journal
from stepahead.storage.tree import flatten
from stepahead.storage.verify import JOURNAL
from stepahead.telemetry.log import make_log
from stepahead.wire.encoder import ForecastEncoder
from tests.broker.brokers import Broker
from tests.broker.conftest import MakePeer
from tests.broker.recorded import expected_forecasts, write_recording
from tests.broker.running import Ear, Running
from tests.broker.test_run_recording import LEARN_OFTEN, settings_of
from tests.crash.doomed import ANY, MOMENTS
from tests.service.engine_double import HandTrainer

ROWS_PER_KILL = 25
OFTENER = (*LEARN_OFTEN, "learning.every=10", "learning.drift_cooldown=10")
"""So that most lives see a fine-tune or two."""
LEARN = tuple(text for text in OFTENER if not text.startswith("engine."))
SMALL_BATCHES = ("service.max_batch=6", "service.max_batch_delay_s=0")
"""So that there are many moments: between journal and step, step and fsync, fsync and forecast, snapshot and both."""
SNAPSHOTS = ("in a snapshot write", "before a rename", "after a rename", "in removing old state")
PASSED = {"in a journal write": 10, "before its fsync": 10, "after its fsync": 10, "in a snapshot write": 3}
"""How often a moment comes, at most, until it strikes; others strike the first or second time."""


class Killed:
    """A feed, a service that is killed again and again while it answers it, and all that was heard of it."""

    def __init__(
        self, kills: int, make_peer: MakePeer, broker: Broker, topic: str, folder: Path, *assignments: str
    ) -> None:
        self.kills, self.broker, self.topic, self.folder = kills, broker, topic, folder
        self.rng = random.Random(7)
        self.recording = folder / "recording.csv"
        write_recording(self.recording, rows=ROWS_PER_KILL * (kills + 2))
        self.feed = f"{topic}/in/plant"
        messages = Recording(self.recording, "time", topic=self.feed)
        self.messages = [(message.topic.encode(), message.payload) for message in messages]
        self.assignments = assignments
        self.ear = Ear(make_peer, f"{topic}/out")
        self.mouth = make_peer().connected()
        self.notes = folder / "struck"
        self.notes.touch()
        self.sent = 0

    def start(self, moment: str = ANY, nth: int = 1, trainer: str = "thread") -> Running:
        every_s = 0.05 if moment in SNAPSHOTS else self.rng.choice([0.05, 0.3, 0.3, 1000.0])
        ours = (
            f"publish.prefix={self.topic}/out",
            f"broker.client_id=service-{self.topic}",
            f"durability.snapshot_every_s={every_s}",
            *self.assignments,
        )
        filters = (f"{self.topic}/in/#",)
        doom = (moment, str(nth), str(self.notes), trainer)
        return Running(self.folder, self.broker.url("3.1.1"), *ours, filters=filters, doom=doom)

    def say(self, until: int, pace_s: float = 0.0, service: Running | None = None) -> None:
        """Publish the feed up to a message, at a pace, while the service lives."""
        step = 1 if pace_s else max(1, until - self.sent)
        while self.sent < until:
            batch = self.messages[self.sent : self.sent + step]
            self.mouth.session.publish_many(batch, 1, False)
            assert self.mouth.session.flush(120)
            self.sent += len(batch)
            if pace_s:
                self.ear.listen_for(pace_s)
                if service is not None and service.process.poll() is not None:
                    return

    def lives(self) -> int:
        """How often a service has connected so far, by one connection or the other."""
        return (self.folder / "run.log").read_text().count("connected to")

    def ids(self) -> set[object]:
        return {forecast["id"] for forecast in self.ear.forecasts}

    def kill(self, number: int) -> None:
        """One life and death of the service, with a share of the feed to answer."""
        by_name = number % 3 != 0
        moment = MOMENTS[self.rng.randrange(len(MOMENTS))] if by_name else ANY
        nth = self.rng.randint(1, PASSED.get(moment, 2))
        target = len(self.messages) * (number + 1) // (self.kills + 2)
        half = (self.sent + target) // 2
        trainer = "process" if self.rng.randrange(10) == 0 else "thread"  # a process of its own is what `run` has
        live = "engine.deterministic=true" not in self.assignments
        lives = self.lives()  # before it begins: it may connect before we look
        with self.start(moment, nth, trainer) as service:
            self.say(half)
            while service.process.poll() is None and self.lives() == lives:
                self.ear.listen_for(0.02)
            if by_name:
                # A process of its own takes seconds to begin; its outcome comes to light with the next reading.
                slow = live and trainer == "process" and ("adoption" in moment or "tune" in moment)
                self.say(target, 0.2 if slow else 0.01, service)
                # Snapshots go on and on, so their moments come; the others do not when all is answered.
                until = time.monotonic() + 60.0
                while service.process.poll() is None and time.monotonic() < until:
                    self.ear.listen_for(0.02)
                    if moment not in SNAPSHOTS and len(self.ids()) >= 3 * self.sent:
                        until = min(until, time.monotonic() + 1.0)
            else:
                # From outside at a moment by progress, not by time: how fast it goes depends on the machine.
                heard = len(self.ids()) + self.rng.randrange(1, 3 * (half - len(self.ids()) // 3) + 2)
                self.ear.listen(lambda: len(self.ids()) >= heard or len(self.ids()) >= 3 * half)
                time.sleep(self.rng.uniform(0, 0.05))
            service.process.kill()
        self.ear.listen_for(0.05)

    def end(self) -> Running:
        """A last life, to the end of the feed and in good order.

        A machine with much else to do may have ended no fine-tune by now: this life has time for one.
        """
        with self.start() as last:
            while self.sent < len(self.messages) - 1 and not any(each["model"] for each in self.ear.forecasts):
                self.say(self.sent + 1, 0.3)
            self.say(len(self.messages))
            self.ear.listen(lambda: len(self.ids()) >= 3 * len(self.messages), 300)
            assert last.end(signal.SIGTERM)[0] == 0
            self.ear.listen_for(0.5)
        return last

    def union(self) -> dict[str, dict[str, Any]]:
        """Forecasts by id; one that was published again must be the same."""
        got: dict[str, dict[str, Any]] = {}
        for forecast in self.ear.forecasts:
            assert got.setdefault(forecast["id"], forecast) == forecast, "a forecast published again differs"
        return got

    def told(self) -> Counter[str]:
        """How often which moment struck; the kills from outside are the rest."""
        struck = Counter(self.notes.read_text().splitlines())
        struck["from outside"] = self.kills - struck.total()
        return struck


class Shadow:
    """The journal replayed from its start: it reads on after each crash what has come since."""

    def __init__(self, settings: Settings) -> None:
        self.knowledge = blank(settings)
        self.knowledge.door.hold()
        engine = self.knowledge.engine
        self.encoder = ForecastEncoder(
            PublishSettings(prefix="x"), settings.interval.levels, engine.table.keys.__getitem__
        )
        self.position = 0
        self.forecasts: dict[str, dict[str, Any]] = {}

    def read(self, directory: Path) -> None:
        journal = Journal(directory / JOURNAL)
        assert journal.first_position <= self.position
        knowledge = self.knowledge
        for number, record in journal.read(self.position):
            assert number == self.position
            self.position += 1
            batch = repeat_record(record, knowledge.engine, knowledge.door, knowledge.arrivals)
            if batch is not None:
                forecasts = knowledge.engine.step(batch)
                knowledge.recent.add(forecasts)
                for _, payload in self.encoder.encode(forecasts):
                    forecast = json.loads(payload)
                    self.forecasts[forecast["id"]] = forecast
        journal.close()


def blank(settings: Settings) -> Knowledge:
    door = OutcomeDoor(HandTrainer())
    return Knowledge(Engine(settings, door), door, RecentForecasts(REMEMBERED_FORECASTS), Arrivals())


def resumed(settings: Settings, directory: Path, log: Path) -> Knowledge:
    knowledge = blank(settings)
    with log.open("a") as file:
        _, release = resume(settings, knowledge, directory, make_log(file))
    release()
    return knowledge


def assert_same_state(one: Knowledge, other: Knowledge) -> None:
    """Equal to the bit, every array and every value."""
    left, right = flatten(one.capture()), flatten(other.capture())
    assert left.values == right.values
    assert set(left.arrays) == set(right.arrays)
    for name, array in left.arrays.items():
        twin = right.arrays[name]
        assert (array.dtype, array.shape, array.tobytes()) == (twin.dtype, twin.shape, twin.tobytes()), name


@pytest.mark.timeout(7200)
def test_the_union_of_forecasts_is_that_of_a_run_never_killed(
    make_peer: MakePeer, broker: Broker, topic: str, tmp_path: Path, long_form: bool
) -> None:
    kills = 200 if long_form else 15
    killed = Killed(kills, make_peer, broker, topic, tmp_path, *OFTENER, *SMALL_BATCHES)
    expected = expected_forecasts(killed.recording, "time", killed.feed, settings_of(OFTENER))
    with killed.start() as first:  # so that the broker keeps the subscription
        first.until_said("subscribed to")
        first.process.kill()
    for number in range(1, kills + 1):
        killed.kill(number)
    last = killed.end()
    assert killed.union() == expected
    assert last.said("starting ") == kills + 2
    told = killed.told()
    print(f"{kills} kills, {len(expected)} forecasts, {len(killed.ear.forecasts)} heard:", dict(told))
    assert told.total() - told["from outside"] >= kills // 3
    # The kills did fall into the work: some starts had readings to repeat.
    assert last.said("resumed ") - last.said("repeated=0 ") >= 3
    if long_form:
        assert set(told) == {*MOMENTS, "from outside"}


@pytest.mark.timeout(7200)
def test_live_each_crash_leaves_the_journal_replayed_from_its_start(
    make_peer: MakePeer, broker: Broker, topic: str, tmp_path: Path, long_form: bool
) -> None:
    kills = 200 if long_form else 5
    killed = Killed(kills, make_peer, broker, topic, tmp_path, *LEARN, *SMALL_BATCHES)
    settings = settings_of((f"publish.prefix={topic}/out", f"broker.client_id=service-{topic}", *LEARN, *SMALL_BATCHES))
    shadow = Shadow(settings)
    with killed.start() as first:
        first.until_said("subscribed to")
        first.process.kill()
    shadow.read(tmp_path / "state")
    copy = tmp_path / "copy"
    for number in range(1, kills + 1):
        killed.kill(number)
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(tmp_path / "state", copy)
        after = resumed(settings, copy, tmp_path / "copy.log")
        shadow.read(copy)
        assert_same_state(after, shadow.knowledge)
    killed.end()
    shadow.read(tmp_path / "state")
    union = killed.union()
    assert union == shadow.forecasts, "what was said is not what the journal says"
    rows = [(forecast["series"], forecast["issued_at"]) for forecast in union.values()]
    assert len(rows) == len(set(rows)) == 3 * len(killed.messages)
    told = killed.told()
    adopted = shadow.knowledge.engine.cohorts[0].tally.adopted
    print(f"{kills} kills, {len(union)} forecasts, {len(killed.ear.forecasts)} heard, {adopted} adopted:", dict(told))
    assert adopted > (50 if long_form else 0)
    if long_form:
        assert set(told) == {*MOMENTS, "from outside"}
    assert np.isfinite([forecast["value"] for forecast in union.values()]).all()
