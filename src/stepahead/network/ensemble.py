"""Several small networks stepped as one: the hot path of the engine.

Axes: n series of this round, M members, F features, E embedding, H hidden, L layers, K horizon.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stepahead.contract.bank import indices
from stepahead.contract.errors import BrokenLawError
from stepahead.network.cell import apply_gates, apply_head, gather_above, gather_first, rerun_layer
from stepahead.network.device_array import DeviceArray
from stepahead.network.lstm import MemberNetwork, NetworkShape

__all__ = ["Ensemble", "States", "Weights"]

Weights = Mapping[str, NDArray[np.float32]]
"""Parameters of one member by name."""

States: TypeAlias = NDArray[np.float32] | DeviceArray
"""The state of all series, float32[capacity, M, 2, L, H]: where the ensemble that advances it wants it."""

Layer = tuple[Tensor, NDArray[np.float32]]
"""Matrices [M, in + H, 4H] and biases [M, 4H] of one layer."""

Shared = tuple[Tensor, NDArray[np.float32]]
"""One array, as PyTorch and as NumPy see it."""

Block = tuple[list[Shared], Shared]
"""Operands [M, n, in + H] of each layer, and products [M, n, 4H]."""

FIXED_BLOCK = 32
"""Rows of one matrix product in the deterministic setting: a product of another size may round differently."""
ROOMS = 32
LARGE_BLOCK = 384
"""Rows of one block otherwise: operands, products and states of its members stay in a second-level cache."""


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
        self._layers: list[Layer] = []
        self._blocks: dict[int, Block] = {}
        self._embedding = np.empty((members, 1, 0), np.float32)
        self._head = (np.empty((members, 0, 0), np.float32), np.empty((members, 0), np.float32))
        newborn = [weights_of(MemberNetwork(shape, seed + m)) for m in range(members)]
        self._shapes = shapes_of(newborn[0])
        self.adopt(newborn, version=0)

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
        if len(weights) != self.members:
            raise BrokenLawError(f"weights of {len(weights)} members, expected {self.members}")
        for member in weights:
            if shapes_of(member) != self._shapes:
                raise BrokenLawError("weights are of another shape than the network's")
            if not all(np.isfinite(array).all() for array in member.values()):
                raise BrokenLawError("weights are not finite")
        self._weights = [{k: np.array(v, np.float32) for k, v in member.items()} for member in weights]
        self.version = version
        self._prepare()

    def _prepare(self) -> None:
        """Lay the weights out for `advance`, all members side by side."""

        def stacked(name: str) -> NDArray[np.float32]:
            return np.stack([member[name] for member in self._weights])

        self._layers = []
        for layer in range(self.shape.layers):
            both = np.concatenate((stacked(f"lstm.weight_ih_l{layer}"), stacked(f"lstm.weight_hh_l{layer}")), axis=2)
            matrix = torch.from_numpy(np.ascontiguousarray(both.swapaxes(1, 2)))  # [M, in + H, 4H]
            self._layers.append((matrix, stacked(f"lstm.bias_ih_l{layer}") + stacked(f"lstm.bias_hh_l{layer}")))
        self._embedding = stacked("embedding")
        self._head = (stacked("head.weight"), stacked("head.bias"))

    def _block(self, rows: int) -> "Block":
        """Room for so many rows of a block."""
        if rows not in self._blocks:
            inputs, H, M = self.shape.features + self.shape.embedding, self.shape.hidden, self.members
            widths = [(inputs if layer == 0 else H) + H for layer in range(self.shape.layers)]
            if len(self._blocks) > ROOMS:  # of many sizes each comes rarely, and a room is made in microseconds
                self._blocks.clear()
            self._blocks[rows] = ([shared(M, rows, width) for width in widths], shared(M, rows, 4 * H))
        return self._blocks[rows]

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
        new_state = state.copy()
        return self.advance(inputs, series, new_state, np.arange(len(inputs))), new_state

    def advance(
        self,
        inputs: NDArray[np.float32],
        series: NDArray[np.integer[Any]],
        state: States,
        rows: NDArray[np.integer[Any]],
    ) -> NDArray[np.float32]:
        """As `step`, on the state of all series and in place, so that only what changes is read and written.

        Args:
            inputs: float32[n, F], finite.
            series: int[n], slots.
            state: float32[capacity, M, 2, L, H].
            rows: int[n], distinct rows of `state`.

        Returns:
            Forecasts float32[n, M, K] of standardized differences.
        """
        n = len(inputs)
        out = np.empty((n, self.members, self.shape.horizon), np.float32)
        series_of, row_of = indices(series), indices(rows)
        block = FIXED_BLOCK if self._fixed_blocks else LARGE_BLOCK
        for start in range(0, n, block):
            cut = slice(start, min(start + block, n))
            self._advance_block(inputs[cut], series_of[cut], state, row_of[cut], out[cut])
        return out

    def rerun(
        self,
        inputs: NDArray[np.float32],
        series: NDArray[np.integer[Any]],
        state: States,
        rows: NDArray[np.integer[Any]],
    ) -> None:
        """Make the state of n series anew: what today's weights make of their newest steps, from a blank one.

        A series' result does not depend on its company. About 25 µs a member and series, for 47 steps.

        Args:
            inputs: float32[n, T, F], finite.
            series: int[n], slots.
            state: float32[capacity, M, 2, L, H], written.
            rows: int[n], distinct rows of `state`.
        """
        row_of = indices(rows)
        nothing = np.empty((len(inputs), 0), np.float32)
        for member, embedding in enumerate(self._embedding):
            steps, constant = inputs, embedding[series % len(embedding)]
            for layer, (matrices, biases) in enumerate(self._layers):
                matrix, bias = matrices[member].numpy(), biases[member]
                out = np.empty((*inputs.shape[:2], self.shape.hidden), np.float32)
                rerun_layer(steps, constant, matrix, bias, state, row_of, member, layer, out)
                steps, constant = out, nothing

    def _advance_block(
        self,
        inputs: NDArray[np.float32],
        series: NDArray[np.intp],
        state: States,
        rows: NDArray[np.intp],
        out: NDArray[np.float32],
    ) -> None:
        # In fixed blocks the product is always of the whole block; what is left of the last one is computed in vain.
        operands, (product, gates) = self._block(FIXED_BLOCK if self._fixed_blocks else len(rows))
        lowest = operands[0][1]
        for layer, (matrix, bias) in enumerate(self._layers):
            if layer == 0:
                gather_first(lowest, inputs, self._embedding, series, state, rows)
            else:
                gather_above(operands[layer][1], state, rows, layer)
            torch.bmm(operands[layer][0], matrix, out=product)
            apply_gates(gates, bias, state, rows, layer)
        apply_head(out, *self._head, lowest, state, rows)


def shapes_of(weights: Weights) -> dict[str, tuple[int, ...]]:
    """Shape of each parameter by name."""
    return {name: array.shape for name, array in weights.items()}


def shared(*shape: int) -> Shared:
    """Room for an array, zeros."""
    tensor = torch.zeros(*shape)
    return tensor, tensor.numpy()


def weights_of(network: MemberNetwork) -> dict[str, NDArray[np.float32]]:
    """Copy a network's parameters out, by name."""
    return {name: parameter.detach().cpu().numpy().copy() for name, parameter in network.state_dict().items()}
