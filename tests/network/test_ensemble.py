"""Stepping one reading at a time equals one `nn.LSTM` call on the whole sequence."""

import numpy as np
import pytest
import torch

from stepahead.contract.errors import BrokenLawError
from stepahead.network.ensemble import Ensemble, weights_of
from stepahead.network.lstm import MemberNetwork, NetworkShape


def random_members(shape: NetworkShape, members: int) -> list[MemberNetwork]:
    networks = [MemberNetwork(shape, seed=10 + m) for m in range(members)]
    generator = torch.Generator().manual_seed(5)
    for network in networks:
        torch.nn.init.uniform_(network.head.weight, -0.5, 0.5, generator=generator)
        torch.nn.init.uniform_(network.head.bias, -0.5, 0.5, generator=generator)
    return networks


@pytest.mark.parametrize(
    "shape",
    [
        NetworkShape(features=3, hidden=7),
        NetworkShape(features=5, hidden=16, layers=3, embedding=0, horizon=4),
    ],
)
@pytest.mark.parametrize("fixed_blocks", [False, True])
def test_stepping_equals_one_call_on_the_sequence(shape: NetworkShape, fixed_blocks: bool) -> None:
    n, steps, members = 70, 50, 2
    networks = random_members(shape, members)
    ensemble = Ensemble(shape, members, seed=0, fixed_blocks=fixed_blocks)
    ensemble.adopt([weights_of(network) for network in networks], version=1)
    inputs = np.random.default_rng(0).normal(size=(n, steps, shape.features)).astype(np.float32)
    series = np.arange(n) * 37

    state = ensemble.newborn_state(n)
    stepped = []
    for t in range(steps):
        out, state = ensemble.step(inputs[:, t], series, state)
        stepped.append(out)

    with torch.no_grad():
        for m, network in enumerate(networks):
            whole, (h, c) = network(torch.from_numpy(inputs), torch.from_numpy(series))
            np.testing.assert_allclose(np.stack(stepped, 1)[:, :, m], whole.numpy(), atol=1e-5)
            np.testing.assert_allclose(state[:, m, 0], h.transpose(0, 1).numpy(), atol=1e-5)
            np.testing.assert_allclose(state[:, m, 1], c.transpose(0, 1).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    "shape",
    [
        NetworkShape(features=3, hidden=7),
        NetworkShape(features=24, hidden=32),
        NetworkShape(features=5, hidden=18, layers=3, embedding=0),
    ],
)
def test_a_rerun_equals_one_call_on_the_sequence_and_does_not_feel_its_company(shape: NetworkShape) -> None:
    n, steps, members = 9, 47, 2
    networks = random_members(shape, members)
    ensemble = Ensemble(shape, members, seed=0)
    ensemble.adopt([weights_of(network) for network in networks], version=1)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(n, steps, shape.features)).astype(np.float32)
    series, rows = np.arange(n) * 137, rng.permutation(2 * n)[:n]
    before = rng.normal(size=(2 * n, members, 2, shape.layers, shape.hidden)).astype(np.float32)
    state = before.copy()
    ensemble.rerun(inputs, series, state, rows)

    with torch.no_grad():
        for m, network in enumerate(networks):
            _, (h, c) = network(torch.from_numpy(inputs), torch.from_numpy(series))
            np.testing.assert_allclose(state[rows, m, 0], h.transpose(0, 1).numpy(), atol=1e-5)
            np.testing.assert_allclose(state[rows, m, 1], c.transpose(0, 1).numpy(), atol=1e-5)
    others = np.setdiff1d(np.arange(2 * n), rows)
    np.testing.assert_array_equal(state[others], before[others])
    for i in range(n):
        alone = before.copy()
        ensemble.rerun(inputs[i : i + 1], series[i : i + 1], alone, rows[i : i + 1])
        np.testing.assert_array_equal(alone[rows[i]], state[rows[i]])


def test_in_fixed_blocks_a_series_does_not_feel_its_company() -> None:
    shape = NetworkShape(features=4, hidden=32)
    ensemble = Ensemble(shape, members=3, seed=3, fixed_blocks=True)
    ensemble.adopt([weights_of(network) for network in random_members(shape, 3)], version=1)
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(77, 4)).astype(np.float32)
    state = rng.normal(size=(77, 3, 2, 1, 32)).astype(np.float32)
    together, together_state = ensemble.step(inputs, np.arange(77), state)
    for row in range(77):
        alone, alone_state = ensemble.step(inputs[row : row + 1], np.array([row]), state[row : row + 1])
        assert (alone[0] == together[row]).all()
        assert (alone_state[0] == together_state[row]).all()


@pytest.mark.parametrize("hidden", [8, 32, 33])
@pytest.mark.parametrize("features", [9, 10, 16, 40])
@pytest.mark.parametrize("horizon", [1, 3])
def test_in_fixed_blocks_a_series_does_not_feel_its_place(features: int, hidden: int, horizon: int) -> None:
    shape = NetworkShape(features=features, hidden=hidden, horizon=horizon)
    rng = np.random.default_rng(features)
    ensemble = Ensemble(shape, 3, 0, fixed_blocks=True)
    weights = [{k: v + rng.normal(scale=0.1, size=v.shape) for k, v in m.items()} for m in ensemble.weights]
    ensemble.adopt([{k: v.astype(np.float32) for k, v in m.items()} for m in weights], 1)
    for _ in range(20):
        n = 40
        inputs = rng.normal(size=(n, features)).astype(np.float32)
        state = rng.normal(size=(n, 3, 2, 1, hidden)).astype(np.float32)
        series = rng.integers(0, 50, n)
        order = rng.permutation(n)
        out, new = ensemble.step(inputs, series, state)
        moved_out, moved_new = ensemble.step(inputs[order], series[order], state[order])
        np.testing.assert_array_equal(moved_out, out[order])
        np.testing.assert_array_equal(moved_new, new[order])


def test_weights_that_are_not_finite_or_ours_are_refused() -> None:
    shape = NetworkShape(features=2, hidden=3)
    ensemble = Ensemble(shape, members=1, seed=0)
    broken = weights_of(MemberNetwork(shape, seed=1))
    broken["head.bias"][0] = np.nan
    with pytest.raises(BrokenLawError, match="not finite"):
        ensemble.adopt([broken], version=1)
    with pytest.raises(BrokenLawError, match="another shape"):
        ensemble.adopt([weights_of(MemberNetwork(NetworkShape(features=3, hidden=3), seed=1))], version=1)
    with pytest.raises(BrokenLawError, match="members"):
        ensemble.adopt([], version=1)
    assert ensemble.version == 0


def test_equal_seeds_give_equal_weights_and_leave_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    a, b = (weights_of(MemberNetwork(NetworkShape(features=2), seed=9)) for _ in range(2))
    assert all((a[name] == b[name]).all() for name in a)
    assert torch.equal(before, torch.random.get_rng_state())
