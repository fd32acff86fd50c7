import numpy as np
import pytest

from stepahead.contract.settings import LearningSettings
from stepahead.learning.drift import DriftDetector
from stepahead.learning.schedule import HURRIED, HURRY, Schedule, interval
from stepahead.learning.tuner import rate_of


@pytest.mark.parametrize(
    ("series", "readings"), [(0, 24), (1, 24), (7, 168), (100, 2400), (1000, 100_000), (10_000, 240_000)]
)
def test_the_interval_grows_with_the_series_and_with_the_work(series: int, readings: int) -> None:
    assert interval(24, series) == readings


def test_drift_brings_the_next_fine_tune_forward_but_not_within_the_cool_down() -> None:
    schedule = Schedule(LearningSettings(every=100, drift_cooldown=30))
    schedule.begun(position=0, series=1)
    schedule.drifted(position=10, series=1)
    assert schedule.remaining(10) == 20
    schedule.begun(position=30, series=1)
    schedule.drifted(position=90, series=1)
    assert schedule.remaining(90) == 0


def test_without_learning_nothing_is_ever_due() -> None:
    schedule = Schedule(LearningSettings(enabled=False))
    schedule.begun(0, 1)
    schedule.drifted(5, 1)
    assert schedule.remaining(10**9) is None


def test_drift_is_found_when_the_error_rises_and_not_in_noise_or_when_it_falls() -> None:
    rng = np.random.default_rng(0)
    calm, wild = rng.exponential(1.0, 2000), rng.exponential(3.0, 300)
    assert not any(DriftDetector().update(calm))
    detector = DriftDetector()
    detector.update(calm)
    found = detector.update(wild)
    assert any(found[:60])
    falling = DriftDetector()
    falling.update(rng.exponential(3.0, 1000))
    assert not any(falling.update(rng.exponential(1.0, 300)))


def test_a_detector_goes_on_from_its_state() -> None:
    rng = np.random.default_rng(1)
    before, after = rng.exponential(1.0, 3000), rng.exponential(2.0, 400)
    first, second = DriftDetector(), DriftDetector()
    first.update(before)
    second.load_state_dict(first.state_dict())
    assert first.update(after) == second.update(after)
    assert first.drifts == second.drifts > 0


def test_after_a_drift_fine_tunes_come_in_quick_succession_and_then_as_ever() -> None:
    schedule = Schedule(LearningSettings(every=80, drift_cooldown=0))
    schedule.begun(position=1000, series=1)
    schedule.drifted(position=1010, series=1)
    starts, position = [], 1010
    for _ in range(HURRIED):
        position += schedule.remaining(position) or 0
        starts.append(position)
        schedule.drifted(position, series=1)  # a burst is not prolonged by the drifts that it works off
        schedule.begun(position, series=1)
    assert starts == [1010 + 80 // HURRY * k for k in range(HURRIED)]
    assert schedule.remaining(position) == 80


def test_a_burst_ends_and_another_drift_begins_another() -> None:
    schedule = Schedule(LearningSettings(every=80, drift_cooldown=0))
    schedule.drifted(position=0, series=1)
    for k in range(HURRIED):
        assert schedule.hurried
        schedule.begun(position=k, series=1)
    assert (schedule.hurried, schedule.since_drift) == (False, HURRIED)
    assert schedule.remaining(HURRIED - 1) == 80
    schedule.drifted(position=HURRIED + 5, series=1)
    assert (schedule.hurried, schedule.since_drift, schedule.remaining(HURRIED + 5)) == (True, 0, 0)


def test_a_burst_keeps_to_the_work_bound() -> None:
    schedule = Schedule(LearningSettings(every=24, drift_cooldown=24))
    schedule.drifted(position=10**6, series=1000)
    schedule.begun(position=10**6, series=1000)
    assert schedule.remaining(10**6) == 100_000


def test_a_schedule_goes_on_from_its_state_and_from_that_of_an_earlier_release() -> None:
    schedule, again, old = (Schedule(LearningSettings(drift_cooldown=0)) for _ in range(3))
    schedule.drifted(position=7, series=2)
    schedule.begun(position=7, series=2)
    state = schedule.state_dict()
    again.load_state_dict(state)
    assert again.state_dict() == state == {"last": 7, "next": 13, "since_drift": 1}
    old.load_state_dict({"last": 7, "next": 55})
    assert (old.since_drift, old.hurried, old.remaining(7)) == (None, False, 48)


def test_the_rate_begins_anew_after_a_drift_at_a_quarter_of_the_first_boost() -> None:
    settings = LearningSettings(rates=(0.001,), boost=12)
    assert [rate_of(0, 10_000, settings, k) for k in (None, 1, 4, 36, 100)] == pytest.approx(
        [0.001, 0.003, 0.0015, 0.001, 0.001]
    )
    assert rate_of(0, 1, settings, since_drift=1) == pytest.approx(0.012)
