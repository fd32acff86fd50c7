"""The disk refuses at each call in turn, once or for good: the service goes on and acknowledges only what is safe."""

import errno
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from stepahead.contract.errors import StateError
from stepahead.contract.settings import DurabilitySettings
from tests.service.engine_double import small_settings
from tests.service.service_double import Service
from tests.storage.conftest import FaultyFilesystem, MemoryFilesystem

READINGS = 14


def service_on(directory: Path, disk: FaultyFilesystem | MemoryFilesystem) -> Service:
    settings = small_settings(durability=DurabilitySettings(state_dir=directory, snapshot_every_s=1.0, generations=1))
    return Service(settings, directory, disk)


def live(service: Service) -> None:
    for minute in range(READINGS):
        service.send(minute, float(minute % 5))
        turns(service, 2)


def turns(service: Service, count: int) -> None:
    for _ in range(count):
        service.loop.turn()
        service.clock.now_s += 0.3
        writing = service.keeper._writer._thread  # so that calls come in the same order each time
        if writing is not None:
            writing.join()


def survivor_knows(memory: MemoryFilesystem, directory: Path, seed: int, acknowledged: int) -> None:
    """After a power cut the newest snapshot loads, and with the journal it holds all that was acknowledged."""
    after = service_on(directory, memory.after_power_cut(random.Random(seed)))
    assert after.engine.position >= acknowledged
    assert "state_damaged" not in after.log.getvalue()
    after.release()


def calls_of_a_run(directory: Path) -> list[str]:
    """What is called and on which sort of file, in order: `write journal`, `rename .writing`, …"""
    disk = FaultyFilesystem(MemoryFilesystem())
    service = service_on(directory, disk)
    live(service)
    assert len(service.session.acknowledged) == READINGS
    service.release()
    assert {"write", "sync", "rename", "create", "sync_directory", "remove"} <= {name for name, _ in disk.calls}
    return [f"{name} {re.split(r'-[0-9]', file)[0]}" for name, file in disk.calls]


def one_of_each(calls: list[str], way: int) -> list[int]:
    """Numbers of calls, so that each sort is refused in two of the six ways: once, and for good."""
    chosen = []
    for number, sort in enumerate(sorted(set(calls))):
        if way in (number % 6, (number + 3) % 6):
            chosen.append(random.Random(way).choice([n for n, name in enumerate(calls, start=1) if name == sort]))
    return chosen


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=errno.errorcode.get)
def test_at_whatever_call_it_refuses(tmp_path: Path, error: int, lasting: bool, long_form: bool) -> None:
    calls = calls_of_a_run(tmp_path)
    way = 2 * [errno.ENOSPC, errno.EIO, errno.EROFS].index(error) + lasting
    struck: Counter[str] = Counter()
    refused_starts = 0
    for fail_at in range(1, len(calls) + 1) if long_form else one_of_each(calls, way):
        memory = MemoryFilesystem()
        disk = FaultyFilesystem(memory, fail_at, error, lasting)
        try:
            service = service_on(tmp_path, disk)
        except StateError:
            refused_starts += 1
            disk.heal()
            service_on(tmp_path, disk).release()  # nothing stands in the way of the next start
            continue
        live(service)
        struck[calls[fail_at - 1].split()[0]] += disk.struck
        assert len(service.forecasts) == READINGS  # forecasts go on
        if lasting:
            turns(service, 8)  # until the next status
            assert service.statuses[-1]["durability"]["trouble"]
        survivor = len(service.session.acknowledged)
        service.release()
        survivor_knows(memory, tmp_path, fail_at, survivor)
        disk.heal()
        turns(service, 8)
        assert len(service.session.acknowledged) == READINGS
        assert service.statuses[-1]["durability"] == {"mode": "journal", "trouble": None}
        survivor_knows(memory, tmp_path, -fail_at, READINGS)
    refused = f"{struck.total()} of {len(calls)} calls refused while running, {refused_starts} at the start"
    print(f"{errno.errorcode[error]}, {'for good' if lasting else 'once'}: {refused}:", dict(struck))
    assert struck.total() + refused_starts == (len(calls) if long_form else len(one_of_each(calls, way)))
    assert struck.total() > refused_starts
