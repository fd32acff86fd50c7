"""The hidden states of all series, and under which weights each of them came about."""

import numpy as np
import torch

from stepahead.contract.bank import Bank, Column
from stepahead.contract.records import BoolArray, IntArray, SlotArray
from stepahead.network.device_array import DeviceColumn
from stepahead.network.ensemble import States

__all__ = ["HiddenStates", "spread_of"]

BLANK = -1
RENEWED_AT_ONCE = 4
"""Of so many series every one is renewed at its first reading after an adoption. Of more, a batch that brings each once
renews about so many: a few tenths of a millisecond, whatever the crowd."""
LONGEST_SPREAD = 4096
"""A renewal costs as much as 15 to 50 readings of a large batch: one in 4,096 adds a hundredth. With so many series the
turn comes when the state has long faded by itself. Nor is it missed: on the first 3,600 rows of ETTh2 the networks' MSE
was 0.506 with one renewal in 1, in 24 and in 256 readings, and with none at all."""


class HiddenStates(Bank):
    """(h, c) of every member for every series.

    When new weights are adopted nothing is touched here: a state lives on under them until it is the turn of its
    series to be renewed, when it speaks. So no batch waits for the states of all series, however many there are.

    Args:
        members, layers, hidden: M, L and H of the networks.
        capacity: number of slots to start with.
        device: where the states are kept; None = in a NumPy array, for the compiled loops.

    Example:
        >>> states = HiddenStates(members=3, layers=1, hidden=32, capacity=2)
        >>> slots = np.array([0, 1], np.int32)
        >>> states.outdated(slots, version=4).tolist()
        [False, False]
        >>> states.outdated(slots, version=5).tolist()
        [True, True]
    """

    state: States
    """float32[capacity, M, 2, L, H]; index 0 of the third axis is h, 1 is c."""
    version: IntArray
    """int64[capacity], of the weights from which the state began or was renewed; -1 while it is blank."""

    def __init__(
        self, members: int, layers: int, hidden: int, capacity: int = 0, device: torch.device | None = None
    ) -> None:
        shape = (members, 2, layers, hidden)
        columns = {
            "state": Column(np.float32, shape) if device is None else DeviceColumn(np.float32, shape, device=device),
            "version": Column(np.int64, fill=BLANK),
        }
        super().__init__(columns, capacity)

    def outdated(self, slots: SlotArray, version: int) -> BoolArray:
        """Which of these states, about to be advanced by weights of this version, began under other ones.

        A blank state fits all weights; it is taken down as begun under these.
        """
        begun = self.version[slots]
        blank = begun == BLANK
        if blank.any():
            self.version[slots[blank]] = version
        return np.asarray((begun != version) & ~blank)


def spread_of(series: int) -> int:
    """In one of so many of its readings a series may be renewed, where so many share a network.

    Example:
        >>> [spread_of(series) for series in (7, 50, 1000, 100_000)]
        [1, 12, 250, 4096]
    """
    return min(LONGEST_SPREAD, max(1, series // RENEWED_AT_ONCE))
