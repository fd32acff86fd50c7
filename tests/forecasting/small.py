"""A small engine that learns within a few hundred readings, and feeds for it."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from stepahead.contract.records import Forecasts, Readings
from stepahead.contract.settings import Settings
from stepahead.forecasting.engine import Engine

MINUTE_NS = 60_000_000_000
START_NS = 1_700_000_000_000_000_000


def small_settings(**sections: Any) -> Settings:
    """Settings with a tiny network and short windows; sections are merged over them."""
    base: dict[str, Any] = {
        "network": {"members": 2, "hidden": 6, "embedding": 2},
        "learning": {"every": 8, "steps": 2, "windows": 8, "window_steps": 16, "burn_in": 2, "held_out": 4},
        "replay": {"memory_steps": 40, "max_bytes": 65536},
        "engine": {"deterministic": True},
    }
    for name, section in sections.items():
        base[name] = {**base.get(name, {}), **section} if isinstance(section, dict) else section
    return Settings.model_validate(base)


def feed(rows: int, series: int, seed: int = 0) -> Readings:
    """Rows of `series` noisy sines, one reading of each a minute, in order of time."""
    rng = np.random.default_rng(seed)
    t = np.arange(rows)[:, None]
    value = 3 * np.sin(t / (2 + np.arange(series))) + rng.normal(size=(rows, series)) * 0.3 + 10 * np.arange(series)
    return Readings(
        np.tile(np.arange(series, dtype=np.int32), rows),
        np.repeat(START_NS + MINUTE_NS * np.arange(rows), series),
        value.ravel(),
    )


def engine_of(settings: Settings, series: int) -> Engine:
    """An engine that knows series s0, s1, …"""
    engine = Engine(settings)
    for slot in range(series):
        assert engine.intern(f"s{slot}") == slot
    return engine


def play(engine: Engine, readings: Readings, cuts: Sequence[int] = ()) -> Forecasts:
    """Step through readings, cut into batches at these rows."""
    bounds = [0, *sorted(cuts), len(readings)]
    parts = []
    for start, end in itertools.pairwise(bounds):
        if end > start:
            part = engine.step(readings[start:end])
            part.reading[:] += start
            parts.append(part)
    return Forecasts.concatenate(parts)


def assert_equal_to_the_bit(a: Forecasts, b: Forecasts, but: Sequence[str] = ()) -> None:
    """Every column equal, NaN equal to NaN."""
    for name in Forecasts.__dataclass_fields__:
        if name not in but:
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name, strict=True)
