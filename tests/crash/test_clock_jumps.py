"""The machine's clock is set while the service runs, and while it does not: no reading is lost for it."""

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from stepahead.contract.settings import DurabilitySettings
from stepahead.service.arrival_clock import ArrivalClock
from stepahead.telemetry.log import make_log
from tests.service.engine_double import START_NS, Clock, small_settings
from tests.service.service_double import Service

HOUR_S, YEAR_S = 3600, 365 * 86_400
JUMPS = {
    "an hour on": (HOUR_S,),
    "an hour back": (-HOUR_S,),
    "ten years on": (10 * YEAR_S,),
    "ten years back": (-10 * YEAR_S,),
    "a second back, again and again": (-1,) * 20,
    "on and back": (10 * YEAR_S, -10 * YEAR_S, HOUR_S, -HOUR_S),
}


class SetClock(Clock):
    """A monotonic clock, and a wall clock that somebody sets; the session stamps what arrives with ours."""

    def __init__(self, clock: Clock, newest_ns: int = 0) -> None:
        self.clock = clock
        self.set_by_s = 0.0
        self.log = io.StringIO()
        self.arrival = ArrivalClock(
            make_log(self.log, clock=self.clock),
            newest_ns,
            wall_ns=lambda: START_NS + int((self.clock.now_s + self.set_by_s) * 1e9),
            monotonic_ns=lambda: int(self.clock.now_s * 1e9),
        )

    @property
    def now_s(self) -> float:
        return self.clock.now_s

    @now_s.setter
    def now_s(self, value: float) -> None:
        self.clock.now_s = value

    def wall_ns(self) -> int:
        return self.arrival()


def service_with_clock(tmp_path: Path, newest: bool = False) -> tuple[Service, SetClock]:
    settings = small_settings(durability=DurabilitySettings(state_dir=tmp_path, snapshot_every_s=20.0))
    service = Service(settings, tmp_path)
    clock = SetClock(service.clock, service.arrivals.newest_ns if newest else 0)
    service.session.clock = clock
    return service, clock


def feed(service: Service, start: int, stop: int, timed: bool = False) -> None:
    """A reading a second, bare numbers unless `timed` by a sensor whose own clock is right."""
    for second in range(start, stop):
        value = b"%d" % (20 + second % 7)
        stamp = START_NS // 10**6 + 1000 * (100 + second)
        service.session.deliver("sensors/a", b'{"ts": %d, "value": %s}' % (stamp, value) if timed else value)
        service.loop.turn()
        service.clock.now_s += 1.0
        service.trainer.busy = False  # none comes back, and the next may begin


@pytest.fixture(scope="module")
def requests_of_a_calm_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, bool], int]:
    """How many fine-tunes are asked for in so many seconds while nobody sets the clock."""

    @cache
    def count(seconds: int, timed: bool) -> int:
        service, _ = service_with_clock(tmp_path_factory.mktemp("calm"))
        feed(service, 0, seconds, timed)
        service.release()
        return len(service.trainer.materials)

    return count


@pytest.mark.parametrize("timed", [False, True], ids=["by arrival", "by the sensor"])
@pytest.mark.parametrize("jumps", JUMPS.values(), ids=JUMPS.keys())
def test_a_clock_that_is_set_costs_no_reading_and_at_most_one_fine_tune(
    tmp_path: Path, jumps: tuple[int, ...], timed: bool, requests_of_a_calm_run: Callable[[int, bool], int]
) -> None:
    every = 12
    seconds = 160 + every * len(jumps)
    service, clock = service_with_clock(tmp_path / "set")
    feed(service, 0, 120, timed)
    for number, jump in enumerate(jumps):
        clock.set_by_s += jump
        start = 120 + every * number
        feed(service, start, start + every, timed)
    feed(service, 120 + every * len(jumps), seconds, timed)
    service.loop.turn()
    service.loop.turn()
    assert service.loop.drops == {}
    assert [forecast["observed"] for forecast in service.forecasts] == [20 + i % 7 for i in range(seconds)]
    assert len(service.session.acknowledged) == seconds
    issued = [forecast["issued_at"] for forecast in service.forecasts]
    assert issued == sorted(issued)
    assert 1 <= len(service.trainer.materials) <= requests_of_a_calm_run(seconds, timed) + 1
    told = clock.log.getvalue().count("clock_set_back")
    assert told == (1 if min(jumps) < -1 else told)
    service.release()


@pytest.mark.parametrize("timed", [False, True], ids=["by arrival", "by the sensor"])
def test_a_box_that_starts_with_an_empty_battery_loses_nothing(tmp_path: Path, timed: bool) -> None:
    service, _ = service_with_clock(tmp_path)
    feed(service, 0, 60, timed)
    turns = 2
    for _ in range(turns):
        service.loop.turn()
    service.release()  # killed
    again, clock = service_with_clock(tmp_path, newest=True)
    clock.set_by_s = -10 * YEAR_S
    again.clock.now_s = service.clock.now_s + 30
    feed(again, 90, 130, timed)
    for _ in range(turns):
        again.loop.turn()
    assert again.loop.drops == {}
    assert len(again.forecasts) == 40
    assert again.engine.position == 100
    assert "clock_set_back" in clock.log.getvalue()
    again.release()


def test_a_step_back_is_made_good_slowly() -> None:
    clock = SetClock(Clock())
    begun = clock.wall_ns()
    clock.set_by_s = -60
    stamps = []
    for _ in range(16 * 60 + 5):
        clock.now_s += 1
        stamps.append(clock.wall_ns())
    steps = [after - before for before, after in zip([begun, *stamps], stamps, strict=False)]
    assert min(steps) >= 10**9 * 15 // 16
    right = START_NS + int((clock.now_s - 60) * 1e9)
    assert stamps[-1] - right == pytest.approx(0, abs=1e6)
