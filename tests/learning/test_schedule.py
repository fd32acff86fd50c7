import numpy as np
import pytest

from stepahead.contract.settings import LearningSettings
from stepahead.learning.drift import DriftDetector
from stepahead.learning.schedule import Schedule, interval


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
