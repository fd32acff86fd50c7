"""Many readings at full speed through journal and engine: memory stands still, and the intervals hold what they say."""

import time
from pathlib import Path

import numpy as np
import pytest

from stepahead.contract.records import Readings
from stepahead.contract.settings import LearningSettings, NetworkSettings, ReplaySettings, Settings
from stepahead.forecasting.engine import Engine
from stepahead.learning.trainer import InlineTrainer
from stepahead.service.arrivals import Mark
from stepahead.service.history_records import batch_record
from stepahead.storage.journal import Journal
from tests.crash.memory import growth_share, resident_bytes

SECOND_NS = 10**9


@pytest.mark.timeout(7200)
def test_memory_is_flat_after_warm_up_and_coverage_is_what_was_asked_for(tmp_path: Path, long_form: bool) -> None:
    series, steps = (2000, 5000) if long_form else (400, 400)
    learning = LearningSettings(every=240, windows=32) if long_form else LearningSettings(every=100, windows=8)
    # In the short form the replay buffer is small, so that it is full when the warm-up ends.
    replay = ReplaySettings() if long_form else ReplaySettings(max_bytes=2**21, memory_steps=96)
    settings = Settings(network=NetworkSettings(members=1, hidden=8), learning=learning, replay=replay)
    engine = Engine(settings, InlineTrainer(settings.learning))
    journal = Journal(tmp_path, segment_bytes=2**24)
    rng = np.random.default_rng(4)
    slots = np.array([engine.intern(f"s{i}") for i in range(series)], np.int32)
    phase, level = rng.uniform(0, 6, series), rng.normal(50, 20, series)
    inside = scored = 0
    samples: list[int] = []
    bounds: tuple[np.ndarray, np.ndarray] | None = None
    began = time.monotonic()
    for step in range(steps):
        level += rng.normal(scale=0.05, size=series)
        value = level + 3 * np.sin(step / 20 + phase) + rng.normal(scale=0.5, size=series)
        batch = Readings(slots, np.full(series, (1_700_000_000 + step) * SECOND_NS), value)
        if bounds is not None and step >= steps // 2:
            inside += int(((value >= bounds[0]) & (value <= bounds[1])).sum())
            scored += series
        journal.append(batch_record(batch, Mark(step, step)))
        if step % 10 == 9:
            journal.truncate_before(journal.commit() - 100)
        forecasts = engine.step(batch)
        bounds = (forecasts.lower[:, 0], forecasts.upper[:, 0])
        if step % (steps // 50) == 0 and step >= steps // 2:  # the replay buffer is full
            samples.append(resident_bytes())
    took_s = time.monotonic() - began
    coverage, growth = inside / scored, growth_share(samples)
    adopted = engine.cohorts[0].tally.adopted
    print(
        f"{series * steps} readings of {series} series in {took_s:.0f} s, {series * steps / took_s:.0f}/s, {adopted} "
        f"fine-tunes adopted: coverage {100 * coverage:.2f}%, {samples[-1] / 2**20:.0f} MiB, "
        f"{100 * growth:+.2f}% from half of the way on"
    )
    journal.close()
    assert abs(coverage - 0.9) < (0.01 if long_form else 0.03)  # 400 steps are too few for intervals to settle
    assert growth < 0.02
    assert adopted > 0
