"""The table of series: key <-> slot, and which series report together."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import indices
from stepahead.contract.compiled import compiled
from stepahead.contract.errors import StateError
from stepahead.contract.records import REFUSED
from stepahead.contract.settings import GroupSettings

__all__ = ["SeriesTable"]


class SeriesTable:
    """Gives each series key a slot. The members of one unit of a declared group get neighbouring slots.

    Args:
        max_series: keys beyond so many are refused.
        groups: declared groups; cohort 0 holds every other series, cohort i + 1 the series of `groups[i]`.

    Example:
        >>> table = SeriesTable(max_series=5, groups=(GroupSettings(name="pump", members=("flow", "power")),))
        >>> table.intern("a/power"), table.intern("b/temperature"), table.intern("a/flow")
        (1, 2, 0)
        >>> table.unit[:3].tolist(), table.cohort[:3].tolist()
        ([0, 0, 2], [1, 1, 0])
    """

    def __init__(self, max_series: int, groups: Sequence[GroupSettings] = ()) -> None:
        self._max_series = max_series
        self._groups = tuple(groups)
        self._slots: dict[str, int] = {}
        self.keys: list[str] = []
        self.refused = 0
        self.cohort = np.zeros(64, np.int32)
        """int32[capacity], cohort of each slot."""
        self.unit = np.zeros(64, np.int32)
        """int32[capacity], first slot of the unit that the slot belongs to: its own outside declared groups."""
        self.digest = np.zeros(64, np.uint64)
        """uint64[capacity], a hash of the key."""

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def capacity(self) -> int:
        """Slots that the arrays have room for; grows by doubling."""
        return len(self.unit)

    def members_of(self, cohort: int) -> int:
        """G, series of a unit of this cohort."""
        return len(self._groups[cohort - 1].members) if cohort else 1

    def intern(self, key: str) -> int:
        """Slot of a key, made if it is new.

        Returns:
            The slot, or `REFUSED` when `max_series` is reached.
        """
        slot = self._slots.get(key)
        return self._born(key) if slot is None else slot

    def find(self, key: str) -> int | None:
        """Slot of a key that is known, else None."""
        return self._slots.get(key)

    def _born(self, key: str) -> int:
        cohort, keys = self._unit_of(key)
        if len(self.keys) + len(keys) > self._max_series:
            self.refused += 1
            return REFUSED
        first = len(self.keys)
        self._append(cohort, keys)
        return first + keys.index(key)

    def _append(self, cohort: int, keys: Sequence[str]) -> None:
        first = len(self.keys)
        while first + len(keys) > self.capacity:
            for name in ("cohort", "unit", "digest"):
                old = getattr(self, name)
                setattr(self, name, np.concatenate((old, np.zeros_like(old))))
        for slot, key in enumerate(keys, start=first):
            self._slots[key] = slot
            self.keys.append(key)
            self.cohort[slot] = cohort
            self.unit[slot] = first
            digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            self.digest[slot] = int.from_bytes(digest, "little")

    def _unit_of(self, key: str) -> tuple[int, list[str]]:
        for number, group in enumerate(self._groups, start=1):
            for member in group.members:
                stem = key.removesuffix(member)
                if stem != key and key.startswith(group.prefix) and (not stem or stem.endswith("/")):
                    return number, [stem + other for other in group.members]
        return 0, [key]

    def reading_id(
        self, slots: NDArray[np.int32], time_ns: NDArray[np.int64], value: NDArray[np.float64]
    ) -> NDArray[np.uint64]:
        """uint64[n], a function of series key, time and value alone (splitmix64, Steele et al. 2014, chained)."""
        answer = np.empty(len(slots), np.uint64)
        # + 0.0 makes one zero of the two
        _identify(indices(slots), self.digest, time_ns.view(np.uint64), (value + 0.0).view(np.uint64), answer)
        return answer

    def state_dict(self) -> list[str]:
        """All keys in slot order."""
        return list(self.keys)

    def load_state_dict(self, keys: Sequence[str]) -> None:
        """Take over keys in slot order.

        Raises:
            StateError: the keys do not fit the declared groups, or are more than `max_series`.
        """
        if self.keys:
            raise StateError("series can only be loaded into an empty table")
        while len(self.keys) < len(keys):
            first = len(self.keys)
            cohort, unit = self._unit_of(keys[first])
            if list(keys[first : first + len(unit)]) != unit:
                raise StateError(f"stored series {keys[first]!r} does not fit the declared groups")
            if first + len(unit) > self._max_series:
                raise StateError(f"{len(keys)} stored series, but engine.max_series is {self._max_series}")
            self._append(cohort, unit)


@compiled
def _splitmix(x: Any) -> Any:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@compiled
def _identify(slots: Any, digest: Any, time_ns: Any, value: Any, answer: Any) -> None:
    for i in range(len(slots)):
        answer[i] = _splitmix(_splitmix(digest[slots[i]] ^ time_ns[i]) ^ value[i])
