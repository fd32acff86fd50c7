"""Pages of the overview of several shards as one: sorted as each shard has sorted its own."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stepahead.dashboard.view import OverviewQuery

__all__ = ["MOST_ROWS", "first_rows", "one_page"]

MOST_ROWS = 5000
"""So many rows from the top can be paged through: each owner sends all up to the page that is looked at."""

Row = Mapping[str, Any]

VALUES: Mapping[str, Callable[[Row], float | None]] = {
    "observed": lambda row: row["observed"],
    "forecast": lambda row: row["value"],
    "width": lambda row: None if row["upper"] is None or row["lower"] is None else row["upper"] - row["lower"],
    "anomalies": lambda row: row["hour"],
    "skill": lambda row: row["skill"],
    "age": lambda row: row["age"],
}


def first_rows(query: OverviewQuery) -> int:
    """How many rows from the top a page needs of each shard."""
    return min((query.page + 1) * query.size, MOST_ROWS)


def one_page(parts: Sequence[Mapping[str, Any]], query: OverviewQuery) -> dict[str, Any]:
    """One page from those of several shards.

    Args:
        parts: the first `first_rows` rows of each, under `rows`, and under `matching` how many there are.
        query: which page, in which order.

    Example:
        >>> row = {"observed": 1.0, "hour": 0, "flagged": False, "status": "ok"}
        >>> parts = [{"matching": 1, "rows": [row | {"key": "b"}]}, {"matching": 1, "rows": [row | {"key": "a"}]}]
        >>> page = one_page(parts, OverviewQuery(sort="name"))
        >>> page["matching"], [row["key"] for row in page["rows"]]
        (2, ['a', 'b'])
    """
    matching = sum(part["matching"] for part in parts)
    pages = max(1, -(-min(matching, MOST_ROWS) // query.size))
    number = min(query.page, pages - 1)
    rows = in_order([row for part in parts for row in part["rows"]], query)
    chosen = rows[number * query.size : (number + 1) * query.size]
    return {"matching": matching, "pages": pages, "page": number, "rows": chosen}


def in_order(rows: Sequence[Row], query: OverviewQuery) -> list[Row]:
    """Rows as `SeriesList` sorts them; what is not known comes last, equal ones by name."""
    if query.sort in VALUES:
        value_of, sign = VALUES[query.sort], -1 if query.descending else 1

        def value(row: Row) -> float:
            known = value_of(row)
            return math.inf if known is None or math.isnan(known) else sign * known

        return sorted(rows, key=lambda row: (value(row), row["key"]))
    if query.sort == "name":
        return sorted(rows, key=lambda row: row["key"], reverse=query.descending)
    attention = sorted(rows, key=lambda row: (not row["flagged"], row["status"] != "silent", -row["hour"], row["key"]))
    return attention[::-1] if query.descending else attention
