"""Splitting a batch into rounds, in each of which every series appears at most once."""

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.flags import every
from stepahead.contract.records import IntArray, SlotArray

__all__ = ["split_rounds"]


def split_rounds(series: SlotArray, unit: SlotArray, time_ns: IntArray) -> list[NDArray[np.intp]]:
    """Rows of each round, in order of arrival within the round.

    A series' readings stay in order: its k-th goes to a later round than the one before. Readings of one unit that
    follow each other with equal times form one row of the unit and share a round, so that the members of a group see
    each other.

    Args:
        series: int32[n], slots.
        unit: int32[n], first slot of each reading's unit.
        time_ns: int64[n].

    Example:
        >>> series = np.array([0, 1, 0, 2], np.int32)
        >>> [rows.tolist() for rows in split_rounds(series, series, np.array([5, 5, 6, 5]))]
        [[0, 1, 3], [2]]
    """
    n = len(series)
    if n <= 1:
        return [np.arange(1)] if n else []
    if every(unit == series):
        # Series that report in turn come in the order of their slots; asking that first spares a table of the slots.
        if every(series[1:] > series[:-1]) or len(np.unique(series)) == n:
            return [np.arange(n)]
        number = _occurrence(series)
    else:
        order = np.argsort(unit, kind="stable")
        new_unit = np.diff(unit[order], prepend=unit[order[0]]) != 0
        new_run = new_unit | (np.diff(time_ns[order], prepend=time_ns[order[0]]) != 0)
        run = np.cumsum(new_run)
        repeat = _occurrence(run * np.int64(2**31) + series[order])  # the same member twice in one run
        rows_of_run = np.zeros(int(run[-1]) + 1, np.int64)
        np.maximum.at(rows_of_run, run, repeat + 1)
        before_run = np.cumsum(rows_of_run) - rows_of_run
        first_run_of_unit = np.maximum.accumulate(np.where(new_unit, run, 0))
        number = np.empty(n, np.int64)
        number[order] = before_run[run] - before_run[first_run_of_unit] + repeat
    by_round = np.argsort(number, kind="stable")
    bounds = np.cumsum(np.bincount(number))[:-1]
    return np.split(by_round, bounds)


def _occurrence(label: NDArray[np.int32] | NDArray[np.int64]) -> NDArray[np.int64]:
    """How many equal labels came before each, as in [a, b, a] -> [0, 0, 1]."""
    order = np.argsort(label, kind="stable")
    in_order = label[order]
    position = np.arange(len(label))
    new = np.concatenate(([True], in_order[1:] != in_order[:-1]))
    start = np.maximum.accumulate(np.where(new, position, 0))
    out = np.empty(len(label), np.int64)
    out[order] = position - start
    return out
