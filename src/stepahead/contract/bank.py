"""A bank: state per series, as arrays whose first axis is the slot.

Law (property-tested for every bank): feeding series together, in any interleaving and any batch size, equals
feeding each alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from stepahead.contract.errors import StateError

__all__ = ["Bank", "Column", "Composite", "Rows", "Slots", "indices"]

Slots: TypeAlias = NDArray[np.integer[Any]]
"""Distinct slots, int[n]."""


def indices(slots: Slots) -> NDArray[np.intp]:
    """The same slots as the one kind of array that compiled loops are compiled for.

    Example:
        >>> indices(np.array([3, 5], np.int32)).dtype == np.intp
        True
    """
    return np.ascontiguousarray(slots, np.intp)


class Rows(Protocol):
    """What holds a column: a NumPy array, or what is used like one and lies elsewhere."""

    def __getitem__(self, rows: Any, /) -> Any:
        """Copies of rows, as a NumPy array."""

    def __setitem__(self, rows: Any, values: Any, /) -> None:
        """Write rows."""

    def copy(self) -> NDArray[Any]:
        """A copy of all rows, as a NumPy array."""


@dataclass(frozen=True, slots=True)
class Column:
    """One array of a bank: its dtype, its shape per series, and what a newborn series starts from."""

    dtype: DTypeLike
    shape: tuple[int, ...] = ()
    fill: float = 0

    def newborn(self, series: int) -> Rows:
        """The array of so many series that have seen nothing."""
        if self.fill == 0:  # pages of zeros take no memory before they are written: half the capacity may be spare
            return np.zeros((series, *self.shape), self.dtype)
        return np.full((series, *self.shape), self.fill, self.dtype)


class Bank:
    """Base of every bank: declares columns, and can grow, reset, save and load them.

    A subclass annotates its arrays and hands their columns to the constructor; each array is then an attribute
    of shape `(capacity, *column.shape)`. `update(slots, …)` methods take *distinct* slots.

    Args:
        columns: name -> `Column`.
        capacity: number of slots to start with.

    Example:
        >>> class Count(Bank):
        ...     seen: NDArray[np.int64]
        ...     def __init__(self) -> None:
        ...         super().__init__({"seen": Column(np.int64)}, capacity=2)
        >>> bank = Count()
        >>> bank.seen[[0, 1]] += 1
        >>> bank.grow(4); bank.reset(np.array([0])); bank.seen.tolist()
        [0, 1, 0, 0]
        >>> bank.put(np.array([3]), bank.take(np.array([1]))); bank.seen.tolist()
        [0, 1, 0, 1]
    """

    def __init__(self, columns: Mapping[str, Column], capacity: int = 0) -> None:
        self._columns = dict(columns)
        self.capacity = capacity
        for name, column in self._columns.items():
            setattr(self, name, column.newborn(capacity))

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` slots; never shrinks, never touches what is there."""
        if capacity <= self.capacity:
            return
        for name, column in self._columns.items():
            old = getattr(self, name)
            new = column.newborn(capacity)
            new[: self.capacity] = old
            setattr(self, name, new)
        self.capacity = capacity

    def reset(self, slots: Slots) -> None:
        """Put these slots back to the state of a newborn series."""
        for name, column in self._columns.items():
            getattr(self, name)[slots] = column.fill

    @property
    def columns(self) -> dict[str, Column]:
        """What makes up the state of one series, by name."""
        return dict(self._columns)

    def take(self, slots: Slots) -> dict[str, NDArray[Any]]:
        """Copies of the rows of these slots by name: all that is known of their series."""
        return {name: getattr(self, name)[slots] for name in self._columns}

    def put(self, slots: Slots, rows: Mapping[str, NDArray[Any]]) -> None:
        """Set the rows of these slots to what `take` gave."""
        for name in self._columns:
            getattr(self, name)[slots] = rows[name]

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copies of all arrays by name; settings are not part of it."""
        return {name: getattr(self, name).copy() for name in self._columns}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over arrays made by `state_dict`.

        Raises:
            StateError: a column is missing, unknown, or of another shape or dtype.
        """
        if set(state) != set(self._columns):
            differing = sorted(set(state) ^ set(self._columns))
            raise StateError(f"{type(self).__name__}: columns missing or unknown: {differing}")
        lengths = {len(array) for array in state.values()}
        if len(lengths) > 1:
            raise StateError(f"{type(self).__name__}: columns differ in length: {sorted(lengths)}")
        for name, column in self._columns.items():
            array = np.asarray(state[name])
            if array.shape[1:] != column.shape or array.dtype != np.dtype(column.dtype):
                raise StateError(
                    f"{type(self).__name__}.{name}: got {array.dtype}{list(array.shape)}, "
                    f"expected {np.dtype(column.dtype)}[series, {', '.join(map(str, column.shape))}]"
                )
            held = column.newborn(len(array))
            held[:] = array
            setattr(self, name, held)
        if lengths:
            self.capacity = lengths.pop()

    def bytes_per_series(self) -> int:
        """Memory that one series costs in this bank."""
        return sum(
            int(np.dtype(column.dtype).itemsize * np.prod(column.shape, dtype=np.int64))
            for column in self._columns.values()
        )


class Composite:
    """Several banks over the same slots, which grow, reset, save and load as one.

    Args:
        parts: name -> bank or composite; names hold no dot.

    Example:
        >>> pair = Composite({"a": Bank({"x": Column(np.int8)}), "b": Bank({"y": Column(np.float64, (3,))})})
        >>> pair.grow(2); sorted(pair.state_dict()), pair.capacity, pair.bytes_per_series()
        (['a.x', 'b.y'], 2, 25)
    """

    def __init__(self, parts: "Mapping[str, Bank | Composite]") -> None:
        self.parts = dict(parts)

    @property
    def capacity(self) -> int:
        """Number of slots."""
        return next(iter(self.parts.values())).capacity

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` slots; never shrinks."""
        for part in self.parts.values():
            part.grow(capacity)

    def reset(self, slots: Slots) -> None:
        """Put these slots back to the state of a newborn series."""
        for part in self.parts.values():
            part.reset(slots)

    @property
    def columns(self) -> dict[str, Column]:
        """What makes up the state of one series, named `part.column`."""
        return {f"{name}.{key}": column for name, part in self.parts.items() for key, column in part.columns.items()}

    def take(self, slots: Slots) -> dict[str, NDArray[Any]]:
        """Copies of the rows of these slots, named `part.column`."""
        return {f"{name}.{key}": rows for name, part in self.parts.items() for key, rows in part.take(slots).items()}

    def put(self, slots: Slots, rows: Mapping[str, NDArray[Any]]) -> None:
        """Set the rows of these slots to what `take` gave."""
        for name, part in self.parts.items():
            part.put(slots, {key: rows[f"{name}.{key}"] for key in part.columns})

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copies of all arrays, named `part.column`."""
        return {f"{name}.{key}": array for name, part in self.parts.items() for key, array in part.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over arrays made by `state_dict`.

        Raises:
            StateError: a column is missing, unknown, or of another shape or dtype.
        """
        theirs: dict[str, dict[str, NDArray[Any]]] = {name: {} for name in self.parts}
        for key, array in state.items():
            name, _, column = key.partition(".")
            if name not in theirs:
                raise StateError(f"{type(self).__name__}: columns unknown: {key}")
            theirs[name][column] = array
        for name, part in self.parts.items():
            part.load_state_dict(theirs[name])

    def bytes_per_series(self) -> int:
        """Memory that one series costs in all parts."""
        return sum(part.bytes_per_series() for part in self.parts.values())
