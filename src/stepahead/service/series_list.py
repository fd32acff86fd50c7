"""The table of all series for the overview: filtered, sorted and cut into pages where the columns are."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.records import STATUS_NAMES, BoolArray, FloatArray, SlotArray, Status
from stepahead.dashboard.view import OverviewQuery
from stepahead.telemetry.digits import decimals
from stepahead.telemetry.ledger import TRACE, Ledger

__all__ = ["SeriesList"]

FLAGGED_S = 5.0
"""A series counts as flagged *now* for so long after its last flag: one flagged reading at 20 Hz could not be seen."""
STEPS = 64
"""Heights of a small curve, which travels as one letter a value."""
BLANK = " "
REMEMBERED_FILTERS = 16


class SeriesList:
    """One page of the series at a time: what a viewer sees costs the same for a hundred and for a hundred thousand.

    Args:
        ledger: the columns.
        keys: series keys in slot order, growing.
        unit_of: unit of a slot, if it is known.
    """

    def __init__(
        self, ledger: Ledger, keys: Sequence[str], unit_of: Callable[[int], str | None] = lambda slot: None
    ) -> None:
        self._ledger = ledger
        self._unit_of = unit_of
        self._keys = keys
        self._rank = np.empty(0, np.int64)
        self._found: dict[str, tuple[int, BoolArray]] = {}

    @property
    def known(self) -> int:
        """Series that have been heard of."""
        return int(np.count_nonzero(self._ledger.columns.seen))

    def flagged(self, now_s: float) -> int:
        """Series flagged within the last seconds."""
        return int(np.count_nonzero(now_s - self._ledger.columns.flagged_s <= FLAGGED_S))

    def silent(self, now_s: float) -> int:
        """Series that say nothing any more."""
        return int(np.count_nonzero(self._ledger.silent(slice(None), now_s)))

    def warming(self) -> int:
        """Series that have not been seen enough yet."""
        columns = self._ledger.columns
        return int(np.count_nonzero((columns.status == Status.WARMING) & (columns.seen > 0)))

    def page(self, query: OverviewQuery, now_s: float) -> dict[str, Any]:
        """The rows that a query asks for, and how many there are."""
        slots = self._matching(query, now_s)
        pages = max(1, -(-len(slots) // query.size))
        number = min(query.page, pages - 1)
        order = self._order(slots, query, now_s)
        chosen = slots[order[number * query.size : (number + 1) * query.size]]
        rows = self._rows(chosen, now_s)
        return {"matching": len(slots), "pages": pages, "page": number, "rows": rows}

    def one(self, slot: int, now_s: float) -> dict[str, Any]:
        """One series, with what only its own page shows."""
        columns = self._ledger.columns
        row = self._rows(np.array([slot], np.int32), now_s)[0]
        bounded, seen = int(columns.bounded[slot]), int(columns.seen[slot])
        error = float(columns.error_sum[slot])
        return {
            "row": row,
            "seen": seen,
            "anomalies": int(columns.anomalies[slot]),
            "coverage": int(columns.inside[slot]) / bounded if bounded else None,
            "recent_skill": float(self._ledger.skill(np.array([slot]), recent=True)[0]),
            "mean_error": error / max(seen - 1, 1),
            "valid": int(columns.valid_ns[slot]) // 1_000_000,
        }

    def _matching(self, query: OverviewQuery, now_s: float) -> SlotArray:
        columns, n = self._ledger.columns, self._ledger.size
        wanted = columns.seen[:n] > 0
        if query.text:
            wanted &= self._holding(query.text)[:n]
        if query.only == "flagged":
            wanted &= columns.hour[:n].any(axis=1)
        elif query.only == "silent":
            wanted &= self._ledger.silent(slice(0, n), now_s)
        elif query.only == "worse":
            wanted &= self._ledger.skill(slice(0, n)) < 0
        return np.flatnonzero(wanted).astype(np.int32)

    def _holding(self, text: str) -> BoolArray:
        """Which keys hold a text; only the new ones are looked at again."""
        n = self._ledger.size
        done, mask = self._found.pop(text, (0, np.zeros(0, np.bool_)))
        if done < n:
            fresh = [text in key.casefold() for key in self._keys[done:n]]
            done, mask = n, np.concatenate((mask, np.array(fresh, np.bool_)))
        self._found[text] = (done, mask)
        while len(self._found) > REMEMBERED_FILTERS:
            del self._found[next(iter(self._found))]
        return mask

    def _ranks(self) -> NDArray[np.int64]:
        """Place of each series in the order of names."""
        n = self._ledger.size
        if len(self._rank) != n:
            order = sorted(range(n), key=self._keys.__getitem__)
            self._rank = np.empty(n, np.int64)
            self._rank[order] = np.arange(n)
        return self._rank

    def _order(self, slots: SlotArray, query: OverviewQuery, now_s: float) -> NDArray[np.intp]:
        columns, names = self._ledger.columns, self._ranks()[slots]
        if query.sort == "attention":
            quiet = now_s - columns.flagged_s[slots] > FLAGGED_S
            trouble = columns.hour[slots].sum(axis=1).astype(np.int64)
            order = np.lexsort((names, -trouble, ~self._ledger.silent(slots, now_s), quiet))
            return order[::-1] if query.descending else order
        by: dict[str, FloatArray] = {
            "name": names.astype(np.float64),
            "observed": columns.observed[slots],
            "forecast": columns.value[slots],
            "width": columns.upper[slots] - columns.lower[slots],
            "anomalies": columns.hour[slots].sum(axis=1).astype(np.float64),
            "skill": self._ledger.skill(slots),
            "age": now_s - columns.heard_s[slots],
        }
        values = by[query.sort]
        values = np.where(np.isnan(values), np.inf, -values if query.descending else values)  # unknown comes last
        return np.lexsort((names, values))

    def _rows(self, slots: SlotArray, now_s: float) -> list[dict[str, Any]]:
        columns = self._ledger.columns
        skill = self._ledger.skill(slots)
        silent = self._ledger.silent(slots, now_s)
        hour = columns.hour[slots].sum(axis=1)
        traces = self._traces(slots)
        rows = []
        for place, slot in enumerate(slots.tolist()):
            scored_error = columns.error_sum[slot] / max(int(columns.seen[slot]) - 1, 1)
            rows.append(
                {
                    "key": self._keys[slot],
                    "unit": self._unit_of(slot),
                    "observed": float(columns.observed[slot]),
                    "value": float(columns.value[slot]),
                    "lower": float(columns.lower[slot]),
                    "upper": float(columns.upper[slot]),
                    "was": [float(getattr(columns, f"was_{name}")[slot]) for name in ("lower", "value", "upper")],
                    "issued": int(columns.issued_ns[slot]) // 1_000_000,
                    "flagged": bool(now_s - columns.flagged_s[slot] <= FLAGGED_S),
                    "hour": int(hour[place]),
                    "skill": float(skill[place]),
                    "age": max(0.0, now_s - float(columns.heard_s[slot])),
                    "status": "silent" if silent[place] else STATUS_NAMES[columns.status[slot]],
                    "places": decimals(float(scored_error)),
                    "trace": traces[place],
                }
            )
        return rows

    def _traces(self, slots: SlotArray) -> list[str]:
        """The newest values as letters from "0" on, lowest to highest; a blank for a missing one."""
        traces = self._ledger.traces
        if not len(slots):
            return []
        kept = slots[slots < traces.capacity]
        at = (traces.at[kept][:, None] + np.arange(TRACE)) % TRACE
        values = traces.value[kept[:, None], at].astype(np.float64)
        there = np.isfinite(values)
        lowest = np.where(there, values, np.inf).min(axis=1, keepdims=True)
        highest = np.where(there, values, -np.inf).max(axis=1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            height = (values - lowest) / (highest - lowest)
        height = np.where(np.isfinite(height), height, 0.5)
        letters = (48 + height * (STEPS - 1)).astype(np.uint8)
        letters[~there] = ord(BLANK)
        texts = dict(zip(kept.tolist(), (row.tobytes().decode("ascii") for row in letters), strict=True))
        return [texts.get(slot, "") for slot in slots.tolist()]
