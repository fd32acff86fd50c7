"""An array in the memory of a device, and the column of a bank that is kept there."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from stepahead.contract.bank import Column, Slots
from stepahead.network.device import CPU

__all__ = ["DeviceArray", "DeviceColumn", "places"]


class DeviceArray:
    """Rows float32[n, …] on a device, used like a NumPy array, except that what is read are copies.

    Args:
        tensor: the rows.

    Example:
        >>> array = DeviceArray(torch.zeros(3, 2))
        >>> array[np.array([2])] = 1
        >>> array[np.array([1, 2])].tolist(), array.copy().shape
        ([[0.0, 0.0], [1.0, 1.0]], (3, 2))
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __getitem__(self, rows: Slots) -> NDArray[Any]:
        return np.asarray(self.tensor.index_select(0, places(rows, self.tensor.device)).cpu().numpy())

    def __setitem__(self, rows: "Slots | slice", values: "ArrayLike | DeviceArray") -> None:
        given = values.tensor if isinstance(values, DeviceArray) else torch.tensor(values)
        self.tensor[rows if isinstance(rows, slice) else places(rows, self.tensor.device)] = given.to(self.tensor)

    def copy(self) -> NDArray[Any]:
        """All rows, as a NumPy array."""
        return np.asarray(self.tensor.to("cpu", copy=True).numpy())


@dataclass(frozen=True, slots=True)
class DeviceColumn(Column):
    """A column of zeros at birth, float32, whose rows are kept on a device.

    Example:
        >>> rows = DeviceColumn(np.float32, (2,), device=CPU).newborn(3)
        >>> tuple(rows.tensor.shape)
        (3, 2)
    """

    device: torch.device = CPU

    def newborn(self, series: int) -> DeviceArray:
        """The rows of so many series that have seen nothing."""
        return DeviceArray(torch.zeros(series, *self.shape, device=self.device))


def places(rows: Slots, device: torch.device) -> Tensor:
    """Numbers of rows, int64[n], on a device."""
    return torch.from_numpy(np.ascontiguousarray(rows, np.int64)).to(device)
