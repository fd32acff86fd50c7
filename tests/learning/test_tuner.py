"""A fine-tune learns what can be learned, and its result is a function of its request."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from stepahead.contract.settings import LearningSettings
from stepahead.learning.gate import judge
from stepahead.learning.tuner import Sequences, TuneRequest, TuneResult, tune
from stepahead.network.ensemble import Weights, weights_of
from stepahead.network.lstm import MemberNetwork, NetworkShape
from tests.devices import DEVICES

SHAPE = NetworkShape(features=2, hidden=8, embedding=0)
# A limit that no machine reaches: what is learned is asked for, not how fast.
SETTINGS = LearningSettings(
    rates=(0.01,), boost=1, window_steps=24, burn_in=4, held_out=4, windows=16, max_seconds=1000
)


def autoregression(seed: int, windows: int = 16, steps: int = 20) -> Sequences:
    """x_t = 0.8 x_{t-1} + noise of deviation 0.3: the best forecast is 0.8 x."""
    rng = np.random.default_rng(seed)
    x = np.zeros((windows, steps + 1))
    for t in range(1, steps + 1):
        x[:, t] = 0.8 * x[:, t - 1] + 0.3 * rng.normal(size=windows)
    inputs = np.stack([x[:, :-1], np.zeros_like(x[:, :-1])], axis=-1).astype(np.float32)
    targets = x[:, 1:, None].astype(np.float32)
    return Sequences(inputs, np.arange(windows), targets, np.ones_like(targets))


def request(steps: int = 60, members: int = 2) -> TuneRequest:
    batches = [[autoregression(100 * m + s) for s in range(steps)] for m in range(members)]
    weights = [weights_of(MemberNetwork(SHAPE, seed=m)) for m in range(members)]
    return TuneRequest("default", 1, SHAPE, weights, [], batches, autoregression(9999, windows=200))


def losses(weights: Weights, exam: Sequences) -> np.ndarray:
    """Huber's loss of each step, by NumPy around the network's own forecasts."""
    network = MemberNetwork(SHAPE, seed=0)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    with torch.no_grad():
        out, _ = network(torch.from_numpy(exam.inputs), torch.from_numpy(exam.series))
    error = np.abs(out.numpy() - exam.targets)
    return np.asarray(np.where(error < 1, error**2 / 2, error - 0.5))


def equal(a: TuneResult, b: TuneResult) -> bool:
    return all(
        (x[name] == y[name]).all()
        for x, y in zip([*a.weights, *a.optimisers], [*b.weights, *b.optimisers], strict=True)
        for name in x
    )


def test_it_comes_near_the_best_possible_loss_of_a_known_process() -> None:
    result = tune(request(steps=300), SETTINGS)
    best = 0.5 * 0.3**2  # Huber's loss is half the square for errors this small
    assert (result.challenger_loss < 1.1 * best).all()
    assert (result.champion_loss > 2 * best).all()
    assert judge(result).adopt.all()


def test_an_exam_of_no_steps_has_no_result_and_lets_nothing_pass() -> None:
    asked = request()
    exam = asked.exam
    nothing = Sequences(exam.inputs, exam.series, exam.targets, np.zeros_like(exam.weight))
    result = tune(TuneRequest("default", 1, SHAPE, asked.weights, [], asked.batches, nothing), SETTINGS)
    assert np.isnan([result.champion_loss, result.challenger_loss, result.doubt]).all()
    assert not judge(result).any


def test_the_doubt_is_the_standard_error_of_the_difference_on_the_exam() -> None:
    asked = request(steps=20, members=1)
    result = tune(asked, SETTINGS)
    differences = losses(result.weights[0], asked.exam) - losses(asked.weights[0], asked.exam)
    assert result.challenger_loss[0] - result.champion_loss[0] == pytest.approx(differences.mean(), rel=1e-4)
    assert result.doubt[0] == pytest.approx(differences.std() / np.sqrt(differences.size), rel=1e-4)


def test_threads_change_nothing_and_the_request_stays_as_it_was() -> None:
    asked = request(steps=5)
    before = [member["lstm.weight_hh_l0"].copy() for member in asked.weights]
    assert equal(tune(asked, SETTINGS, threads=1), tune(asked, SETTINGS, threads=2))
    assert all((m["lstm.weight_hh_l0"] == kept).all() for m, kept in zip(asked.weights, before, strict=True))


def test_the_optimiser_goes_on_where_it_was() -> None:
    """Two fine-tunes in a row equal one of all their steps."""
    whole = request(steps=6, members=1)
    first = tune(TuneRequest("default", 1, SHAPE, whole.weights, [], [whole.batches[0][:3]], whole.exam), SETTINGS)
    second = tune(
        TuneRequest("default", 2, SHAPE, first.weights, first.optimisers, [whole.batches[0][3:]], whole.exam), SETTINGS
    )
    assert equal(second, tune(whole, SETTINGS))


@pytest.mark.parametrize("device", DEVICES)
def test_on_a_device_it_is_the_same_fine_tune_to_rounding_and_goes_on_where_another_device_was(
    device: torch.device,
) -> None:
    asked = request(steps=8)
    here = tune(asked, SETTINGS)
    there = tune(asked, SETTINGS, device=device)
    second = TuneRequest("default", 2, SHAPE, here.weights, here.optimisers, asked.batches, asked.exam)
    after = tune(second, SETTINGS), tune(replace(second, optimisers=there.optimisers), SETTINGS, device=device)
    for ours, expected in ((there, here), (after[1], after[0])):
        for x, y in zip([*ours.weights, *ours.optimisers], [*expected.weights, *expected.optimisers], strict=True):
            assert set(x) == set(y)
            for name in y:
                np.testing.assert_allclose(x[name], y[name], atol=1e-4, err_msg=name)
                assert (type(x[name]), x[name].dtype) == (np.ndarray, np.float32)
        for name in ("train_loss", "champion_loss", "challenger_loss", "doubt"):
            np.testing.assert_allclose(getattr(ours, name), getattr(expected, name), atol=1e-4, err_msg=name)
    assert np.abs(here.weights[0]["lstm.weight_hh_l0"] - asked.weights[0]["lstm.weight_hh_l0"]).max() > 0.01


def test_steps_with_weight_zero_or_in_the_burn_in_teach_nothing() -> None:
    asked = request(steps=1, members=1)
    batch = asked.batches[0][0]
    poisoned = batch.targets.copy()
    poisoned[:, : SETTINGS.burn_in] = 1e3
    poisoned[:, 10] = 1e3
    weight = batch.weight.copy()
    weight[:, 10] = 0
    clean, dirty = (
        TuneRequest(
            "default", 1, SHAPE, asked.weights, [], [[Sequences(batch.inputs, batch.series, t, weight)]], asked.exam
        )
        for t in (batch.targets, poisoned)
    )
    assert equal(tune(clean, SETTINGS), tune(dirty, SETTINGS))


def test_a_fine_tune_that_takes_too_long_stops_and_says_so() -> None:
    ticks = itertools.count(0, SETTINGS.max_seconds / 10)
    result = tune(request(steps=50, members=1), SETTINGS, clock=lambda: next(ticks))
    assert result.gave_up
    assert torch.isfinite(torch.from_numpy(result.weights[0]["head.weight"])).all()


@pytest.mark.parametrize("seed", range(5))
def test_poison_is_never_adopted(seed: int) -> None:
    """Targets and rates that make training diverge: the challenger is not finite or worse, and thrown away."""
    rng = np.random.default_rng(seed)
    asked = request(steps=30, members=1)
    poisoned = [
        [
            Sequences(
                b.inputs, b.series, (rng.normal(size=b.targets.shape) * 10.0 ** (4 * seed)).astype(np.float32), b.weight
            )
            for b in asked.batches[0]
        ]
    ]
    wild = LearningSettings(rates=(0.99,), window_steps=24, burn_in=4, held_out=4, windows=16, clip_norm=1e9)
    result = tune(TuneRequest("default", 1, SHAPE, asked.weights, [], poisoned, asked.exam), wild)
    assert not judge(result).any
