"""Silent series of a service: crashes, damaged snapshots and a disk that refuses leave no trace in the forecasts."""

import errno
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepahead.contract.settings import DurabilitySettings, EngineSettings, ExpertSettings, Settings
from stepahead.service.recovery import resume
from stepahead.telemetry.log import make_log
from tests.laws.test_hibernation_laws import coming_and_going
from tests.service.engine_double import small_settings
from tests.service.test_recovery import Run
from tests.storage.conftest import FaultyFilesystem, MemoryFilesystem

SERIES, MINUTES = 9, 160


def hibernating(directory: Path, **engine: Any) -> Settings:
    return small_settings(
        engine=EngineSettings.model_validate({"deterministic": True, "silent_after_s": 600, **engine}),
        experts=ExpertSettings(long_series=1),
        durability=DurabilitySettings(state_dir=directory, snapshot_every_s=15.0, generations=2),
    )


class Plant(Run):
    """A run whose series come and go."""

    minutes = coming_and_going(11, SERIES, MINUTES)

    def play(self, start: int, stop: int) -> Iterator[tuple[int, list[float]]]:
        first_ns = int(self.minutes.time_ns[0])
        minute_of = (self.minutes.time_ns - first_ns) // (60 * 10**9)
        for minute in range(start, stop):
            readings = self.minutes[np.flatnonzero(minute_of == minute)]
            for number in range(SERIES):
                assert self.engine.intern(f"plant/{number}") == number
            self.keeper.note_batch(readings, self.knowledge.arrivals.mark())
            forecasts = self.engine.step(readings)
            self.clock.now_s += 1.0
            self.keeper.commit(self.clock.now_s, company=False)
            self.keeper.care(self.clock.now_s)
            yield minute, [*forecasts.value[:, 0].tolist(), *forecasts.lower.ravel().tolist()]


def expected_forecasts(directory: Path) -> dict[int, list[float]]:
    whole = Plant(hibernating(directory), directory)
    whole.engine.hibernation.shelf = None
    expected = dict(whole.play(0, MINUTES))
    assert whole.engine.cohorts[0].tally.adopted > 3
    whole.die()
    return expected


@pytest.mark.parametrize("seed", range(3))
def test_crashes_leave_no_trace_while_series_come_and_go(tmp_path: Path, seed: int) -> None:
    expected = expected_forecasts(tmp_path / "whole")
    rng = np.random.default_rng(seed)
    got: dict[int, list[float]] = {}
    start = largest = resumed_with_some_away = 0
    directory = tmp_path / "crashing"
    while start < MINUTES:
        run = Plant(hibernating(directory), directory)
        resumed_with_some_away += run.engine.hibernation.away > 0
        lives_until = start + int(rng.integers(5, 40))
        for minute, values in run.play(start, MINUTES):
            got[minute], start = values, minute + 1
            largest = max(largest, run.engine.hibernation.away)
            if minute >= lives_until:
                break
        run.die()
    assert got == expected
    assert largest >= 3
    assert resumed_with_some_away >= 2


def test_packs_that_no_snapshot_needs_any_more_go(tmp_path: Path) -> None:
    run = Plant(hibernating(tmp_path), tmp_path)
    for _ in run.play(0, MINUTES):
        run.settle()
    there = {int(path.name.removeprefix("pack-")) for path in tmp_path.glob("silent/pack-*")}
    assert max(there) > 8
    assert not there & {1, 2, 3}
    assert set(run.engine.hibernation.packs) <= there
    run.die()


def test_the_snapshot_before_the_newest_still_finds_what_it_needs(tmp_path: Path) -> None:
    expected = expected_forecasts(tmp_path / "whole")
    directory = tmp_path / "state"
    run = Plant(hibernating(directory), directory)
    got = {}
    for minute, values in run.play(0, 120):
        got[minute] = values
        run.settle()
    run.keeper.close()
    run.release()
    newest = max((directory / "snapshots").glob("snapshot-*"))
    arrays = newest / "arrays.safetensors"
    data = bytearray(arrays.read_bytes())
    data[len(data) // 2] ^= 1
    arrays.write_bytes(data)
    again = Plant(hibernating(directory), directory)
    assert "does not match its checksum" in again.log.getvalue()
    got |= dict(again.play(120, MINUTES))
    assert again.engine.hibernation.lost == []
    again.die()
    assert got == expected


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=errno.errorcode.get)
def test_when_the_disk_refuses_the_silent_stay_and_nothing_else_changes(tmp_path: Path, error: int) -> None:
    expected = expected_forecasts(tmp_path / "whole")

    class RefusingPacks(FaultyFilesystem):
        refuse = False

        def call(self, name: str, path: Path, before_error: Any = lambda: None) -> None:
            if self.refuse and path.name.startswith("pack-") and name in ("create", "write", "sync"):
                raise OSError(error, "it refuses", str(path))

    disk = RefusingPacks(MemoryFilesystem())
    run = Plant(hibernating(Path("/state")), tmp_path / "lock")
    run.release()
    run.keeper, run.release = resume(
        run.settings, run.knowledge, tmp_path / "other", make_log(run.log), run.clock, filesystem=disk
    )
    got, away = {}, []
    for minute, values in run.play(0, MINUTES):
        disk.refuse = 40 <= minute < 110
        got[minute] = values
        away.append(run.engine.hibernation.away)
    assert got == expected
    assert run.keeper.trouble is None
    assert (np.diff(away[41:110]) <= 0).all()  # nobody goes, and those who come back can be read
    assert max(away[:40]) > 0
    assert max(np.diff(away[111:])) > 0
    run.die()


def test_a_power_cut_loses_no_series_that_a_snapshot_knows(tmp_path: Path) -> None:
    """Whoever is away in a snapshot lies in packs that were synced before it."""
    memory = MemoryFilesystem()
    run = Plant(hibernating(Path("/state")), tmp_path / "lock")
    run.release()
    directory = tmp_path / "state"
    run.keeper, run.release = resume(run.settings, run.knowledge, directory, make_log(run.log), run.clock, memory)
    expected = dict(run.play(0, 110))
    rest = dict(run.play(110, MINUTES))
    run.die()
    for cut in range(5):
        survivor = memory.after_power_cut(random.Random(cut))
        again = Plant(hibernating(Path("/state")), tmp_path / "lock")
        again.release()
        again.keeper, again.release = resume(
            again.settings, again.knowledge, directory, make_log(again.log), again.clock, survivor
        )
        assert again.engine.position == run.engine.position
        series = np.arange(SERIES, dtype=np.int32)
        again.engine.hibernation.fetch(series)
        assert again.engine.hibernation.lost == []
        assert "missing" not in again.log.getvalue()
        again.die()
    assert len(expected) + len(rest) == MINUTES


def test_what_is_missing_is_said_at_the_start_and_the_series_begin_anew(tmp_path: Path) -> None:
    run = Plant(hibernating(tmp_path), tmp_path)
    for _ in run.play(0, 100):
        run.settle()
    assert run.engine.hibernation.away > 0
    run.keeper.close()
    run.release()
    for pack in (tmp_path / "silent").iterdir():
        pack.unlink()
    again = Plant(hibernating(tmp_path), tmp_path)
    assert "are missing" in again.log.getvalue()
    for _ in again.play(100, MINUTES):
        pass
    assert again.engine.hibernation.lost
    again.die()
