from dataclasses import fields

import numpy as np
import pytest

from stepahead.contract.errors import StateError
from stepahead.replay.buffer import ReplayBuffer
from stepahead.replay.history import Windows

STEPS = 4


def numbered(start: int, n: int) -> Windows:
    """Windows whose every number tells which one it is."""
    columns = Windows.columns(1, STEPS, 2)
    number = np.arange(start, start + n)
    return Windows(
        **{
            name: np.broadcast_to(number.reshape(n, *[1] * len(c.shape)), (n, *c.shape)).astype(c.dtype)
            for name, c in columns.items()
        }
    )


def buffer_of(windows: int, seed: int = 0) -> ReplayBuffer:
    small = ReplayBuffer(1, STEPS, 2, max_bytes=1 << 20, seed=0)
    per_window = (1 << 20) // (2 * small.capacity)
    return ReplayBuffer(1, STEPS, 2, max_bytes=2 * per_window * windows, seed=seed)


def same(a: Windows, b: Windows) -> bool:
    return all((getattr(a, f.name) == getattr(b, f.name)).all() for f in fields(Windows))


def test_it_holds_its_bound_of_bytes() -> None:
    buffer = ReplayBuffer(1, STEPS, 2, max_bytes=100_000, seed=0)
    buffer.add(numbered(0, 10_000))
    assert 50_000 < buffer.bytes_used <= 100_000


def test_recent_windows_are_the_newest_and_the_reservoir_is_a_fair_sample_of_all() -> None:
    """Algorithm R: each of N windows is kept with probability capacity / N, whenever it came."""
    kept = np.zeros(400)
    for seed in range(200):
        buffer = buffer_of(40, seed)
        for start in range(0, 400, 50):
            buffer.add(numbered(start, 50))
        assert buffer.capacity == 40
        recent = buffer.sample(300, recent_share=0.999, recent_windows=40).end_ns[:299]
        assert set(recent) <= set(range(360, 400))
        assert len(set(recent)) > 30
        reservoir = buffer.state_dict()["reservoir"]["end_ns"]
        assert len(set(reservoir.tolist())) == 40
        kept[reservoir] += 1
    # 200 draws with probability 0.1: each quarter of history holds 200 * 100 * 0.1 = 2000, standard deviation 42.
    quarters = kept.reshape(4, 100).sum(axis=1)
    assert (np.abs(quarters - 2000) < 5 * 42).all(), quarters


def test_how_windows_are_cut_into_batches_does_not_matter() -> None:
    whole, cut = buffer_of(16), buffer_of(16)
    whole.add(numbered(0, 100))
    for start, n in ((0, 1), (1, 30), (31, 0), (31, 69)):
        cut.add(numbered(start, n))
    assert same(whole.sample(50, 0.5, 8), cut.sample(50, 0.5, 8))


def test_it_goes_on_from_its_state_generator_included() -> None:
    first, second = buffer_of(16), buffer_of(16, seed=9)
    first.add(numbered(0, 60))
    second.load_state_dict(first.state_dict())
    for buffer in (first, second):
        buffer.add(numbered(60, 20))
    assert same(first.sample(40, 0.5, 8), second.sample(40, 0.5, 8))


def test_no_sample_from_nothing_and_no_state_beyond_the_bound() -> None:
    with pytest.raises(ValueError, match="empty"):
        buffer_of(4).sample(1, 0.5, 1)
    large = buffer_of(200)
    large.add(numbered(0, 200))
    with pytest.raises(StateError, match="max_bytes"):
        buffer_of(4).load_state_dict(large.state_dict())
