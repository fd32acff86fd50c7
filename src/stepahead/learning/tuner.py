"""Fine-tuning: a bounded number of gradient steps on a copy of the weights. Pure: a function of its request.

Axes: B sequences, T steps, F features, K horizon, M members.
"""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import huber_loss

from stepahead.contract.settings import LearningSettings
from stepahead.network.device import CPU, full_precision
from stepahead.network.ensemble import Weights, weights_of
from stepahead.network.lstm import MemberNetwork, NetworkShape

__all__ = ["Sequences", "TuneRequest", "TuneResult", "rate_of", "tune"]


WEIGHT_DECAY = 0.3
"""AdamW's: with 0.01, its default, weights grow on what few windows have in common (tests/bench/QUALITY.md)."""
RESTART = 0.25
"""After a drift the rate starts again at this share of the boost with which everything began."""


@dataclass(frozen=True, slots=True)
class Sequences:
    """Training sequences in model units.

    Attributes:
        inputs: float32[B, T, F].
        series: int64[B], slots.
        targets: float32[B, T, K], standardized differences 1..K steps after each step, clipped.
        weight: float32[B, T, K], 0 where the target lies beyond the window or the step must not be scored.
    """

    inputs: NDArray[np.float32]
    series: NDArray[np.int64]
    targets: NDArray[np.float32]
    weight: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TuneRequest:
    """One fine-tune to be done, complete in itself.

    Attributes:
        cohort: name of the group whose network this is.
        number: running number of the fine-tune in its cohort, from 1.
        shape: sizes of the network.
        weights: champion, one dict a member.
        optimisers: AdamW's moments, one dict a member; empty before the first fine-tune.
        batches: [M][steps], what each member trains on.
        exam: newest steps, held out from `batches`: what the gate looks at.
        since_drift: running number since the last drift, from 1; None when there was none.
    """

    cohort: str
    number: int
    shape: NetworkShape
    weights: Sequence[Weights]
    optimisers: Sequence[Weights]
    batches: Sequence[Sequence[Sequences]]
    exam: Sequences
    since_drift: int | None = None


@dataclass(frozen=True, slots=True)
class TuneResult:
    """What came of a request.

    Attributes:
        cohort, number: of the request.
        weights, optimisers: challenger, one dict a member.
        train_loss: float[M], mean loss over the gradient steps.
        champion_loss, challenger_loss: float[M], on the exam.
        doubt: float[M], standard error of the difference of the two, as if the exam's steps were independent.
        gave_up: the time limit struck before all steps were done.
        version: of weights that a gate elsewhere has let in, for several engines; None = the engine's own gate decides.
    """

    cohort: str
    number: int
    weights: Sequence[Weights]
    optimisers: Sequence[Weights]
    train_loss: NDArray[np.float64]
    champion_loss: NDArray[np.float64]
    challenger_loss: NDArray[np.float64]
    doubt: NDArray[np.float64]
    gave_up: bool
    version: int | None = None


def tune(
    request: TuneRequest,
    settings: LearningSettings,
    threads: int = 1,
    clock: Callable[[], float] = time.monotonic,
    device: torch.device = CPU,
) -> TuneResult:
    """Train a copy of each member and examine champion and challenger.

    Members are independent of one another, so `threads` changes how long it takes but not one bit of the result. On a
    GPU the result is that of the CPU to rounding: weights to 1e-4, the gate's close decisions may differ.
    The loss is Huber's (1964) with threshold 1 on standardized differences: sensors jump, and it was
    measured ahead of squared error. The optimiser is AdamW (Loshchilov & Hutter 2019).

    Args:
        request: what to do; nothing in it is changed.
        settings: rates, clipping, limits.
        threads: members trained at the same time.
        clock: seconds, for the time limit only.
        device: where to compute; request and result are NumPy arrays in any case.
    """
    deadline = clock() + settings.max_seconds

    def one(member: int) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]], list[float], bool]:
        return _tune_member(request, settings, member, lambda: clock() > deadline, device)

    members = range(len(request.weights))
    with full_precision():
        if threads > 1:
            with ThreadPoolExecutor(min(threads, len(members))) as pool:
                done = list(pool.map(one, members))
        else:
            done = [one(member) for member in members]
    losses = np.array([losses for _, _, losses, _ in done], dtype=np.float64)
    return TuneResult(
        cohort=request.cohort,
        number=request.number,
        weights=[weights for weights, _, _, _ in done],
        optimisers=[optimiser for _, optimiser, _, _ in done],
        train_loss=losses[:, 0],
        champion_loss=losses[:, 1],
        challenger_loss=losses[:, 2],
        doubt=losses[:, 3],
        gave_up=any(gave_up for _, _, _, gave_up in done),
    )


def rate_of(member: int, number: int, settings: LearningSettings, since_drift: int | None = None) -> float:
    """AdamW's rate: high while everything is new, then falling with the square root of time to the member's own.

    The fall is that of online gradient descent (Zinkevich, ICML 2003); the floor is there because feeds change.

    Args:
        member: 0 .. M-1.
        number: of the fine-tune, from 1.
        settings: `rates` and `boost`.
        since_drift: number of the fine-tune since the last drift, from 1: the fall begins anew, lower.

    Example:
        >>> [rate_of(0, k, LearningSettings(rates=(0.001,), boost=6)) for k in (1, 4, 36, 100)]
        [0.006, 0.003, 0.001, 0.001]
    """
    boost = settings.boost / math.sqrt(number)
    if since_drift is not None:
        boost = max(boost, RESTART * settings.boost / math.sqrt(since_drift))
    return settings.rates[member % len(settings.rates)] * max(1.0, boost)


def _tune_member(
    request: TuneRequest,
    settings: LearningSettings,
    member: int,
    out_of_time: Callable[[], bool],
    device: torch.device,
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]], list[float], bool]:
    network = MemberNetwork(request.shape, seed=0)
    _load(network, request.weights[member])
    network.to(device)
    champion = _examine(network, request.exam)
    rate = rate_of(member, request.number, settings, request.since_drift)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=WEIGHT_DECAY)
    _load_moments(optimiser, network, request.optimisers[member] if request.optimisers else {})
    train_losses: list[float] = []
    for batch in request.batches[member]:
        if out_of_time():
            break
        optimiser.zero_grad()
        loss = _loss(network, batch, settings.burn_in)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
        optimiser.step()
        train_losses.append(float(loss.detach()))
    gave_up = len(train_losses) < len(request.batches[member])
    challenger = _examine(network, request.exam)
    trained = float(np.mean(train_losses)) if train_losses else math.nan
    return weights_of(network), _moments(optimiser, network), [trained, *_marks(champion, challenger)], gave_up


def _marks(champion: NDArray[np.float64], challenger: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean loss of each and the standard error of their difference; NaN, which no gate lets pass, if none counted."""
    if not len(champion):
        return math.nan, math.nan, math.nan
    doubt = np.std(challenger - champion) / math.sqrt(len(champion))
    return float(champion.mean()), float(challenger.mean()), float(doubt)


def _loss(network: MemberNetwork, batch: Sequences, burn_in: int) -> torch.Tensor:
    losses = _losses(network, batch)[:, burn_in:]
    weight = _beside(network, batch.weight)[:, burn_in:]
    return (losses * weight).sum() / weight.sum().clamp(min=1)


def _losses(network: MemberNetwork, batch: Sequences) -> torch.Tensor:
    """Loss of each step, [B, T, K]."""
    out, _ = network(_beside(network, batch.inputs), _beside(network, batch.series))
    return huber_loss(out, _beside(network, batch.targets), reduction="none")


def _beside(network: MemberNetwork, array: NDArray[Any]) -> torch.Tensor:
    """The array where the network is; on the CPU without a copy."""
    return torch.from_numpy(array).to(network.embedding.device)


@torch.inference_mode()
def _examine(network: MemberNetwork, exam: Sequences) -> NDArray[np.float64]:
    """Losses of the steps that count."""
    losses = _losses(network, exam)[_beside(network, exam.weight) > 0]
    return np.asarray(losses.cpu().numpy(), np.float64)


def _load(network: MemberNetwork, weights: Weights) -> None:
    network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})


def _moments(optimiser: torch.optim.AdamW, network: MemberNetwork) -> dict[str, NDArray[np.float32]]:
    """AdamW's state by parameter name, as plain arrays."""
    moments = {}
    for name, parameter in network.named_parameters():
        for key, value in optimiser.state[parameter].items():
            moments[f"{name}/{key}"] = value.cpu().numpy().astype(np.float32)
    return moments


def _load_moments(optimiser: torch.optim.AdamW, network: MemberNetwork, moments: Weights) -> None:
    if not moments:
        return
    for name, parameter in network.named_parameters():
        mine = {key: torch.from_numpy(np.array(moments[f"{name}/{key}"])) for key in ("step", "exp_avg", "exp_avg_sq")}
        # AdamW counts its steps on the CPU wherever the weights are.
        optimiser.state[parameter] = {
            key: value if key == "step" else value.to(parameter.device) for key, value in mine.items()
        }
