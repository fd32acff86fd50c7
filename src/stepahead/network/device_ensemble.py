"""The ensemble on a torch device: the same cell, all members and all series of a round in a few large operations.

Axes: n series of this round, M members, T steps, F features, E embedding, H hidden, L layers, K horizon.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stepahead.network.device_array import DeviceArray, places
from stepahead.network.ensemble import Ensemble, States
from stepahead.network.lstm import NetworkShape

__all__ = ["DeviceEnsemble"]


class DeviceEnsemble(Ensemble):
    """An `Ensemble` on a device, where the state of all series stays: inputs go over, forecasts come back.

    Its results are those of the compiled loops to rounding, 1e-4 at the most; how a round is composed may round
    them differently.

    Args:
        shape, members, seed: see `Ensemble`.
        device: where.

    Example:
        >>> ensemble = DeviceEnsemble(NetworkShape(features=3, hidden=5), 2, seed=0, device=torch.device("cpu"))
        >>> state = DeviceArray(torch.zeros(9, 2, 2, 1, 5))
        >>> ensemble.advance(np.zeros((4, 3), np.float32), np.arange(4), state, np.array([0, 8, 3, 4])).shape
        (4, 2, 1)
    """

    def __init__(self, shape: NetworkShape, members: int, seed: int, device: torch.device) -> None:
        self._device = device
        super().__init__(shape, members, seed)

    def _prepare(self) -> None:
        super()._prepare()

        def over(array: NDArray[np.float32]) -> Tensor:
            return torch.from_numpy(array).to(self._device)

        weight, bias = self._head
        self._table = over(self._embedding)
        self._gates = [(matrix.to(self._device), over(bias[:, None])) for matrix, bias in self._layers]
        self._answer = (over(np.ascontiguousarray(weight.swapaxes(1, 2))), over(bias[:, None]))

    def step(
        self, inputs: NDArray[np.float32], series: NDArray[np.integer[Any]], state: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Ensemble.step`: the state goes over and comes back."""
        held = DeviceArray(torch.tensor(state, device=self._device))
        return self.advance(inputs, series, held, np.arange(len(inputs))), held.copy()

    def advance(
        self,
        inputs: NDArray[np.float32],
        series: NDArray[np.integer[Any]],
        state: States,
        rows: NDArray[np.integer[Any]],
    ) -> NDArray[np.float32]:
        """See `Ensemble.advance`."""
        assert isinstance(state, DeviceArray)
        at = places(rows, self._device)
        h, c = state.tensor.index_select(0, at).permute(2, 3, 1, 0, 4)  # [L, M, n, H] each
        lowest = self._shown(torch.from_numpy(inputs), series)  # [M, n, F + E]
        shown, after = lowest, list[tuple[Tensor, Tensor]]()
        for (matrix, bias), h_layer, c_layer in zip(self._gates, h, c, strict=True):
            operand = torch.cat((shown, h_layer), dim=2)  # [M, n, in + H]
            after.append(advanced(torch.baddbmm(bias, operand, matrix), c_layer))
            shown = after[-1][0]  # [M, n, H]
        state.tensor.index_copy_(0, at, rows_of(after))
        weight, bias = self._answer
        out = torch.baddbmm(bias, torch.cat((shown, lowest), dim=2), weight)  # [M, n, K]
        return np.ascontiguousarray(out.cpu().numpy().swapaxes(0, 1))

    def rerun(
        self,
        inputs: NDArray[np.float32],
        series: NDArray[np.integer[Any]],
        state: States,
        rows: NDArray[np.integer[Any]],
    ) -> None:
        """See `Ensemble.rerun`; here the company of a series may round its result differently."""
        assert isinstance(state, DeviceArray)
        n, T, _ = inputs.shape
        flat = torch.from_numpy(inputs).flatten(0, 1)  # [n * T, F]
        shown = self._shown(flat, np.repeat(series, T))  # [M, n * T, F + E]
        after = list[tuple[Tensor, Tensor]]()
        for matrix, bias in self._gates:
            of_shown, of_h = matrix.tensor_split((shown.shape[2],), dim=1)
            given = torch.baddbmm(bias, shown, of_shown).view(self.members, n, T, 4 * self.shape.hidden)
            h = c = torch.zeros(self.members, n, self.shape.hidden, device=self._device)
            steps = []
            for given_now in given.unbind(2):
                h, c = advanced(torch.baddbmm(given_now, h, of_h), c)
                steps.append(h)
            after.append((h, c))
            shown = torch.stack(steps, dim=2).flatten(1, 2)  # [M, n * T, H]
        state.tensor.index_copy_(0, places(rows, self._device), rows_of(after))

    def _shown(self, inputs: Tensor, series: NDArray[np.integer[Any]]) -> Tensor:
        """What the lowest layer is shown of inputs float32[n, F] and series int[n]: [M, n, F + E], on the device."""
        rows = places(series % self._table.shape[1], self._device)
        embedded = self._table.index_select(1, rows)  # [M, n, E]
        return torch.cat((inputs.to(self._device).expand(self.members, -1, -1), embedded), dim=2)


def advanced(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """The new (h, c), [M, n, H] each, by gates [M, n, 4H] in torch's order i, f, g, o and the c before."""
    enter, keep, fresh, leave = gates.chunk(4, dim=2)
    c = keep.sigmoid() * c + enter.sigmoid() * fresh.tanh()
    return leave.sigmoid() * c.tanh(), c


def rows_of(layers: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Rows of the state, [n, M, 2, L, H], of (h, c) of each layer, [M, n, H] each."""
    return torch.stack([torch.stack(pair) for pair in layers]).permute(3, 2, 1, 0, 4)
