"""The ring gives back what went in, to its step, through jumps and changes of scale."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepahead.contract.records import FloatArray
from stepahead.experts.memory import Memory, finest


def usual_change(values: FloatArray) -> FloatArray:
    """Running mean of absolute changes, [T]; 0 at first."""
    change = np.abs(np.diff(values, prepend=values[0]))
    return np.cumsum(change) / np.maximum(np.arange(len(values)), 1)


@pytest.mark.parametrize("shape", ["walk", "far from zero", "steps", "growing", "shrinking", "one jump"])
def test_every_lag_equals_a_deque_to_the_step(shape: str) -> None:
    random = np.random.default_rng(2)
    walk = random.normal(size=900).cumsum()
    values = {
        "walk": walk,
        "far from zero": walk + 1e9,
        "steps": np.repeat(random.normal(size=30) * 100, 30),
        "growing": walk * np.geomspace(1e-3, 1e6, 900),
        "shrinking": walk * np.geomspace(1e6, 1e-3, 900),
        "one jump": walk + np.where(np.arange(900) == 450, 1e6, 0.0),
    }[shape]
    size = usual_change(values)
    memory, kept = Memory(length=100, capacity=1), deque[float](maxlen=100)
    slot, no = np.array([0]), np.array([False])
    for t, value in enumerate(values):
        memory.append(slot, values[t : t + 1], size[t : t + 1], no)
        kept.appendleft(value)
        assert memory.count[0] == len(kept)
        remembered = memory.at(np.repeat(slot, len(kept)), np.arange(len(kept)))
        # Half a step for each of the few times that the ring was rounded anew.
        assert np.abs(remembered - np.array(kept)).max() <= 4 * memory.step[0]
    reach = np.ptp(np.array(kept))
    assert memory.step[0] <= max(4 * finest(size[-1:])[0], reach / 2**13)


def test_nothing_is_remembered_from_before_a_reset() -> None:
    memory = Memory(length=8, capacity=1)
    slot = np.array([0])
    for t in range(20):
        memory.append(slot, np.array([1000.0 + t]), np.array([1.0]), np.array([t == 15]))
    assert memory.count[0] == 5
    assert memory.history(slot)[0, -5:].tolist() == [(t - 15) / memory.step[0] for t in range(15, 20)]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_series_together_equal_each_alone(seed: int) -> None:
    random = np.random.default_rng(seed)
    series = 5
    together, alone = Memory(16, series), [Memory(16, 1) for _ in range(series)]
    for _ in range(60):
        slots = random.permutation(series)[: random.integers(1, series + 1)]
        value = random.standard_cauchy(len(slots)) * 10.0 ** random.integers(-5, 5)
        size, reset = np.abs(random.normal(size=len(slots))), random.random(len(slots)) < 0.02
        together.append(slots, value, size, reset)
        for i, slot in enumerate(slots):
            one = slice(i, i + 1)
            alone[slot].append(slice(0, 1), value[one], size[one], reset[one])
    for slot in range(series):
        for name, column in together.state_dict().items():
            np.testing.assert_array_equal(column[slot], getattr(alone[slot], name)[0])
