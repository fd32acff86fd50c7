"""One series' state as a row of bytes: all columns of its banks, one after another."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Column
from stepahead.contract.errors import StateError

__all__ = ["RowForm"]


class RowForm:
    """How columns are laid out in a row.

    Args:
        columns: name -> `Column`; their order does not matter.

    Example:
        >>> form = RowForm({"b": Column(np.float64, (2,)), "a": Column(np.int8)})
        >>> rows = form.encode({"a": np.array([7], np.int8), "b": np.array([[0.5, 1.5]])})
        >>> rows.shape, form.decode(rows)["b"].tolist()
        ((1, 17), [[0.5, 1.5]])
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = {name: columns[name] for name in sorted(columns)}
        self.size = sum(width(column) for column in self._columns.values())

    @property
    def description(self) -> list[list[Any]]:
        """Name, dtype and shape of each column, in order: rows of another description are not ours."""
        return [[name, np.dtype(c.dtype).str, list(c.shape)] for name, c in self._columns.items()]

    def encode(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
        """Rows uint8[n, size] of columns of n series."""
        parts = []
        for name, column in self._columns.items():
            array = np.ascontiguousarray(columns[name])
            parts.append(np.frombuffer(array.tobytes(), np.uint8).reshape(len(array), width(column)))
        return np.concatenate(parts, axis=1)

    def decode(self, rows: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Columns of n rows, to the bit.

        Raises:
            StateError: the rows are of another size.
        """
        if rows.shape[1:] != (self.size,):
            raise StateError(f"rows of {rows.shape[1:]} bytes, expected {self.size}")
        columns, start = {}, 0
        for name, column in self._columns.items():
            part = np.ascontiguousarray(rows[:, start : start + width(column)])
            columns[name] = part.view(column.dtype).reshape(len(rows), *column.shape)
            start += width(column)
        return columns


def width(column: Column) -> int:
    """Bytes of a column in a row."""
    return int(np.dtype(column.dtype).itemsize * np.prod(column.shape, dtype=np.int64))
