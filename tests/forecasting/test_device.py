"""An engine whose networks are stepped by torch forecasts what one with the compiled loops does, to 1e-4."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from stepahead.contract.errors import SettingsError
from stepahead.contract.records import Forecasts, Readings
from stepahead.contract.rows import RowForm
from stepahead.contract.settings import Settings
from stepahead.forecasting.engine import Engine
from stepahead.forecasting.hidden import HiddenStates
from stepahead.learning.trainer import InlineTrainer
from stepahead.network.device_array import DeviceArray
from stepahead.network.device_ensemble import DeviceEnsemble
from stepahead.network.ensemble import Ensemble
from stepahead.network.lstm import NetworkShape
from tests.devices import DEVICES, needs_cuda
from tests.forecasting.memory_shelf import MemoryShelf
from tests.forecasting.small import MINUTE_NS, START_NS, feed, small_settings

CLOSE = 1e-4
SHAPE = NetworkShape(features=5, hidden=6, layers=2, embedding=2, horizon=2)
MEMBERS = 2


class Side:
    """A bank and the ensemble that advances it; `device` None = the compiled loops."""

    def __init__(self, device: torch.device | None) -> None:
        self.device = device
        self.states = self.blank()
        if device is None:
            self.ensemble = Ensemble(SHAPE, MEMBERS, seed=0)
        else:
            self.ensemble = DeviceEnsemble(SHAPE, MEMBERS, 0, device)

    def blank(self) -> HiddenStates:
        return HiddenStates(MEMBERS, SHAPE.layers, SHAPE.hidden, device=self.device)


@pytest.mark.parametrize("device", DEVICES)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_happens_to_a_bank_its_states_are_those_of_the_compiled_loops(device: torch.device, seed: int) -> None:
    """Batches, growth, births, adoptions, reruns, rows laid down and fetched, snapshots taken by the other side."""
    rng = np.random.default_rng(seed)
    compiled, ours = Side(None), Side(device)
    sides = (compiled, ours)
    form = RowForm(ours.states.columns)
    assert form.description == RowForm(compiled.states.columns).description
    capacity = 0
    for step in range(300):
        event = rng.random()
        slots = np.flatnonzero(rng.random(capacity) < rng.random()).astype(np.int32)
        if step % 50 == 0:
            capacity += int(rng.integers(1, 40))
            for side in sides:
                side.states.grow(capacity)
        elif event < 0.8:
            inputs = rng.normal(size=(len(slots), SHAPE.features)).astype(np.float32)
            series = slots + rng.integers(0, 3000)
            expected, out = (side.ensemble.advance(inputs, series, side.states.state, slots) for side in sides)
            assert_allclose(out, expected, atol=CLOSE)
        elif event < 0.85:
            weights = [
                {name: array + rng.normal(scale=0.1, size=array.shape) for name, array in member.items()}
                for member in compiled.ensemble.weights
            ]
            for side in sides:
                side.ensemble.adopt(weights, step)
        elif event < 0.9:
            inputs = rng.normal(size=(len(slots), 15, SHAPE.features)).astype(np.float32)
            for side in sides:
                side.ensemble.rerun(inputs, slots, side.states.state, slots)
        elif event < 0.95:  # some are laid down and others begin; then those come back as they were
            rows = [form.encode(side.states.take(slots)) for side in sides]
            for side in sides:
                side.states.reset(slots)
            assert not compiled.states.take(slots)["state"].any()
            assert not ours.states.take(slots)["state"].any()
            for side, kept in zip(sides, rows, strict=True):
                side.states.put(slots, form.decode(kept))
        else:
            stored = [side.states.state_dict() for side in sides]
            assert all(isinstance(array, np.ndarray) for array in stored[1].values())
            for side, theirs in zip(sides, reversed(stored), strict=True):
                side.states = side.blank()
                side.states.load_state_dict(theirs)
        assert ours.states.capacity == compiled.states.capacity == capacity
        assert_allclose(ours.states.state.copy(), compiled.states.state, atol=CLOSE)
    assert isinstance(ours.states.state, DeviceArray)
    assert ours.states.state.tensor.device == device


SERIES, ROWS = 140, 260


def learning(**sections: Any) -> Settings:
    """Live, learning, with series that come, fall silent, leave memory and come back."""
    engine = {"deterministic": False, "silent_after_s": 600}
    return small_settings(engine=engine, experts={"long_series": 2}, **sections)


def rows(seed: int) -> list[Readings]:
    """One batch a minute, of those that are awake; ever more series are born."""
    rng = np.random.default_rng(seed)
    batches = []
    awake = np.ones(SERIES, np.bool_)
    for row in range(ROWS):
        if row % 15 == 14:
            awake = rng.random(SERIES) < 0.4
        born = 4 + row
        slots = np.flatnonzero(awake[:born]).astype(np.int32)
        value = 3 * np.sin(row / (2 + slots)) + rng.normal(scale=0.3, size=len(slots)) + 10 * (slots % 7)
        batches.append(Readings(slots, np.full(len(slots), START_NS + row * MINUTE_NS), value))
    return batches


class Run:
    """An engine with a shelf; fine-tunes are made on the CPU, so that both sides get the same weights."""

    def __init__(self, wanted: Settings, device: torch.device | None) -> None:
        self.shelf = MemoryShelf()
        trainer = InlineTrainer(wanted.learning, clock=lambda: 0.0)
        self.engine = Engine(wanted, trainer, device)
        self.engine.hibernation.shelf = self.shelf

    def take_up(self, other: "Run") -> "Run":
        """Go on from what another run has stored, as after a restart."""
        self.shelf.packs, self.shelf.begun = dict(other.shelf.packs), other.shelf.begun
        self.engine.load_state_dict(other.engine.state_dict())
        return self

    def play(self, batches: list[Readings]) -> Forecasts:
        parts = []
        for batch in batches:
            for number in range(len(self.engine.table), int(batch.series.max(initial=-1)) + 1):
                assert self.engine.intern(f"s{number}") == number
            parts.append(self.engine.step(batch))
        return Forecasts.concatenate(parts)

    @property
    def state(self) -> np.ndarray:
        return np.asarray(self.engine.state_dict()["pipeline"]["banks"]["hidden.state"])


def assert_close(a: Forecasts, b: Forecasts) -> None:
    for name in ("value", "mean", "lower", "upper", "error"):
        assert_allclose(getattr(a, name), getattr(b, name), rtol=CLOSE, atol=CLOSE, err_msg=name)
    for name in ("reading", "series", "valid_at_ns", "status", "model", "id"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_life_of_an_engine_is_the_same_by_torch_and_a_snapshot_of_one_goes_on_with_the_other(
    device: torch.device, seed: int
) -> None:
    wanted, batches = learning(network={"layers": 1 + seed, "horizon": 1 + 2 * seed}), rows(seed)
    first, second = batches[: ROWS // 2], batches[ROWS // 2 :]
    compiled, ours = Run(wanted, None), Run(wanted, device)
    assert_close(compiled.play(first), ours.play(first))
    by_torch, by_loops = Run(wanted, device).take_up(compiled), Run(wanted, None).take_up(ours)
    away = by_torch.engine.hibernation.away
    assert_close(by_torch.play(second), by_loops.play(second))
    assert_allclose(by_torch.state, by_loops.state, atol=CLOSE)

    assert away > 0
    assert by_torch.shelf.reads > 0  # series came back from where the other kind had laid them down
    assert by_torch.engine.hibernation.lost == []
    assert by_torch.engine._residence.capacity > 64
    assert by_torch.engine.cohorts[0].ensemble.version > compiled.engine.cohorts[0].ensemble.version > 0
    versions = by_torch.engine.state_dict()["pipeline"]["banks"]["hidden.version"]
    assert len(np.unique(versions)) > 3  # states were made anew in their turn


@pytest.mark.parametrize("device", DEVICES)
def test_groups_have_networks_of_their_own_over_one_bank(device: torch.device) -> None:
    wanted = learning(groups=[{"name": "g", "members": ["0", "1", "2"]}])
    readings = feed(rows=150, series=9)
    batches = [readings[at : at + 9] for at in range(0, len(readings), 9)]
    compiled, ours = Run(wanted, None), Run(wanted, device)

    def play(run: Run) -> Forecasts:
        for unit in range(3):
            for member in range(3):
                run.engine.intern(f"u{unit}/{member}" if unit else f"alone{member}")
        return run.play(batches)

    assert_close(play(compiled), play(ours))
    assert min(cohort.ensemble.version for cohort in ours.engine.cohorts) > 0
    assert_allclose(ours.state, compiled.state, atol=CLOSE)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_an_engine_for_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^engine\.device = 'cuda': torch .* sees no CUDA device$"):
        Engine(small_settings(engine={"device": "cuda"}))


@needs_cuda
def test_the_setting_puts_bank_networks_and_fine_tunes_on_the_gpu() -> None:
    wanted, batches = learning(), rows(0)
    on_gpu = wanted.engine.model_copy(update={"device": "cuda"})
    engine = Engine(wanted.model_copy(update={"engine": on_gpu}))
    for number in range(SERIES):
        engine.intern(f"s{number}")
    for batch in batches[:80]:
        engine.step(batch)
    state = engine._pipeline.banks.hidden.state
    assert isinstance(state, DeviceArray)
    assert state.tensor.is_cuda
    assert engine.cohorts[0].ensemble.version > 0
    assert np.isfinite(state.copy()).all()
