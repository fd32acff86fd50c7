"""A hundred attempts to make a fine-tune diverge, by the readings and by the rates: none of its weights go live."""

import numpy as np
import pytest

from stepahead.contract.records import FloatArray, Readings
from stepahead.contract.settings import LearningSettings
from stepahead.forecasting.engine import Engine
from stepahead.learning.gate import judge
from stepahead.learning.material import Material
from stepahead.learning.trainer import InlineTrainer
from stepahead.learning.tuner import TuneResult
from tests.service.engine_double import MINUTE_NS, START_NS, small_settings

CALM, POISONED, AFTER = 60, 60, 20
POISONS = (
    "alternating",
    "growing",
    "spikes",
    "tiny and huge",
    "one jump",
    "random magnitudes",
    "saw",
    "frozen and wild",
    "signs",
    "doubling noise",
)
RATES = (0.01, 0.1, 0.5, 0.9, 0.99)


def poison(kind: str, count: int, rng: np.random.Generator) -> FloatArray:
    n = np.arange(count)
    extreme = 10.0 ** rng.integers(3, 99)
    makers = {
        "alternating": lambda: extreme * (-1.0) ** n,
        "growing": lambda: np.minimum(1.5**n * 10, 1e99),
        "spikes": lambda: np.where(rng.random(count) < 0.2, extreme, 20.0),
        "tiny and huge": lambda: np.where(n % 2, 5e-324, extreme),
        "one jump": lambda: np.where(n < count // 2, 20.0, extreme),
        "random magnitudes": lambda: rng.choice([-1, 1], count) * 10.0 ** rng.uniform(-99, 99, count),
        "saw": lambda: (n % 5) * extreme,
        "frozen and wild": lambda: np.where(n % 20 < 15, 20.0, rng.normal(scale=extreme, size=count)),
        "signs": lambda: np.sign(np.sin(n * n)) * extreme,
        "doubling noise": lambda: rng.normal(size=count) * np.minimum(2.0**n, 1e99),
    }
    return np.asarray(makers[kind](), np.float64)


class Witness(InlineTrainer):
    """Keeps what came of every fine-tune."""

    def __init__(self, settings: LearningSettings) -> None:
        super().__init__(settings)
        self.results: list[TuneResult] = []

    def submit(self, material: Material) -> None:
        super().submit(material)
        assert self._result is not None
        self.results.append(self._result)


def diverged(result: TuneResult) -> np.ndarray:
    """bool[M]: not finite, or worse by a fifth, on the steps held out, than what it was made from."""
    finite = [all(np.isfinite(array).all() for array in member.values()) for member in result.weights]
    return ~np.array(finite) | ~(result.challenger_loss <= 1.2 * result.champion_loss)


@pytest.mark.parametrize("rate", RATES)
def test_no_diverged_fine_tune_is_promoted(rate: float, long_form: bool) -> None:
    attempts = diverging = 0
    for number in range(20 if long_form else 1):
        rng = np.random.default_rng((number, int(rate * 100)))
        kind = POISONS[(number + RATES.index(rate)) % len(POISONS)]
        settings = small_settings(
            learning=LearningSettings(
                every=16, steps=3, windows=8, window_steps=16, burn_in=4, held_out=4,
                boost=100, rates=(rate,), clip_norm=1e30,
            )
        )  # fmt: skip
        trainer = Witness(settings.learning)
        engine = Engine(settings, trainer)
        slots = [engine.intern(f"s{i}") for i in range(2)]
        calm = 20 + np.sin(np.arange(CALM + POISONED + AFTER) / 5) + rng.normal(scale=0.1, size=CALM + POISONED + AFTER)
        calm[CALM : CALM + POISONED] = poison(kind, POISONED, rng)
        live = engine.cohorts[0].ensemble
        for step, value in enumerate(calm):
            before, seen = [dict(member) for member in live.weights], len(trainer.results)
            pending = trainer._result
            times = [START_NS + step * MINUTE_NS] * 2
            forecasts = engine.step(Readings.of(slots, times, [float(value), float(value) / 2]))
            for column in (forecasts.value, forecasts.lower, forecasts.upper):
                assert np.isfinite(column).all(), (kind, step)
            # What was waiting before this step has been judged in it.
            if pending is not None:
                bad = diverged(pending)
                assert not judge(pending).adopt[bad].any()
                for m in np.flatnonzero(bad):
                    for name, array in live.weights[m].items():
                        assert np.array_equal(array, before[m][name]), (kind, rate, step)
            assert all(np.isfinite(array).all() for member in live.weights for array in member.values())
            assert len(trainer.results) - seen <= 1
        attempts += 1
        diverging += any(bool(diverged(result).any()) for result in trainer.results)
    print(f"rate {rate}: {attempts} attempts, {diverging} with a fine-tune that diverged, none promoted")
    assert diverging == attempts
