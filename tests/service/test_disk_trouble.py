import errno
import os
from collections import deque
from pathlib import Path

import numpy as np
import pytest

from stepahead.contract.settings import DurabilitySettings
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

    def create(self, path: Path) -> WritableFile:
        return Touchy(super().create(path), self)

    def append(self, path: Path) -> WritableFile:
        return Touchy(super().append(path), self)


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


def test_a_reading_is_on_the_disk_before_its_forecast_goes_out(tmp_path: Path) -> None:
    disk = FullDisk()
    service = journalled(tmp_path, disk)
    turns(service, 1)
    synced = disk.synced
    service.send(0, 1.0)
    service.loop.turn()
    assert (service.forecasts, service.session.acknowledged) == ([], [])
    service.loop.turn()  # nothing else came: it waits no longer
    assert disk.synced > synced
    assert len(service.forecasts) == len(service.session.acknowledged) == 1
    service.release()


def test_under_load_readings_share_an_fsync(tmp_path: Path) -> None:
    disk = FullDisk()
    service = journalled(tmp_path, disk, commit_interval_s=0.02)
    turns(service, 1)
    synced = disk.synced
    for minute in range(100):
        service.send(minute, 1.0)
        service.clock.now_s += 0.001
        service.loop.turn()
    assert disk.synced - synced <= 6
    assert len(service.forecasts) >= 75
    service.loop.turn()
    assert len(service.forecasts) == len(service.session.acknowledged) == 100
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
