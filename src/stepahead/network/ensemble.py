"""Several small networks stepped as one: the hot path of the engine.

Axes: n series of this round, M members, F features, E embedding, H hidden, L layers, K horizon.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stepahead.contract.errors import BrokenLawError
from stepahead.network.lstm import EMBEDDED_SERIES, MemberNetwork, NetworkShape

__all__ = ["Ensemble", "Weights"]

Weights = Mapping[str, NDArray[np.float32]]
"""Parameters of one member by name."""

FIXED_BLOCK = 32
"""Rows of one matrix product in the deterministic setting: a product of another size may round differently."""
LARGE_BLOCK = 2048
"""Rows of one block otherwise: gates of a block of this size stay in the second-level cache (a step of
65,536 rows at once was measured to cost twice as much a reading as one of 4,096)."""


class Ensemble:
    """M members of one shape with live weights, which change only through `adopt`.

    State is an argument and a result: float32[n, M, 2, L, H], where index 0 of the third axis is h, and 1 is c.

    Args:
        shape: sizes of each member.
        members: M.
        seed: member m starts from weights seeded by `seed + m`.
        fixed_blocks: pad rounds to blocks of one size, so that a series' result does not depend on its company.

    Example:
        >>> ensemble = Ensemble(NetworkShape(features=3, hidden=5), members=2, seed=0)
        >>> out, state = ensemble.step(np.zeros((4, 3), np.float32), np.arange(4), ensemble.newborn_state(4))
        >>> out.shape, state.shape
        ((4, 2, 1), (4, 2, 2, 1, 5))
    """

    def __init__(self, shape: NetworkShape, members: int, seed: int, fixed_blocks: bool = False) -> None:
        self.shape = shape
        self.members = members
        self.version = 0
        self._fixed_blocks = fixed_blocks
        self._weights: list[dict[str, NDArray[np.float32]]] = []
        self._gates: list[tuple[Tensor, Tensor]] = []
        self._head: tuple[Tensor, Tensor]
        self._embedding: Tensor
        self._networks = [MemberNetwork(shape, seed + m) for m in range(members)]
        self.adopt([weights_of(network) for network in self._networks], version=0)

    def newborn_state(self, n: int) -> NDArray[np.float32]:
        """State of n series that have seen nothing: zeros."""
        return np.zeros((n, self.members, 2, self.shape.layers, self.shape.hidden), np.float32)

    @property
    def weights(self) -> list[dict[str, NDArray[np.float32]]]:
        """The live weights, one dict a member; not to be written to."""
        return self._weights

    def adopt(self, weights: Sequence[Weights], version: int) -> None:
        """Swap the live weights.

        Raises:
            BrokenLawError: a weight is not finite, or the shapes are not ours.
        """
        reference = self._networks[0].state_dict()
        if len(weights) != self.members:
            raise BrokenLawError(f"weights of {len(weights)} members, expected {self.members}")
        for member in weights:
            if {k: tuple(v.shape) for k, v in member.items()} != {k: tuple(v.shape) for k, v in reference.items()}:
                raise BrokenLawError("weights are of another shape than the network's")
            if not all(np.isfinite(array).all() for array in member.values()):
                raise BrokenLawError("weights are not finite")
        self._weights = [{k: np.array(v, np.float32) for k, v in member.items()} for member in weights]
        for network, member in zip(self._networks, self._weights, strict=True):
            network.load_state_dict({name: torch.from_numpy(array) for name, array in member.items()})
        self.version = version
        self._prepare()

    def _prepare(self) -> None:
        """Lay the weights out for `step`: per layer one matrix [M, in + H, 4H], gates in the order i, f, o, g."""
        H = self.shape.hidden

        def stacked(name: str) -> Tensor:
            return torch.stack([torch.from_numpy(member[name]) for member in self._weights])

        # torch's order is i, f, g, o; with g last the three sigmoids are one contiguous call.
        order = torch.cat([torch.arange(0, 2 * H), torch.arange(3 * H, 4 * H), torch.arange(2 * H, 3 * H)])
        self._gates = []
        for layer in range(self.shape.layers):
            both = torch.cat((stacked(f"lstm.weight_ih_l{layer}"), stacked(f"lstm.weight_hh_l{layer}")), dim=2)
            bias = stacked(f"lstm.bias_ih_l{layer}") + stacked(f"lstm.bias_hh_l{layer}")
            self._gates.append((both[:, order].transpose(1, 2).contiguous(), bias[:, order].unsqueeze(1)))
        self._head = (
            # Cloned, for with K = 1 `contiguous` would keep the transposed strides, and then the product of a row
            # depends on its place in the block.
            stacked("head.weight").transpose(1, 2).clone(memory_format=torch.contiguous_format),
            stacked("head.bias").unsqueeze(1),
        )
        self._embedding = stacked("embedding")

    def step(
        self, inputs: NDArray[np.float32], series: NDArray[np.integer[Any]], state: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Advance n series by one reading each.

        Args:
            inputs: float32[n, F], finite.
            series: int[n], slots.
            state: float32[n, M, 2, L, H] before the reading.

        Returns:
            Forecasts float32[n, M, K] of standardized differences, and the state after the reading.
        """
        n = len(inputs)
        block = FIXED_BLOCK if self._fixed_blocks else LARGE_BLOCK
        out = np.empty((n, self.members, self.shape.horizon), np.float32)
        new_state = np.empty_like(state)
        for start in range(0, n, block):
            rows = slice(start, min(start + block, n))
            width = rows.stop - rows.start
            x, rows_of, s = inputs[rows], series[rows] % EMBEDDED_SERIES, state[rows]
            if self._fixed_blocks and width < block:
                x = np.concatenate((x, np.zeros((block - width, x.shape[1]), np.float32)))
                rows_of = np.concatenate((rows_of, np.zeros(block - width, rows_of.dtype)))
                s = np.concatenate((s, np.zeros((block - width, *s.shape[1:]), np.float32)))
            y, s_new = self._step_block(
                torch.from_numpy(x), torch.from_numpy(rows_of.astype(np.int64)), torch.from_numpy(s)
            )
            out[rows] = y[:width].numpy()
            new_state[rows] = s_new[:width].numpy()
        return out, new_state

    @torch.inference_mode()
    def run(self, inputs: NDArray[np.float32], series: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Run whole sequences from a blank state: what the hidden state of n series is under today's weights.

        Args:
            inputs: float32[n, T, F].
            series: int[n], slots.

        Returns:
            State float32[n, M, 2, L, H] after the last step.
        """
        state = self.newborn_state(len(inputs))
        x, rows = torch.from_numpy(inputs), torch.from_numpy(series.astype(np.int64))
        for m, network in enumerate(self._networks):
            _, (h, c) = network(x, rows)  # [L, n, H] each
            state[:, m, 0], state[:, m, 1] = h.transpose(0, 1).numpy(), c.transpose(0, 1).numpy()
        return state

    @torch.inference_mode()
    def _step_block(self, x: Tensor, rows: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        H = self.shape.hidden
        embedded = self._embedding[:, rows]  # [M, n, E]
        x = torch.cat((x.expand(self.members, -1, -1), embedded), dim=2)  # [M, n, F + E]
        below = x
        new_state = torch.empty_like(state)
        for layer, (weight, bias) in enumerate(self._gates):
            h, c = state[:, :, 0, layer].transpose(0, 1), state[:, :, 1, layer].transpose(0, 1)  # [M, n, H]
            gates = torch.baddbmm(bias, torch.cat((below, h), dim=2), weight)  # [M, n, 4H]
            i, f, o = torch.sigmoid_(gates[:, :, : 3 * H]).chunk(3, dim=2)
            g = torch.tanh_(gates[:, :, 3 * H :])
            c = f * c + i * g
            below = o * torch.tanh(c)
            new_state[:, :, 0, layer] = below.transpose(0, 1)
            new_state[:, :, 1, layer] = c.transpose(0, 1)
        weight, bias = self._head
        out = torch.baddbmm(bias, torch.cat((below, x), dim=2), weight)  # [M, n, K]
        return out.transpose(0, 1), new_state


def weights_of(network: MemberNetwork) -> dict[str, NDArray[np.float32]]:
    """Copy a network's parameters out, by name."""
    return {name: parameter.detach().numpy().copy() for name, parameter in network.state_dict().items()}
