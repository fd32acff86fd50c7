"""Which fields of a payload are wanted as series: the lists `only` and `ignore`."""

import re
from collections.abc import Iterable

from stepahead.contract.settings import SubscriptionSettings
from stepahead.wire.formats.pointer import parse_pointer

__all__ = ["FieldChoice"]


class FieldChoice:
    """Answers for field paths, as `AM2301/Temperature`, whether they are wanted.

    Args:
        only: when there are any, no other fields are wanted; `*` stands for any text.
        ignore: these are never wanted.

    Example:
        >>> choice = FieldChoice(["*/tC", "power"], ["*/total"])
        >>> [choice.wanted(field) for field in ("switch:0/temperature/tC", "power", "energy/total", "voltage")]
        [True, True, False, False]
        >>> FieldChoice([], ["id"]).wanted("power"), FieldChoice([], ["id"]).asked("power")
        (True, False)
    """

    def __init__(self, only: Iterable[str], ignore: Iterable[str]) -> None:
        self._only, self._ignore = _pattern(only), _pattern(ignore)
        self.limited = self._only is not None

    @classmethod
    def of(cls, settings: SubscriptionSettings) -> "FieldChoice":
        """The lists of a subscription; where quality and unit sit is no series."""
        places = [text for text in (settings.quality, settings.unit_at) if text]
        return cls(settings.only, (*settings.ignore, *("/".join(parse_pointer(place)) for place in places)))

    def asked(self, field: str) -> bool:
        """Whether `only` names it: what is asked for by name and is no number is counted, not passed over."""
        return self._only is not None and self._only.match(field) is not None

    def ignored(self, field: str) -> bool:
        """Whether `ignore` names it."""
        return self._ignore is not None and self._ignore.match(field) is not None

    def wanted(self, field: str) -> bool:
        """Whether it may become a series."""
        return not self.ignored(field) and (self._only is None or self._only.match(field) is not None)


def _pattern(texts: Iterable[str]) -> re.Pattern[str] | None:
    parts = [re.escape(text).replace(r"\*", ".*") for text in texts]
    return re.compile(f"(?:{'|'.join(parts)})\\Z", re.DOTALL) if parts else None
