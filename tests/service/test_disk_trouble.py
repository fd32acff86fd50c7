import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepahead.contract.settings import DurabilitySettings
from stepahead.service.outcomes import Outcome
from stepahead.storage.filesystem import Bytes, OsFilesystem, WritableFile
from stepahead.wire.delivery import Delivery
from tests.service.engine_double import (
    small_settings,
)
from tests.service.service_double import Service


class FullDisk(OsFilesystem):
    """The operating system's files, on a disk that is full while `trouble` says so."""

    def __init__(self) -> None:
        self.trouble: OSError | None = None
        self.synced = 0

    def wait(self) -> None:
        """It is a fast one."""

    def create(self, path: Path) -> WritableFile:
        return Touchy(super().create(path), self)

    def append(self, path: Path) -> WritableFile:
        return Touchy(super().append(path), self)


class SlowDisk(FullDisk):
    """A disk whose fsync takes as long as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.may_sync, self.asked = threading.Event(), threading.Event()
        self.may_sync.set()

    def wait(self) -> None:
        self.asked.set()
        assert self.may_sync.wait(120)


class Touchy:
    def __init__(self, file: WritableFile, disk: FullDisk) -> None:
        self.file, self.disk = file, disk

    def write(self, data: Bytes) -> None:
        if self.disk.trouble is not None:
            raise self.disk.trouble
        self.file.write(data)

    def sync(self) -> None:
        if self.disk.trouble is not None:
            raise self.disk.trouble
        self.disk.wait()
        self.disk.synced += 1
        self.file.sync()

    def truncate(self, size: int) -> None:
        self.file.truncate(size)

    def close(self) -> None:
        self.file.close()


def journalled(directory: Path, disk: FullDisk, **durability: object) -> Service:
    settings = small_settings(durability=DurabilitySettings.model_validate({"state_dir": directory, **durability}))
    return Service(settings, directory, disk)


def turns(service: Service, seconds: float) -> None:
    until_s = service.clock.now_s + seconds
    while service.clock.now_s < until_s:
        service.loop.turn()


def test_a_reading_is_on_the_disk_before_it_is_acknowledged_and_its_forecast_waits_for_nothing(tmp_path: Path) -> None:
    disk = FullDisk()
    service = journalled(tmp_path, disk)
    turns(service, 1)
    synced = disk.synced
    service.send(0, 1.0)
    service.loop.turn()
    assert (len(service.forecasts), service.session.acknowledged, disk.synced) == (1, [], synced)
    turns(service, 0.03)
    assert disk.synced == synced + 1
    assert (len(service.forecasts), len(service.session.acknowledged)) == (1, 1)
    service.release()


def test_a_forecast_waits_for_the_disk_when_only_we_know_the_time_of_its_reading(tmp_path: Path) -> None:
    disk = FullDisk()
    service = journalled(tmp_path, disk)
    turns(service, 1)
    synced = disk.synced
    service.session.inbox.append(Delivery(b"sensors/a", b"1.5", 2, 65_536 + 1, service.clock.wall_ns()))
    service.loop.turn()
    assert (service.forecasts, service.session.acknowledged) == ([], [])
    service.loop.turn()  # nothing else came: it waits no longer
    assert disk.synced > synced
    assert len(service.forecasts) == len(service.session.acknowledged) == 1
    service.release()


def test_a_forecast_waits_for_the_disk_when_the_outcome_of_a_fine_tune_has_not_come_there(tmp_path: Path) -> None:
    service = journalled(tmp_path, FullDisk())
    turns(service, 1)
    service.keeper.note_outcome(Outcome(None))
    service.send(0, 1.0)
    service.loop.turn()
    assert (service.forecasts, service.session.acknowledged) == ([], [])
    service.loop.turn()
    assert len(service.forecasts) == len(service.session.acknowledged) == 1
    service.release()


def test_readings_share_an_fsync(tmp_path: Path) -> None:
    disk = FullDisk()
    service = journalled(tmp_path, disk, commit_interval_s=0.02)
    turns(service, 1)
    synced = disk.synced
    for minute in range(100):
        service.send(minute, 1.0)
        service.clock.now_s += 0.001
        service.loop.turn()
        assert len(service.forecasts) == minute + 1
    assert disk.synced - synced <= 6
    assert len(service.session.acknowledged) >= 75
    turns(service, 0.03)
    assert len(service.forecasts) == len(service.session.acknowledged) == 100
    service.release()


def test_a_slow_disk_holds_up_acknowledgements_and_nothing_else(tmp_path: Path) -> None:
    disk = SlowDisk()
    with ThreadPoolExecutor(1) as beside:
        service = Service(
            small_settings(durability=DurabilitySettings(state_dir=tmp_path)), tmp_path, disk, beside=beside
        )
        turns(service, 1)
        disk.may_sync.clear()
        service.send(0, 1.0)
        turns(service, 0.05)
        disk.asked.wait(10)
        for minute in range(1, 10):
            service.send(minute, 1.0)
            service.loop.turn()
        assert (len(service.forecasts), service.session.acknowledged) == (10, [])
        disk.may_sync.set()
        deadline = time.monotonic() + 120
        while len(service.session.acknowledged) < 10:
            assert time.monotonic() < deadline
            service.clock.now_s += 0.02
            service.loop.turn()
        disk.trouble = OSError(errno.EIO, "no disk")
        service.send(10, 1.0)
        while service.keeper.trouble is None:
            assert time.monotonic() < deadline
            service.clock.now_s += 0.02
            service.loop.turn()
        assert (len(service.forecasts), len(service.session.acknowledged)) == (11, 10)
        disk.trouble = None
        while len(service.session.acknowledged) < 11 or service.keeper.trouble is not None:
            assert time.monotonic() < deadline
            service.clock.now_s += 0.02
            service.loop.turn()
        service.keeper.close()
        service.release()


class Hand(Executor):
    """A thread that works when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append((future, work))
        return future

    def work(self) -> None:
        while self.waiting:
            future, work = self.waiting.pop()
            future.set_result(work())


def test_what_forecasts_wait_for_goes_to_the_disk_at_once_and_not_when_the_interval_is_over(tmp_path: Path) -> None:
    hand = Hand()
    durability = DurabilitySettings(state_dir=tmp_path, commit_interval_s=0.05)
    service = Service(small_settings(durability=durability), tmp_path, FullDisk(), beside=hand)
    turns(service, 0.2)
    hand.work()
    turns(service, 0.2)
    assert hand.waiting == []
    service.send(0, 1.0)  # it has a time of its own: nothing but its acknowledgement waits
    service.loop.turn()
    assert (len(service.forecasts), hand.waiting) == (1, [])
    service.session.deliver("sensors/a", b"2.5")  # the time at which it came could not be had again
    service.loop.turn()
    assert (len(service.forecasts), len(hand.waiting)) == (1, 1)
    hand.work()
    service.loop.turn()
    assert len(service.forecasts) == 2
    service.keeper.note_outcome(Outcome(None, at=service.engine.position + 1))
    assert len(hand.waiting) == 1
    service.send(0, 1.0, "sensors/b")  # the last before its place
    service.loop.turn()
    assert (len(service.forecasts), len(hand.waiting)) == (3, 1)
    service.send(1, 1.0, "sensors/b")
    service.loop.turn()
    assert len(service.forecasts) == 3
    hand.work()
    service.loop.turn()
    assert len(service.forecasts) == 4
    service.keeper.close()
    service.release()


def test_the_age_of_the_journal_is_that_of_the_oldest_reading_not_on_the_disk(tmp_path: Path) -> None:
    hand = Hand()
    durability = DurabilitySettings(state_dir=tmp_path, snapshot_every_s=600.0)
    service = Service(small_settings(durability=durability), tmp_path, FullDisk(), beside=hand)

    def oldest_s(readings: int, works: bool) -> float:
        ages = [0.0]
        for _ in range(50):
            for _ in range(readings):
                service.send(len(service.forecasts), 1.0)
            service.clock.now_s += 0.8
            service.loop.turn()
            if works:
                hand.work()
            assert service.keeper.safe_s is not None
            ages.append(service.clock.now_s - service.keeper.safe_s)
        return max(ages)

    assert oldest_s(0, works=True) < 3.0, "while nothing comes"
    assert oldest_s(1, works=True) < 3.0, "while readings never stop coming"
    service.send(len(service.forecasts), 1.0)
    assert oldest_s(0, works=False) > 35.0, "while the disk does not come round"
    hand.work()
    service.keeper.close()
    service.release()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO], ids=["full", "read-only", "EIO"])
def test_with_the_disk_in_trouble_it_forecasts_and_acknowledges_when_the_disk_is_back(
    tmp_path: Path, number: int
) -> None:
    disk = FullDisk()
    service = journalled(tmp_path, disk, snapshot_every_s=3.0)
    service.send(0, 1.0)
    turns(service, 1)
    assert len(service.session.acknowledged) == 1
    disk.trouble = OSError(number, os.strerror(number))
    for minute in range(1, 21):
        service.send(minute, float(minute))
        turns(service, 0.5)
    assert len(service.forecasts) == 21
    assert len(service.session.acknowledged) == 1
    told = service.statuses[-1]["durability"]
    assert isinstance(told, dict)
    assert os.strerror(number) in told["trouble"]
    assert service.log.getvalue().count(" error disk ") == 1
    disk.trouble = None
    turns(service, 3)
    assert len(service.forecasts) == 21
    assert len(service.session.acknowledged) == 21
    assert service.statuses[-1]["durability"] == {"mode": "journal", "trouble": None}
    service.release()
    again = journalled(tmp_path, FullDisk())
    assert again.engine.position == 21
    again.release()


def test_a_disk_that_stays_away_stops_the_intake_before_memory_runs_out(
    tmp_path: Path,
) -> None:
    disk = FullDisk()
    settings = small_settings(durability=DurabilitySettings(state_dir=tmp_path))
    service = Service(settings, tmp_path, disk, max_pending_bytes=5000)
    turns(service, 1)
    disk.trouble = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for minute in range(200):
        service.send(minute, float(minute))
        turns(service, 0.3)
    assert 100 < service.loop.waiting < 200
    assert service.session.inbox == deque()  # it is read on, so that the connection stays alive
    disk.trouble = None
    turns(service, 5)
    assert service.loop.waiting == 0
    assert len(service.session.acknowledged) == 200
    service.release()


def test_a_message_without_a_time_is_the_same_when_it_comes_again_after_a_crash(tmp_path: Path) -> None:
    service = journalled(tmp_path, FullDisk())
    messages = [
        Delivery(b"sensors/a", b"%d" % (i % 3), 2, 65_536 + i + 1, service.clock.wall_ns() + i) for i in range(9)
    ]
    service.session.inbox.extend(messages)
    turns(service, 1)
    first = service.forecasts
    assert len(first) == 9
    before = state_of(service)
    service.release()  # killed before the broker heard of the acknowledgements
    for _ in range(2):
        again = journalled(tmp_path, FullDisk())
        again.clock.now_s += 100
        late_ns = again.clock.wall_ns()
        again.session.inbox.extend(message._replace(flags=10, received_ns=late_ns + 1) for message in messages[3:])
        turns(again, 1)
        assert again.forecasts == first[3:]
        assert len(again.session.acknowledged) == 6
        assert state_of(again) == before
        again.release()
    # The same content with another identifier is another message.
    third = journalled(tmp_path, FullDisk())
    third.clock.now_s += 200
    third.session.inbox.append(messages[8]._replace(flags=10, token=65_536 + 100, received_ns=third.clock.wall_ns()))
    turns(third, 1)
    assert third.engine.position == 10
    third.release()


def state_of(service: Service) -> tuple[int, list[float]]:
    return service.engine.position, service.engine.outlook(np.array([0], np.int32)).value.ravel().tolist()
