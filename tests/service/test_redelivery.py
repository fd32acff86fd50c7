import numpy as np

from stepahead.contract.records import Forecasts, Readings
from stepahead.contract.settings import Settings
from stepahead.forecasting.engine import Engine
from stepahead.service.redelivery import RecentForecasts


def batches(count: int, rows: int) -> list[Forecasts]:
    engine = Engine(Settings())
    slots = [engine.intern(f"s{i}") for i in range(rows)]
    return [
        engine.step(Readings.of(slots, [t * 10**9] * rows, np.random.default_rng(t).normal(size=rows).tolist()))
        for t in range(1, count + 1)
    ]


def test_the_newest_are_found_and_the_oldest_forgotten() -> None:
    recent = RecentForecasts(bound=10)
    parts = batches(8, 3)
    for part in parts:
        recent.add(part)
        found = recent.find(part.id[::-1])
        assert found is not None
        assert found.id.tolist() == part.id[::-1].tolist()
        assert found.value.tolist() == part.value[::-1].tolist()
    assert len(recent) == 12
    everything = np.concatenate([part.id for part in parts])
    found = recent.find(everything)
    assert found is not None
    assert found.id.tolist() == everything[-12:].tolist()
    assert recent.find(parts[0].id) is None


def test_what_is_saved_and_loaded_finds_and_forgets_alike() -> None:
    parts = batches(8, 3)
    one, other = RecentForecasts(10), RecentForecasts(10)
    for part in parts[:5]:
        one.add(part)
    other.load_state_dict(one.state_dict())
    for part in parts[5:]:
        one.add(part)
        other.add(part)
    everything = np.concatenate([part.id for part in parts])
    found, again = one.find(everything), other.find(everything)
    assert found is not None
    assert again is not None
    assert found.id.tolist() == again.id.tolist()
    assert found.lower.tolist() == again.lower.tolist()


def test_nothing_is_saved_of_nothing() -> None:
    empty = RecentForecasts(10)
    other = RecentForecasts(10)
    other.load_state_dict(empty.state_dict())
    assert len(other) == 0
