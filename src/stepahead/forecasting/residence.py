"""Which series are in the banks, and in which slot of them."""

import heapq
from collections.abc import Mapping
from typing import Any

import numpy as np

from stepahead.contract.records import SlotArray
from stepahead.forecasting.series import SeriesTable

__all__ = ["AWAY", "Residence"]

AWAY = -1


class Residence:
    """Gives the series of a table slots, and gives slots that were left to others.

    Series get slots in the order of their numbers, so that number and slot are the same until the first one leaves. The
    members of a unit come and go together and have neighbouring slots.

    Args:
        table: of the series.

    Example:
        >>> table = SeriesTable(max_series=9)
        >>> residence = Residence(table)
        >>> numbers = [table.intern(key) for key in "abc"]
        >>> residence.settle(); residence.slot[:3].tolist()
        [0, 1, 2]
        >>> residence.leave(1); number = table.intern("d"); residence.settle()
        >>> residence.slot[:4].tolist(), residence.series[:3].tolist()
        ([0, -1, 2, 1], [0, 3, 2])
        >>> residence.enter(1), residence.series[:4].tolist()
        (3, [0, 3, 2, 1])
    """

    def __init__(self, table: SeriesTable) -> None:
        self._table = table
        self._settled = 0
        self._free: dict[int, list[int]] = {}
        self.size = 0
        """Slots that were ever given out."""
        self.slot = np.full(64, AWAY, np.int32)
        """int32[≥ series], slot of each series; `AWAY` for one that is not in the banks."""
        self.series = np.full(64, AWAY, np.int32)
        """int32[capacity], series in each slot; `AWAY` for a free one."""

    @property
    def capacity(self) -> int:
        """Slots that the banks need room for; grows by doubling."""
        return len(self.series)

    def settle(self) -> None:
        """Give slots to the series that are new."""
        if len(self.slot) < self._table.capacity:
            self.slot = grown(self.slot, self._table.capacity)
        while self._settled < len(self._table):
            self.enter(self._settled)
            self._settled += self._table.members_of(int(self._table.cohort[self._settled]))

    def enter(self, first: int) -> int:
        """Give the unit of which this is the first series slots, and say the first of them."""
        members = self._members(first)
        free = self._free.get(members)
        slot = heapq.heappop(free) if free else self.size
        if slot == self.size:
            self.size += members
            while self.size > self.capacity:
                self.series = grown(self.series, 2 * self.capacity)
        mine = np.arange(members, dtype=np.int32)
        self.slot[first : first + members] = slot + mine
        self.series[slot : slot + members] = first + mine
        return slot

    def leave(self, first: int) -> None:
        """Take the slots of a unit back."""
        members, slot = self._members(first), int(self.slot[first])
        self.slot[first : first + members] = AWAY
        self.series[slot : slot + members] = AWAY
        heapq.heappush(self._free.setdefault(members, []), slot)

    def firsts(self) -> SlotArray:
        """First slots of all units that are here, int32[U], by number of their series."""
        slots = np.flatnonzero(self.series[: self.size] != AWAY).astype(np.int32)
        slots = slots[self._table.unit[self.series[slots]] == self.series[slots]]
        if self._free or bool((np.diff(self.series[slots]) < 0).any()):
            slots = slots[np.argsort(self.series[slots])]
        return np.asarray(slots, np.int32)

    def _members(self, first: int) -> int:
        return self._table.members_of(int(self._table.cohort[first]))

    def state_dict(self) -> dict[str, Any]:
        """Who is where."""
        return {
            "slot": self.slot[: self._settled].copy(),
            "size": self.size,
            "free": {str(members): sorted(slots) for members, slots in self._free.items() if slots},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; the table has its series already."""
        slot = np.asarray(state["slot"], np.int32)
        self._settled, self.size = len(slot), int(state["size"])
        self.slot = grown(slot, max(64, self._table.capacity))
        self.series = grown(self.series, max(64, 1 << (self.size - 1).bit_length()))
        here = np.flatnonzero(slot != AWAY).astype(np.int32)
        self.series[slot[here]] = here
        self._free = {int(members): list(slots) for members, slots in state["free"].items()}


def grown(slots: SlotArray, capacity: int) -> SlotArray:
    """The same array with room for so many."""
    return np.concatenate((slots, np.full(max(0, capacity - len(slots)), AWAY, np.int32)))
