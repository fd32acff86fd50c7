"""The ensemble on a torch device gives what the compiled loops give, and moves no more than it must."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode

from stepahead.network.device_array import DeviceArray
from stepahead.network.device_ensemble import DeviceEnsemble
from stepahead.network.ensemble import Ensemble, Weights
from stepahead.network.lstm import NetworkShape
from tests.devices import DEVICES

MEMBERS = 3
SHAPES = [
    NetworkShape(features=3, hidden=7),
    NetworkShape(features=24, hidden=32),
    NetworkShape(features=5, hidden=16, layers=3, embedding=0, horizon=4),
]


def random_weights(ensemble: Ensemble, rng: np.random.Generator) -> list[Weights]:
    return [
        {name: (array + rng.normal(scale=0.2, size=array.shape)).astype(np.float32) for name, array in member.items()}
        for member in ensemble.weights
    ]


def pair(shape: NetworkShape, device: torch.device) -> tuple[Ensemble, DeviceEnsemble]:
    """One by the compiled loops and one on the device, with the same weights, none of them zero."""
    compiled, ours = Ensemble(shape, MEMBERS, seed=0), DeviceEnsemble(shape, MEMBERS, seed=1, device=device)
    weights = random_weights(compiled, np.random.default_rng(5))
    for ensemble in (compiled, ours):
        ensemble.adopt(weights, version=1)
    return compiled, ours


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("device", DEVICES)
def test_hundreds_of_steps_in_place_are_those_of_the_compiled_loops(shape: NetworkShape, device: torch.device) -> None:
    compiled, ours = pair(shape, device)
    rng = np.random.default_rng(0)
    state = rng.normal(size=(500, MEMBERS, 2, shape.layers, shape.hidden)).astype(np.float32)
    held = DeviceArray(torch.tensor(state, device=device))
    for _ in range(300):
        n = int(rng.integers(0, 450))
        inputs = rng.normal(size=(n, shape.features)).astype(np.float32)
        series, rows = rng.integers(0, 5000, n).astype(np.int32), rng.permutation(500)[:n].astype(np.int32)
        expected = compiled.advance(inputs, series, state, rows)
        out = ours.advance(inputs, series, held, rows)
        assert (out.dtype, out.shape, out.flags.c_contiguous) == (expected.dtype, expected.shape, True)
        np.testing.assert_allclose(out, expected, atol=1e-4)
    np.testing.assert_allclose(held.copy(), state, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("device", DEVICES)
def test_a_rerun_is_that_of_the_compiled_loops_and_touches_no_other_row(
    shape: NetworkShape, device: torch.device
) -> None:
    compiled, ours = pair(shape, device)
    rng = np.random.default_rng(0)
    state = rng.normal(size=(20, MEMBERS, 2, shape.layers, shape.hidden)).astype(np.float32)
    before, held = state.copy(), DeviceArray(torch.tensor(state, device=device))
    rows = rng.permutation(20)[:9]
    inputs = rng.normal(size=(9, 47, shape.features)).astype(np.float32)
    compiled.rerun(inputs, np.arange(9) * 137, state, rows)
    ours.rerun(inputs, np.arange(9) * 137, held, rows)
    np.testing.assert_allclose(held.copy(), state, atol=1e-4)
    others = np.setdiff1d(np.arange(20), rows)
    np.testing.assert_array_equal(held[others], before[others])


@pytest.mark.parametrize("device", DEVICES)
def test_a_step_leaves_the_state_that_it_was_handed_as_it_was(device: torch.device) -> None:
    shape = SHAPES[0]
    compiled, ours = pair(shape, device)
    state = compiled.newborn_state(4)
    inputs = np.random.default_rng(0).normal(size=(4, shape.features)).astype(np.float32)
    for got, expected in zip(
        ours.step(inputs, np.arange(4), state), compiled.step(inputs, np.arange(4), state), strict=True
    ):
        np.testing.assert_allclose(got, expected, atol=1e-4)
    assert not state.any()


@pytest.mark.parametrize("device", DEVICES)
def test_what_is_read_of_an_array_on_a_device_are_copies(device: torch.device) -> None:
    array = DeviceArray(torch.zeros(3, 2, device=device))
    whole, some = array.copy(), array[np.array([0, 1])]
    array[np.array([1, 2])] = np.ones((2, 2), np.float32)
    array[:1] = DeviceArray(torch.full((1, 2), 2.0, device=device))
    assert not whole.any()
    assert not some.any()
    assert array.copy().tolist() == [[2, 2], [1, 1], [1, 1]]


class Traffic(TorchFunctionMode):
    """Notes what is moved from one device to another, and lets imagined tensors be read as zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.moved: list[tuple[str, tuple[int, ...]]] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] = {}
    ) -> Any:
        if func is torch.Tensor.numpy and isinstance(args[0], FakeTensor):
            assert args[0].device.type == "cpu"
            return np.zeros(tuple(args[0].shape), str(args[0].dtype).removeprefix("torch."))
        result = func(*args, **kwargs)
        if func in (torch.Tensor.to, torch.Tensor.cpu) and result.device != args[0].device:
            self.moved.append((result.device.type, tuple(result.shape)))
        return result


@contextmanager
def imagined_gpu() -> Iterator[Traffic]:
    """A GPU of which only shapes and places exist; what mixes tensors of two places is an error as on a real one."""
    with FakeTensorMode(allow_non_fake_inputs=True), Traffic() as traffic:
        yield traffic


@pytest.mark.parametrize("layers", [1, 2])
def test_inputs_go_over_once_and_only_forecasts_come_back(layers: int) -> None:
    shape = NetworkShape(features=9, hidden=8, layers=layers, horizon=2)
    with imagined_gpu() as traffic:
        gpu = torch.device("cuda", 0)
        ensemble = DeviceEnsemble(shape, MEMBERS, seed=0, device=gpu)
        state = DeviceArray(torch.zeros(20, MEMBERS, 2, layers, 8, device=gpu))
        rows = np.array([3, 5, 1, 0], np.int32)
        ensemble.adopt(ensemble.weights, version=1)
        traffic.moved.clear()
        ensemble.advance(np.zeros((4, 9), np.float32), rows, state, rows)
        assert sorted(traffic.moved) == [("cpu", (MEMBERS, 4, 2)), ("cuda", (4,)), ("cuda", (4,)), ("cuda", (4, 9))]
        traffic.moved.clear()
        ensemble.rerun(np.zeros((4, 6, 9), np.float32), rows, state, rows)
        assert sorted(traffic.moved) == [("cuda", (4,)), ("cuda", (24,)), ("cuda", (24, 9))]


def test_on_the_imagined_gpu_two_places_do_not_mix() -> None:
    with imagined_gpu(), pytest.raises(RuntimeError, match="same device"):
        torch.zeros(2, 2, device="cuda:0") @ torch.zeros(2, 2)
