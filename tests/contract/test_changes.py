"""The ring gives back what went in, to one part in 2,000, whatever came beside it."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepahead.contract.changes import Changes, change_at
from stepahead.contract.records import FloatArray

FEEDS = ("walk", "steps", "growing", "shrinking", "one jump", "tiny", "huge", "still, then tiny")


def values_of(kind: str) -> FloatArray:
    random = np.random.default_rng(2)
    walk = random.normal(size=900).cumsum()
    return {
        "walk": walk,
        "steps": np.repeat(random.normal(size=30) * 100, 30),
        "growing": walk * np.geomspace(1e-3, 1e6, 900),
        "shrinking": walk * np.geomspace(1e6, 1e-3, 900),
        "one jump": walk + np.where(np.arange(900) >= 450, 1e6, 0.0),
        "tiny": walk * 1e-200,
        "huge": np.where(np.arange(900) % 2 == 0, 1e300, -1e300),
        "still, then tiny": np.where(np.arange(900) < 400, 5.0, 5.0 + 1e-6 * walk),
    }[kind]


@pytest.mark.parametrize("kind", FEEDS)
def test_every_change_equals_a_deques_to_eleven_bits(kind: str) -> None:
    values = values_of(kind)
    changes, kept = Changes(length=100, capacity=1), deque[float](maxlen=100)
    slot = np.array([0])
    for t, value in enumerate(values):
        change = value - values[max(t - 1, 0)]
        changes.append(slot, np.array([change]), np.array([t == 0]))
        if t:
            kept.append(change)
        assert changes.count[0] == len(kept)
        if t % 10 == 0:
            largest = max(map(abs, kept), default=0.0)
            np.testing.assert_allclose(changes.latest(0), list(kept), rtol=2.0**-11, atol=largest * 2.0**-34)
            assert ((changes.latest(0) == 0) == (np.array(kept) == 0)).all()


def test_nothing_is_remembered_from_before_it_began_anew() -> None:
    changes, slot = Changes(length=8, capacity=1), np.array([0])
    for t in range(20):
        changes.append(slot, np.array([float(t)]), np.array([t == 15]))
    assert changes.latest(0).tolist() == [16.0, 17.0, 18.0, 19.0]


def test_compiled_loops_read_the_same() -> None:
    changes, slot = Changes(length=5, capacity=1), np.array([0])
    for t in range(9):
        changes.append(slot, np.array([t / 4]), np.array([t == 0]))
    ring, scale, count, head = changes.state
    read = [change_at(ring[0], scale[0], head[0], lag) for lag in range(count[0])]
    assert read[::-1] == changes.latest(0).tolist() == [1.0, 1.25, 1.5, 1.75, 2.0]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_series_together_equal_each_alone(seed: int) -> None:
    random = np.random.default_rng(seed)
    series = 5
    together, alone = Changes(16, series), [Changes(16, 1) for _ in range(series)]
    for _ in range(100):
        slots = random.permutation(series)[: random.integers(1, series + 1)]
        change = random.standard_cauchy(len(slots)) * 10.0 ** random.integers(-5, 5)
        anew = random.random(len(slots)) < 0.02
        together.append(slots, change, anew)
        for i, slot in enumerate(slots):
            one = slice(i, i + 1)
            alone[slot].append(np.array([0]), change[one], anew[one])
    for slot in range(series):
        for name, column in together.state_dict().items():
            np.testing.assert_array_equal(column[slot], getattr(alone[slot], name)[0])
