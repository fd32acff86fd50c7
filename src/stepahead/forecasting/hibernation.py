"""Series that have fallen silent: their state leaves the banks for a shelf, and comes back when they speak.

Where a series' state lies changes no forecast, to the bit: fine-tunes look at who is silent, never at who is away. So
it does not matter when a shelf is done or whether it refuses, and none of it is in the journal.
"""

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Composite
from stepahead.contract.errors import StateError
from stepahead.contract.records import BoolArray, FloatArray, IntArray, SlotArray
from stepahead.contract.rows import RowForm
from stepahead.forecasting.residence import AWAY, Residence
from stepahead.forecasting.series import SeriesTable
from stepahead.transform.cadence import Cadence
from stepahead.transform.standardize import Standardizer

__all__ = ["Hibernation", "Shelf"]

AT_ONCE = 256
"""Series that are laid down together: about a megabyte."""
READINGS_A_SLOT = 2
"""The silent are looked for in one slot after the other, one for so many readings, round and round. Who speaks between
two rounds stays, whatever its clock says: a feed whose times are far behind the others' does not come and go."""
PLACES = {
    "pack": np.int32,
    "row": np.int32,
    "checksum": np.uint32,
    "scale": np.float64,
    "center": np.float64,
    "last_ns": np.int64,
}
"""What is remembered of a series that is away: where its state lies, and what fine-tunes on its windows need."""


class Shelf(Protocol):
    """Where rows of bytes are laid down for good, many together in a pack."""

    @property
    def busy(self) -> bool:
        """Whether a pack is being laid down, or what became of it was not told yet."""

    def begin(self, rows: NDArray[np.uint8]) -> None:
        """Start to lay down a pack of rows uint8[n, size]; only when not busy."""

    def poll(self) -> int | None:
        """The number of the pack that is safe now, once; None while it is not, and when it failed. Never waits."""

    def read(self, pack: int, rows: IntArray, size: int) -> NDArray[np.uint8]:
        """Rows of a pack, uint8[len(rows), size].

        Raises:
            StateError: they cannot be read.
        """

    def spare(self, pack: int) -> None:
        """Nothing in this pack is needed by the living state any more; by older ones it may be."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """Rows that are being laid down.

    Attributes:
        series: int32[n], numbers; those that leave first, then those that only change their pack.
        seen: int64[n], readings of each when its row was copied; the pack it lies in for one that changes it.
        leaving: how many leave.
        checksum: uint32[n].
    """

    series: SlotArray
    seen: IntArray
    leaving: int
    checksum: NDArray[np.uint32]


class Hibernation:
    """Lets the silent go, and fetches them when they speak.

    Args:
        silent_after_s: how long a series must have been silent, by the times of the feed; 0 = nobody ever is.
        pinned: so many first slots have more state than one row holds, and stay.
        table, residence: of the series.
        parts: banks whose rows make up the state of a series.
        cadence, scaler: two of them, for what fine-tunes need to know of series that are away too.
    """

    def __init__(
        self,
        silent_after_s: float,
        pinned: int,
        table: SeriesTable,
        residence: Residence,
        parts: Composite,
        cadence: Cadence,
        scaler: Standardizer,
    ) -> None:
        self._after_ns = round(silent_after_s * 1e9)
        self._pinned = pinned
        self._table = table
        self._residence = residence
        self._parts = parts
        self._cadence = cadence
        self._scaler = scaler
        self._form = RowForm(parts.columns)
        self._newest_ns = 0
        self._spoke = np.zeros(64, np.bool_)  # by slot, since it was looked at
        self._hand = pinned  # the next slot that is looked at
        self._looked_at = 0  # readings when it was
        self._silent: dict[int, None] = {}  # first series of units that may go, in order
        self._leaving: Leaving | None = None
        self._places = {name: np.zeros(64, dtype) for name, dtype in PLACES.items()}
        self._living: dict[int, int] = {}  # series that lie in each pack
        self.shelf: Shelf | None = None
        """None = nobody goes, however silent."""
        self.lost: list[str] = []
        """Keys of series whose state could not be read back: they have begun anew."""

    @property
    def away(self) -> int:
        """How many series lie on the shelf."""
        return sum(self._living.values())

    def heard(self, slots: SlotArray, newest_ns: int) -> None:
        """The series in these slots have spoken, the latest at this time."""
        self._spoke = grown(self._spoke, self._residence.capacity)
        self._spoke[slots] = True
        self._newest_ns = max(self._newest_ns, newest_ns)

    def silent(self, slots: SlotArray) -> BoolArray:
        """Which of the series in these slots have been silent for long."""
        if not self._after_ns:
            return np.zeros(len(slots), np.bool_)
        return np.asarray(self._cadence.last_ns[slots] < self._newest_ns - self._after_ns)

    def standing(self, series: SlotArray) -> tuple[FloatArray, FloatArray, IntArray]:
        """Scale and center of the differences and time of the newest reading of series, here or away, [n] each."""
        slots = self._residence.slot[series]
        here = slots != AWAY
        if here.all():
            return self._scaler.scale(slots), self._scaler.center(slots), self._cadence.last_ns[slots]
        scale, center, last_ns = (self._places[name][series] for name in ("scale", "center", "last_ns"))
        scale[here], center[here] = self._scaler.scale(slots[here]), self._scaler.center(slots[here])
        last_ns[here] = self._cadence.last_ns[slots[here]]
        return scale, center, last_ns

    def fetch(self, series: SlotArray) -> None:
        """Bring those of these series that are away back into the banks, with the other members of their units."""
        if not self._living:
            return
        away = self._residence.slot[series] == AWAY
        if not away.any():
            return
        firsts = np.unique(self._table.unit[series[away]])
        for first in firsts.tolist():
            self._residence.enter(first)
        self._parts.grow(self._residence.capacity)
        units = np.concatenate([self._members(first) for first in firsts.tolist()])
        rows, whole = np.empty((len(units), self._form.size), np.uint8), np.empty(len(units), np.bool_)
        packs = self._places["pack"][units]
        for pack, count in zip(*(array.tolist() for array in np.unique(packs, return_counts=True)), strict=True):
            at = np.flatnonzero(packs == pack)
            rows[at], whole[at] = self._read(pack, units[at])
            self._forget(pack, count)
        self._parts.put(self._residence.slot[units[whole]], self._form.decode(rows[whole]))
        self.lost += [self._table.keys[number] for number in units[~whole].tolist()]

    def _read(self, pack: int, series: SlotArray) -> tuple[NDArray[np.uint8], BoolArray]:
        """Rows of series in a pack, and which of them are what was laid down."""
        assert self.shelf is not None, "series are away on a shelf that was not handed over"
        try:
            rows = self.shelf.read(pack, self._places["row"][series].astype(np.int64), self._form.size)
        except StateError:
            return np.zeros((len(series), self._form.size), np.uint8), np.zeros(len(series), np.bool_)
        return rows, checksums(rows) == self._places["checksum"][series]

    def turn(self, position: int, keep: Collection[int]) -> None:
        """Let some of the silent go; between two batches.

        Args:
            position: readings so far.
            keep: series that must not go now.
        """
        if self.shelf is None or not self._after_ns:
            return
        if self._leaving is not None:
            pack = self.shelf.poll()
            if pack is None and self.shelf.busy:
                return
            leaving, self._leaving = self._leaving, None
            if pack is None:
                self._silent.clear()  # the next round finds them again: until then the shelf is left in peace
            else:
                self._part_with(leaving, pack)
        self._look(position)
        if self._silent:
            self._begin(keep)

    def _look(self, position: int) -> None:
        """Look who is silent, in as many slots as there were readings for."""
        residence, unit = self._residence, self._table.unit
        count = (position - self._looked_at) // READINGS_A_SLOT
        self._looked_at += count * READINGS_A_SLOT
        stop = min(self._hand + count, residence.size)
        while stop < residence.size and unit[residence.series[stop]] != residence.series[stop] != AWAY:
            stop += 1  # not in the middle of a unit
        slots = np.arange(self._hand, stop, dtype=np.int32)
        self._hand = stop if stop < residence.size else self._pinned
        self._spoke = grown(self._spoke, residence.capacity)
        slots = slots[residence.series[slots] != AWAY]
        loud = ~self.silent(slots) | self._spoke[slots]
        self._spoke[slots] = False
        units = unit[residence.series[slots]]
        self._silent |= dict.fromkeys(np.setdiff1d(units, units[loud]).tolist())

    def _begin(self, keep: Collection[int]) -> None:
        """Copy the rows of some of the silent, and hand them to the shelf."""
        assert self.shelf is not None
        chosen: list[int] = []
        while self._silent and len(chosen) < AT_ONCE:
            first = next(iter(self._silent))
            del self._silent[first]
            members = self._members(first)
            slots = self._residence.slot[members]
            still = slots[0] != AWAY and self.silent(slots).all() and not self._spoke[slots].any()
            if still and not any(number in keep for number in members.tolist()):
                chosen += members.tolist()
        if not chosen:
            return
        series = np.array(chosen, np.int32)
        slots = self._residence.slot[series]
        rows = self._form.encode(self._parts.take(slots))
        seen, leaving = self._cadence.seen(slots), len(series)
        moved, moved_rows = self._company(leaving)
        if len(moved):
            series, rows = np.concatenate((series, moved)), np.concatenate((rows, moved_rows))
            seen = np.concatenate((seen, self._places["pack"][moved]))
        self._leaving = Leaving(series, seen, leaving, checksums(rows))
        self.shelf.begin(rows)

    def _company(self, total: int) -> tuple[SlotArray, NDArray[np.uint8]]:
        """Series that lie in the emptiest packs and their rows, to move along with so many that leave.

        A pack is taken along if it holds no more than are coming already: nearly empty ones go, small ones become large
        ones, and a series is moved a few times at most.
        """
        series, rows = [np.empty(0, np.int32)], [np.empty((0, self._form.size), np.uint8)]
        lying = np.empty(0, np.int32)
        for pack, living in sorted(self._living.items(), key=lambda item: item[1]):
            if living > min(total, AT_ONCE // 2) or total >= 2 * AT_ONCE:
                break
            if not len(lying):
                lying = np.flatnonzero(self._residence.slot[: len(self._table)] == AWAY).astype(np.int32)
            mine = lying[self._places["pack"][lying] == pack]
            read, whole = self._read(pack, mine)
            series.append(mine[whole])
            rows.append(read[whole])
            total += living
        return np.concatenate(series), np.concatenate(rows)

    def _part_with(self, left: Leaving, pack: int) -> None:
        """The rows are safe: free the slots of those that have not spoken meanwhile."""
        places, residence = self._places, self._residence
        for name in places:
            places[name] = grown(places[name], self._table.capacity)
        went = np.zeros(len(left.series), np.bool_)
        leaving, moving = slice(0, left.leaving), slice(left.leaving, None)
        quiet = self._cadence.seen(residence.slot[left.series[leaving]]) == left.seen[leaving]
        units = self._table.unit[left.series[leaving]]
        went[leaving] = ~np.isin(units, units[~quiet])
        moved = left.series[moving]
        went[moving] = (residence.slot[moved] == AWAY) & (places["pack"][moved] == left.seen[moving])
        gone = left.series[leaving][went[leaving]]
        places["scale"][gone], places["center"][gone], places["last_ns"][gone] = self.standing(gone)
        for old in places["pack"][moved[went[moving]]].tolist():
            self._forget(old, 1)
        rows = np.flatnonzero(went)
        lying = left.series[rows]
        places["pack"][lying], places["row"][lying], places["checksum"][lying] = pack, rows, left.checksum[rows]
        self._living[pack] = len(rows)
        self._parts.reset(residence.slot[gone])
        for first in gone[self._table.unit[gone] == gone].tolist():
            residence.leave(first)
        self._forget(pack, 0)

    def _forget(self, pack: int, count: int) -> None:
        """So many series lie in this pack no more."""
        self._living[pack] -= count
        if not self._living[pack]:
            del self._living[pack]
            assert self.shelf is not None
            self.shelf.spare(pack)

    def _members(self, first: int) -> SlotArray:
        members = self._table.members_of(int(self._table.cohort[first]))
        return np.arange(first, first + members, dtype=np.int32)

    @property
    def packs(self) -> list[int]:
        """Numbers of the packs in which series lie."""
        return sorted(self._living)

    def state_dict(self) -> dict[str, Any]:
        """The newest time, and who is away and where."""
        away = np.flatnonzero(self._residence.slot[: len(self._table)] == AWAY).astype(np.int32)
        places = {name: array[away] for name, array in self._places.items()} if self._living else {}
        return {
            "newest_ns": self._newest_ns,
            "form": self._form.description if self._living else [],
            "away": {"series": away, **places} if self._living else {},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; table and residence have theirs already.

        Raises:
            StateError: the rows of those who are away were laid down by other settings.
        """
        self._newest_ns = int(state["newest_ns"])
        self._spoke = np.zeros(self._residence.capacity, np.bool_)
        away = state["away"]
        if not away:
            return
        if state["form"] != self._form.description:
            raise StateError("the state of silent series was laid down with other settings")
        for name in self._places:
            self._places[name] = grown(self._places[name], self._table.capacity)
            self._places[name][away["series"]] = away[name]
        packs, counts = np.unique(away["pack"], return_counts=True)
        self._living = dict(zip(packs.tolist(), counts.tolist(), strict=True))


def checksums(rows: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """CRC-32 of each row."""
    return np.array([zlib.crc32(row) for row in np.ascontiguousarray(rows)], np.uint32)


def grown(array: NDArray[Any], length: int) -> NDArray[Any]:
    """The same array with room for so many, zeros behind."""
    return np.concatenate((array, np.zeros(max(0, length - len(array)), array.dtype)))
