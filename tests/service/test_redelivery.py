import shutil
from pathlib import Path

import numpy as np

from stepahead.contract.records import Forecasts, Readings
from stepahead.contract.settings import DurabilitySettings, Settings
from stepahead.forecasting.engine import Engine
from stepahead.service.redelivery import RecentForecasts
from tests.service.engine_double import better_result, small_settings
from tests.service.service_double import Service


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
        answer = recent.find(part.id[::-1])
        assert answer is not None
        found, at = answer
        assert at.tolist() == [0, 1, 2]
        assert found.id.tolist() == part.id[::-1].tolist()
        assert found.value.tolist() == part.value[::-1].tolist()
    assert len(recent) == 10
    everything = np.concatenate([part.id for part in parts])
    answer = recent.find(everything)
    assert answer is not None
    assert answer[0].id.tolist() == everything[-10:].tolist()
    assert answer[1].tolist() == list(range(14, 24))
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
    assert found[0].id.tolist() == again[0].id.tolist()
    assert found[0].lower.tolist() == again[0].lower.tolist()
    assert found[1].tolist() == again[1].tolist()


def test_what_was_restored_is_forgotten_piece_by_piece() -> None:
    (part,) = batches(1, 10)
    many = Forecasts.concatenate([part] * 1000)
    recent, restored = RecentForecasts(bound=len(many)), RecentForecasts(bound=len(many))
    recent.add(many)
    restored.load_state_dict(recent.state_dict())
    for _ in range(700):
        restored.add(part)
    held = sum(len(piece) for piece in restored.parts())
    assert held < len(many) + 4096
    # A piece is a copy: what is remembered of it does not keep the rest of the whole in memory.
    assert all(piece.value.base is None for piece in restored.parts())


def test_nothing_is_saved_of_nothing() -> None:
    empty = RecentForecasts(10)
    other = RecentForecasts(10)
    other.load_state_dict(empty.state_dict())
    assert len(other) == 0


def test_many_small_batches_are_packed_and_found_all_the_same() -> None:
    recent = RecentForecasts(bound=1000)
    parts = batches(700, 1)
    for at, part in enumerate(parts):
        recent.add(part)
        if at % 97 == 0:
            assert recent.find(part.id) is not None
    assert len(list(recent.parts())) < 200
    recent.add(batches(1, 300)[0])
    assert len(list(recent.parts())) < 10
    everything = np.concatenate([part.id for part in parts])
    answer = recent.find(everything)
    assert answer is not None
    assert answer[0].id.tolist() == everything.tolist()
    assert answer[0].value[:, 0].tolist() == [float(part.value[0, 0]) for part in parts]


def test_what_is_remembered_does_not_depend_on_how_it_was_cut() -> None:
    parts = batches(30, 3)
    one, other = RecentForecasts(20), RecentForecasts(20)
    for part in parts:
        one.add(part)
        for row in range(len(part)):
            other.add(part[np.array([row])])
    saved, again = one.state_dict(), other.state_dict()
    assert all(np.array_equal(saved[name], again[name], equal_nan=True) for name in saved)
    everything = np.concatenate([part.id for part in parts])
    found, alike = one.find(everything), other.find(everything)
    assert found is not None
    assert alike is not None
    assert found[1].tolist() == alike[1].tolist() == list(range(70, 90))


def test_what_was_said_before_a_kill_is_said_again_with_the_weights_of_then(tmp_path: Path) -> None:
    """A forecast does not wait for the disk: it can be out while its reading is in no journal."""
    settings = small_settings(durability=DurabilitySettings(state_dir=tmp_path))
    first = Service(settings, tmp_path / "first")
    minute = 0
    while not first.trainer.busy:
        first.send(minute, float(minute % 5))
        first.loop.turn()
        minute += 1
    first.loop.turn()
    shutil.copytree(tmp_path / "first", tmp_path / "second")  # the disk as it is when the kill comes
    first.send(minute, 3.0)
    [last] = first.session.inbox
    first.loop.turn()
    said = first.forecasts[-1]
    first.release()

    second = Service(settings, tmp_path / "second")
    second.trainer.result = better_result(second.trainer.materials[-1])  # the fine-tune ends at once this time
    second.session.inbox.append(last._replace(flags=last.flags | 8))
    second.loop.turn()
    assert second.forecasts == [said]
    second.send(minute + 1, 4.0)
    second.loop.turn()
    second.loop.turn()
    assert second.forecasts[-1]["model"] == said["model"] + 1  # type: ignore[operator]
    second.release()
