"""What the network was shown is worked out again as it was, to the rounding of what is remembered."""

import numpy as np
import pytest

from stepahead.contract.records import Readings
from stepahead.forecasting.engine import Engine
from stepahead.forecasting.hindsight import past_context
from stepahead.forecasting.pipeline import Pipeline, Turn
from stepahead.replay.history import Standing
from tests.forecasting.small import MINUTE_NS, START_NS, small_settings

STEPS = 16


def shown(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Contexts that an engine makes from now on, a row per reading."""
    contexts: list[np.ndarray] = []
    original = Pipeline._context

    def context(self: Pipeline, turn: Turn, *rest: object) -> np.ndarray:
        answer = original(self, turn, *rest)  # type: ignore[arg-type]
        contexts.append(answer.copy())
        return answer

    monkeypatch.setattr(Pipeline, "_context", context)
    return contexts


@pytest.mark.parametrize("before", ["none", "asinh"])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_the_context_of_the_newest_steps_is_had_back(monkeypatch: pytest.MonkeyPatch, before: str, order: int) -> None:
    contexts = shown(monkeypatch)
    settings = small_settings(
        transform={"before": before, "order": order}, learning={"enabled": False}, replay={"memory_steps": 400}
    )
    engine = Engine(settings)
    slot = engine.intern("a")
    rng = np.random.default_rng(0)
    time_ns, value, late = START_NS, 20.0, 0
    for row in range(500):
        late = MINUTE_NS * 2 if row == 490 else 0  # two readings are missing
        time_ns += MINUTE_NS + late
        value += 0.0 if row % 9 in (4, 5) else rng.normal()
        engine.step(Readings.of([slot], [time_ns], [value]))
    banks, slots = engine._pipeline.banks, np.array([slot])
    last, order = banks.compress.apply(np.array([value])), np.array([order], np.int8)
    none = np.array([0])
    diff = banks.history.differences(slots, Standing(last, order), none, none)[0]
    got = past_context(banks.history, slots, last, diff, banks.scaler, banks.level, banks.clip)[0]
    want = np.concatenate(contexts)[-STEPS:]
    assert np.count_nonzero(want[:, -1]) == 1
    np.testing.assert_allclose(got[:, -2], want[:, -2], atol=1e-3)  # how long it has stood still
    np.testing.assert_allclose(got[:, -1], want[:, -1], atol=0.5 / 15 + 1e-3)
    np.testing.assert_allclose(got[:, :-2], want[:, :-2], atol=0.01)
