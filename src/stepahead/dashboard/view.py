"""What the page is handed: a read-only view of the service. Every method is called by the page's thread alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

__all__ = ["SORTS", "Document", "OverviewQuery", "Verdict", "View"]

Document: TypeAlias = Mapping[str, Any]
"""What becomes JSON: plain values, NaN for what is not known (written as null)."""

SORTS = ("attention", "name", "observed", "forecast", "width", "anomalies", "skill", "age")
MOST_ROWS = 200
LONGEST_FILTER = 200


@dataclass(frozen=True, slots=True)
class OverviewQuery:
    """Which rows of the overview somebody looks at.

    Attributes:
        sort: one of `SORTS`.
        descending: the largest first.
        text: only series whose key holds this, whatever the case.
        only: "all", "flagged" (in the last hour), "silent" or "worse" (than repeating the last value).
        page, size: page number from 0, rows of a page.

    Example:
        >>> OverviewQuery.read({"sort": "skill", "page": "2", "size": "1000000"})
        OverviewQuery(sort='skill', descending=False, text='', only='all', page=2, size=200)
        >>> OverviewQuery.read({"sort": "drop table", "page": "x"}).sort
        'attention'
    """

    sort: str = "attention"
    descending: bool = False
    text: str = ""
    only: str = "all"
    page: int = 0
    size: int = 50

    @staticmethod
    def read(query: Mapping[str, str]) -> "OverviewQuery":
        """From the query of a URL; what is not understood is as if it were not there."""
        sort, only = query.get("sort", ""), query.get("only", "")
        return OverviewQuery(
            sort if sort in SORTS else "attention",
            query.get("order") == "desc",
            query.get("text", "")[:LONGEST_FILTER].casefold(),
            only if only in ("flagged", "silent", "worse") else "all",
            whole(query.get("page"), 0, 10**9),
            max(1, whole(query.get("size"), 50, MOST_ROWS)),
        )


def whole(text: str | None, default: int, most: int) -> int:
    """A whole number from 0 to `most`.

    Example:
        >>> whole("7", 0, 5), whole("-1", 3, 5), whole("٣", 2, 5)
        (5, 3, 2)
    """
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 18:
        return default
    return min(int(text), most)


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer to a probe: fine or not, and why."""

    fine: bool
    reasons: tuple[str, ...] = ()


class View(Protocol):
    """The service, as far as the page may see it."""

    def tick(self) -> None:
        """A second is over: take in what came."""

    def head(self) -> Document:
        """What stands on top of every page."""

    def overview(self, query: OverviewQuery) -> Document:
        """All series, one page of them."""

    def series(self, key: str, since: int) -> Document | None:
        """One series with its readings after the first `since`; None when there is no such series."""

    def look_at(self, keys: frozenset[str]) -> None:
        """These series are looked at now: more may be asked about them."""

    def model(self) -> Document:
        """Networks, gate, fine-tunes."""

    def health(self) -> Document:
        """Rates, lag, drops, disk, broker."""

    def metrics(self, viewers: int) -> bytes:
        """The metrics in Prometheus' text format."""

    def alive(self) -> Verdict:
        """Whether the service turns at all."""

    def ready(self) -> Verdict:
        """Whether its forecasts are current and its state is safe."""
