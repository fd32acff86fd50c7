"""How often in a row a series has repeated its value."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column, Slots, indices
from stepahead.contract.compiled import compiled
from stepahead.contract.records import BoolArray

__all__ = ["MOST", "Repeats"]

MOST = 255
"""Runs are counted up to here: whether a value stood for a day or for a week says the same about the next one."""


class Repeats(Bank):
    """Length of the run of equal values that each series is in.

    A sensor that reports on change, is coarsely quantised or idles stands still and then moves; how long it has stood
    still says how likely it is to go on doing so.

    Args:
        capacity: number of slots to start with.

    Example:
        >>> repeats, slot = Repeats(capacity=1), np.array([0])
        >>> [int(repeats.update(slot, np.array([same]))[0]) for same in (False, True, True, False, True)]
        [0, 1, 2, 0, 1]
    """

    run: NDArray[np.uint8]

    def __init__(self, capacity: int = 0) -> None:
        super().__init__({"run": Column(np.uint8)}, capacity)

    def update(self, slots: Slots, same: BoolArray) -> NDArray[np.uint8]:
        """Take one reading per series.

        Args:
            slots: int[n], distinct.
            same: bool[n], whether it is equal to the one before it.

        Returns:
            uint8[n], how many values in a row before this one were equal to it, at most `MOST`.
        """
        run = np.empty(len(slots), np.uint8)
        _update(indices(slots), self.run, same, run)
        return run


@compiled
def _update(slots: Any, runs: Any, same: Any, run: Any) -> None:
    for i in range(len(slots)):
        run[i] = min(runs[slots[i]] + 1, MOST) if same[i] else 0
        runs[slots[i]] = run[i]
