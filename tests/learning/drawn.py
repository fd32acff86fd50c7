"""Material made up for tests: windows of noise."""

import numpy as np

from stepahead.learning.features import CONTEXT, feature_count
from stepahead.learning.material import Material, Sample
from stepahead.network.ensemble import weights_of
from stepahead.network.lstm import MemberNetwork, NetworkShape
from stepahead.replay.history import Windows

MINUTE_NS = 60 * 10**9
END_NS = 1_760_000_000 * 10**9


def noise(rng: np.random.Generator, count: int, steps: int, members: int = 1, oldest: int = 40) -> Sample:
    """Windows that ended fewer than `oldest` steps before their series' newest reading."""
    shape = (count, members, steps)
    windows = Windows(
        series=rng.integers(0, 9, (count, members)).astype(np.int32),
        end_ns=END_NS - MINUTE_NS * rng.integers(0, oldest, count),
        period_ns=np.full(count, MINUTE_NS),
        span_ns=np.full(count, 500 * MINUTE_NS),
        diff=rng.normal(size=shape).astype(np.float32),
        day=rng.normal(size=shape).astype(np.float32),
        week=rng.normal(size=shape).astype(np.float32),
        profile=rng.normal(size=shape).astype(np.float32),
        context=rng.normal(size=(*shape, len(CONTEXT))).astype(np.float16),
    )
    scale = rng.uniform(0.5, 2, (count, members))
    return Sample(windows, scale, np.zeros((count, members)), np.full((count, members), END_NS))


def material(number: int = 1, count: int = 6, steps: int = 16, members: int = 1, hidden: int = 8) -> Material:
    """A fine-tune of two networks, two gradient steps each."""
    rng = np.random.default_rng(number)
    shape = NetworkShape(features=feature_count(members), hidden=hidden)
    return Material(
        cohort="default",
        number=number,
        shape=shape,
        weights=[weights_of(MemberNetwork(shape, seed)) for seed in range(2)],
        optimisers=[],
        lessons=noise(rng, 4 * count, steps, members),
        steps=2,
        exam=noise(rng, 4, steps, members, oldest=4),
        clip=8.0,
        held_out=4,
    )
