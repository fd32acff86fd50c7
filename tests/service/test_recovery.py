import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepahead.contract.errors import StateError
from stepahead.contract.records import Readings
from stepahead.contract.settings import DurabilitySettings, EngineSettings, Settings, TransformSettings
from stepahead.forecasting.engine import Engine
from stepahead.learning.trainer import InlineTrainer, Trainer
from stepahead.service.arrivals import Arrivals
from stepahead.service.keeper import Keeper
from stepahead.service.outcomes import OutcomeDoor
from stepahead.service.recovery import Knowledge, resume
from stepahead.service.redelivery import RecentForecasts
from stepahead.storage.tree import flatten
from stepahead.telemetry.log import make_log
from tests.service.engine_double import MINUTE_NS, START_NS, Clock, HandTrainer, better_result, small_settings


def worse(trainer: HandTrainer) -> None:
    result = better_result(trainer.materials[-1])
    result.challenger_loss[:] = 2.0
    trainer.result = result


class Run:
    """A service without a wire: what the loop does with engine, door and keeper."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self.settings = settings
        self.clock = Clock()
        self.hand = HandTrainer()
        deterministic = settings.engine.deterministic
        trainer: Trainer = InlineTrainer(settings.learning, clock=lambda: 0.0) if deterministic else self.hand
        self.door = OutcomeDoor(trainer)
        self.engine = Engine(settings, self.door)
        self.recent = RecentForecasts(200)
        self.knowledge = Knowledge(self.engine, self.door, self.recent, Arrivals())
        self.log = io.StringIO()
        self.keeper: Keeper
        self.keeper, self.release = resume(settings, self.knowledge, directory, make_log(self.log), self.clock)
        self.values: list[float] = []

    def batch(self, minute: int, count: int, seed: int, ahead: int = 0) -> list[float]:
        rng = np.random.default_rng((seed, minute))
        slots = [self.engine.intern(f"plant/{k}") for k in range(min(3, 1 + minute // 40))]
        rows = [(slot, START_NS + (minute + i) * MINUTE_NS) for i in range(count) for slot in slots]
        value = np.sin(np.arange(minute, minute + count) / 5)[:, None] + rng.normal(scale=0.1, size=(count, len(slots)))
        readings = Readings.of([s for s, _ in rows], [t for _, t in rows], value.ravel().tolist())
        outcome = self.door.arrived()
        if outcome is not None:
            outcome = replace(outcome, at=self.engine.position + ahead)
            self.keeper.note_outcome(outcome)
            self.door.let_in(outcome)
        self.keeper.note_batch(readings, self.knowledge.arrivals.mark())
        forecasts = self.engine.step(readings)
        self.recent.add(forecasts)
        self.clock.now_s += 1.0
        self.keeper.commit(self.clock.now_s, company=False)
        self.keeper.care(self.clock.now_s)
        return [*forecasts.value[:, 0].tolist(), *forecasts.lower.ravel().tolist()]

    def feed(self, start: int, stop: int, seed: int = 0) -> Iterator[tuple[int, list[float]]]:
        """Feed; live, fine-tunes end well, badly or not at all, some batches after they began, seen up to 50 later."""
        rng = np.random.default_rng((seed, 99))
        minute = 0
        while minute < stop:
            count, fate, ahead = int(rng.integers(1, 6)), int(rng.integers(0, 6)), max(0, int(rng.integers(-20, 50)))
            if minute >= start:
                yield minute, self.batch(minute, count, seed, ahead)
                if self.hand.busy and self.hand.materials:
                    if fate == 0:
                        self.hand.result = better_result(self.hand.materials[-1])
                    elif fate == 1:
                        worse(self.hand)
                    elif fate == 2:
                        self.hand.busy = False
            minute += count

    def settle(self) -> None:
        """Wait for the snapshot under way: how many come of so many batches shall not depend on the disk."""
        writer = getattr(self.keeper, "_writer", None)
        if writer is not None and writer._thread is not None:
            writer._thread.join()

    def die(self) -> None:
        """End without a word, as a killed process does, which writes no more."""
        self.settle()
        self.release()


def state(run: Run) -> dict[str, Any]:
    captured = run.knowledge.capture()
    flat = flatten(captured)
    return {**flat.values, **flat.arrays}


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert set(one) == set(other)
    for name, leaf in one.items():
        if isinstance(leaf, np.ndarray):
            np.testing.assert_array_equal(leaf, other[name], err_msg=name)
        else:
            assert leaf == other[name], name


def settings_with(tmp_path: Path, deterministic: bool, every_s: float = 20.0, order: Any = 1) -> Settings:
    return small_settings(
        engine=EngineSettings(deterministic=deterministic, max_series=100),
        transform=TransformSettings(order=order, warmup=32),
        durability=DurabilitySettings(state_dir=tmp_path, snapshot_every_s=every_s),
    )


@pytest.mark.parametrize("order", [1, "auto"])
@pytest.mark.parametrize("seed", [0, 1])
def test_live_the_state_after_a_crash_is_that_of_the_journal_replayed_from_its_start(
    tmp_path: Path, seed: int, order: Any
) -> None:
    settings = settings_with(tmp_path, deterministic=False, order=order)
    first = Run(settings, tmp_path)
    for _ in first.feed(0, 250, seed):
        pass
    if first.keeper._began_s == first.clock.now_s:  # the newest snapshot, begun late, leaves nothing to be repeated
        first.batch(260, 1, seed)
    assert first.engine.cohorts[0].tally.adopted >= 1
    assert first.engine.cohorts[0].tally.rejected >= 1
    before = state(first)
    waiting = first.door.waiting
    first.die()

    second = Run(settings, tmp_path)  # from the newest snapshot on
    assert "repeated=0" not in second.log.getvalue()
    assert_same(state(second), before)
    assert second.door.waiting == waiting
    second.die()

    for snapshot in (tmp_path / "snapshots").iterdir():
        for file in snapshot.iterdir():
            file.unlink()
        snapshot.rmdir()
    third = Run(settings, tmp_path)  # from the journal's start on
    assert_same(state(third), before)
    third.die()


def test_an_outcome_that_was_let_in_and_not_reached_yet_is_in_the_snapshot(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, deterministic=False, every_s=1000.0)
    first = Run(settings, tmp_path)
    minute = 0
    while not first.hand.busy:
        first.batch(minute, 1, 0)
        minute += 1
    first.hand.result = better_result(first.hand.materials[-1])
    first.batch(minute, 1, 0, ahead=7)
    coming, before = first.door.coming, state(first)
    assert coming is not None
    first.keeper.close()  # takes a snapshot
    first.release()
    second = Run(settings, tmp_path)
    assert "repeated=0" in second.log.getvalue()
    assert_same(state(second), before)
    seen: list[int] = []
    second.door.on_result = lambda result: seen.append(second.engine.position)
    while not seen:
        minute += 1
        second.batch(minute, 5, 0)
    assert seen == [coming.at]
    assert not second.door.busy
    second.die()


@pytest.mark.parametrize("size", [1, 2, 7, 200])
def test_an_outcome_is_seen_at_its_place_wherever_batches_are_cut(size: int) -> None:
    hand = HandTrainer()
    door = OutcomeDoor(hand)
    engine = Engine(small_settings(), door)
    seen: list[int] = []
    door.on_result = lambda result: seen.append(engine.position)
    slots = [engine.intern(f"plant/{k}") for k in range(3)]
    versions: list[int] = []
    noise = np.random.default_rng(0).normal(size=(400, 3))
    for start in range(0, 400, size):
        rows = [(m, k) for m in range(start, min(400, start + size)) for k in range(3)]
        rows += rows[:1]  # delivered again, and not counted
        batch = Readings.of(
            [slots[k] for _, k in rows],
            [START_NS + m * MINUTE_NS for m, _ in rows],
            [float(noise[m, k]) for m, k in rows],
        )
        if hand.busy and door.coming is None and not seen:
            hand.result = better_result(hand.materials[-1])
            outcome = door.arrived()
            assert outcome is not None
            door.let_in(replace(outcome, at=700))
        versions += engine.step(batch).model.tolist()
    assert seen == [700]
    assert versions == [0] * 700 + [1] * 500


@pytest.mark.parametrize("seed", range(4))
def test_in_the_deterministic_setting_crashes_leave_no_trace_in_the_forecasts(tmp_path: Path, seed: int) -> None:
    settings = settings_with(tmp_path, deterministic=True)
    whole = Run(settings, tmp_path / "whole")
    expected = dict(whole.feed(0, 260, seed))
    assert whole.engine.cohorts[0].tally.adopted >= 1
    rng = np.random.default_rng(seed)
    got: dict[int, list[float]] = {}
    start = 0
    while start < 260:
        run = Run(settings, tmp_path / "crashing")
        lives_until = start + int(rng.integers(5, 90))
        for minute, values in run.feed(start, 260, seed):
            got[minute] = values
            start = minute + 1
            if minute >= lives_until:
                break
        else:
            start = 260
        run.die()
    assert got == expected


def test_a_finished_run_leaves_nothing_to_repeat(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, deterministic=True, every_s=1000.0)
    first = Run(settings, tmp_path)
    for _ in first.feed(0, 60):
        pass
    before = state(first)
    first.keeper.close()
    first.release()
    second = Run(settings, tmp_path)
    assert "repeated=0" in second.log.getvalue()
    assert_same(state(second), before)
    second.die()


def test_a_snapshot_alone_brings_back_the_state_of_its_time(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, deterministic=True)
    settings = settings.model_copy(
        update={"durability": DurabilitySettings(mode="snapshot", state_dir=tmp_path, snapshot_every_s=1000.0)}
    )
    first = Run(settings, tmp_path)
    for _ in first.feed(0, 60):
        pass
    before = state(first)
    first.keeper.close()
    first.release()
    assert not (tmp_path / "journal").exists()
    second = Run(settings, tmp_path)
    assert_same(state(second), before)
    second.die()


def test_with_durability_off_nothing_is_written(tmp_path: Path) -> None:
    settings = small_settings(durability=DurabilitySettings(mode="off", state_dir=tmp_path / "state"))
    run = Run(settings, tmp_path / "state")
    for _ in run.feed(0, 30):
        pass
    run.keeper.close()
    assert not (tmp_path / "state").exists()


def test_old_segments_go_when_the_snapshots_no_longer_need_them(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, deterministic=True, every_s=5.0)
    for start in range(0, 250, 50):
        run = Run(settings, tmp_path)
        for _ in run.feed(start, start + 50):
            pass
        run.keeper.close()
        run.release()
    assert len(list((tmp_path / "snapshots").glob("snapshot-*"))) == 3
    assert len(list((tmp_path / "journal").glob("*.log"))) <= 3


def test_a_second_run_on_one_directory_is_refused(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, deterministic=True)
    first = Run(settings, tmp_path)
    with pytest.raises(StateError, match="is in use by process"):
        Run(settings, tmp_path)
    first.die()


def test_state_of_other_settings_is_refused_in_words_or_told_of(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, deterministic=True)
    first = Run(settings, tmp_path)
    for _ in first.feed(0, 60):
        pass
    first.keeper.close()
    first.release()
    wider = settings.model_copy(update={"network": settings.network.model_copy(update={"hidden": 9})})
    with pytest.raises(StateError, match=r"does not fit the settings.*move the directory away"):
        Run(wider, tmp_path)
    rarer = settings.model_copy(update={"learning": settings.learning.model_copy(update={"every": 99})})
    second = Run(rarer, tmp_path)
    assert "settings_changed sections=learning" in second.log.getvalue()
    second.die()
