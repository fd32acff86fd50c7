"""What the engine does about a drift."""

import numpy as np

from stepahead.contract.records import Readings
from stepahead.contract.settings import LearningSettings
from stepahead.forecasting.engine import Engine
from stepahead.learning.material import Material
from stepahead.learning.trainer import InlineTrainer
from tests.forecasting.small import MINUTE_NS, START_NS, small_settings

SERIES = 4


class Listening(InlineTrainer):
    """Notes what it was given."""

    def __init__(self, settings: LearningSettings) -> None:
        super().__init__(settings)
        self.materials: list[Material] = []

    def submit(self, material: Material) -> None:
        self.materials.append(material)
        super().submit(material)


def test_a_drift_brings_a_burst_of_fine_tunes_on_what_came_since() -> None:
    settings = small_settings(learning={"every": 64, "drift_cooldown": 16, "steps": 1})
    trainer = Listening(settings.learning)
    engine = Engine(settings, trainer)
    slots = np.array([engine.intern(f"s{i}") for i in range(SERIES)], np.int32)
    rng = np.random.default_rng(3)
    begun_at = []
    for t in range(520):
        # Calm, then twenty times as wild, about a level by which windows tell which of the two they come from.
        level, sigma = (0.0, 1.0) if t < 400 else (1e6, 20.0)
        value = level + sigma * rng.normal(size=SERIES)
        before = len(trainer.materials)
        engine.step(Readings(slots, np.full(SERIES, START_NS + t * MINUTE_NS), value))
        begun_at += [t] * (len(trainer.materials) - before)
    cohort = engine.cohorts[0]
    assert cohort.tally.drifts >= 1
    calm = [at for at in begun_at if at < 400]
    burst = [at for at, drawn in zip(begun_at, trainer.materials, strict=True) if (drawn.since_drift or 0) > 1]
    assert np.diff(calm).min() >= 60
    assert len(burst) >= 8
    assert np.median(np.diff(burst)) <= 64 / 8 + 1
    assert all(drawn.since_drift is None for drawn, at in zip(trainer.materials, begun_at, strict=True) if at < 400)
    assert cohort.schedule.hurried

    twin = Engine(settings, Listening(settings.learning))
    twin.load_state_dict(engine.state_dict())
    for t in range(520, 540):
        readings = Readings(slots, np.full(SERIES, START_NS + t * MINUTE_NS), 1e6 + 20 * rng.normal(size=SERIES))
        np.testing.assert_array_equal(engine.step(readings).value, twin.step(readings).value)
    assert twin.cohorts[0].schedule.since_drift == cohort.schedule.since_drift


def test_a_drift_lets_the_regressions_of_its_series_learn_anew() -> None:
    errors = {}
    for drift in (False, True):
        engine = Engine(small_settings(learning={"enabled": False, "drift": drift}))
        slots = np.array([engine.intern(f"s{i}") for i in range(12)], np.int32)
        rng = np.random.default_rng(11)
        value, error = np.zeros(12), np.empty((700, 12))
        for t in range(700):
            value = (0.9 if t < 600 else -0.9) * value + rng.normal(size=12)
            error[t] = np.abs(engine.step(Readings(slots, np.full(12, START_NS + t * MINUTE_NS), value)).error)
        errors[drift] = error[630:].mean()
        assert (engine.cohorts[0].tally.drifts > 0) == drift
    assert errors[True] < 0.9 * errors[False]


def test_series_that_go_on_as_before_keep_what_their_regressions_know() -> None:
    """The law of half of the series changes; the drift is one of all."""
    engine = Engine(small_settings(learning={"enabled": False, "drift": True}))
    slots = np.array([engine.intern(f"s{i}") for i in range(12)], np.int32)
    rng = np.random.default_rng(11)
    value, unsettled = np.zeros(12), []
    unsettle = engine._panel.unsettle
    engine._panel.unsettle = lambda at: (unsettled.append(set(at.tolist())), unsettle(at))[1]  # type: ignore[method-assign]
    for t in range(640):
        law = np.where((t >= 600) & (np.arange(12) < 6), -0.9, 0.9)
        value = law * value + rng.normal(size=12)
        engine.step(Readings(slots, np.full(12, START_NS + t * MINUTE_NS), value))
    assert engine.cohorts[0].tally.drifts >= 1
    found = unsettled[-1]
    assert len(found & set(range(6))) >= 5
    assert len(found & set(range(6, 12))) <= 2
