"""Rows of a bank: distinct slots, as a slice where they lie side by side, so that NumPy works on views."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rows", "as_rows", "as_slots", "part"]

Rows: TypeAlias = NDArray[np.integer[Any]] | slice
"""Distinct slots: an integer array, or a slice with start and stop."""


def as_rows(slots: NDArray[np.integer[Any]]) -> Rows:
    """The same slots, as a slice where they are consecutive and rising.

    Example:
        >>> as_rows(np.array([3, 4, 5])), as_rows(np.array([3, 5])).tolist()
        (slice(3, 6, None), [3, 5])
    """
    if len(slots) > 0 and slots[-1] - slots[0] == len(slots) - 1 and bool((slots[1:] > slots[:-1]).all()):
        return slice(int(slots[0]), int(slots[0]) + len(slots))
    return slots


def part(rows: Rows, start: int, stop: int) -> Rows:
    """Rows start to stop of these rows.

    Example:
        >>> part(slice(10, 20), 2, 4)
        slice(12, 14, None)
    """
    if isinstance(rows, slice):
        return slice(rows.start + start, rows.start + stop)
    return rows[start:stop]


def as_slots(rows: Rows) -> NDArray[np.integer[Any]]:
    """The same rows as an array of slots.

    Example:
        >>> as_slots(slice(3, 6)).tolist()
        [3, 4, 5]
    """
    return np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows
