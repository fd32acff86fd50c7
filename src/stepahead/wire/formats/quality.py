"""Whether a reading's quality is good, as OPC, Sparkplug and plain words tell it."""

from collections.abc import Iterable

__all__ = ["Quality"]

GOOD_WORDS = frozenset({"good", "ok", "true"})
GOOD_FROM, GOOD_TO = 192, 255


class Quality:
    """Judges quality codes.

    Without words of its own, good are 192 to 255 (OPC DA 3.0, §6.8: the top two of eight bits; Sparkplug 3.0, §6.4.9:
    192), `good`, `ok` and true in any case. OPC UA's 0 for good is Sparkplug's code for bad: who sends it says so.

    Args:
        good: what is good instead, as text in any case.

    Example:
        >>> usual, ua = Quality(()), Quality(["0", "Good"])
        >>> [usual.is_good(code) for code in (192, "GOOD", True, 0, 500, "Bad", None)]
        [True, True, True, False, False, False, False]
        >>> ua.is_good(0), ua.is_good("good"), ua.is_good(2147483648)
        (True, True, False)
    """

    def __init__(self, good: Iterable[str]) -> None:
        self._words = frozenset(word.strip().lower() for word in good)

    def is_good(self, code: object) -> bool:
        """Whether the code that stands there means good."""
        text = str(code).strip().lower() if isinstance(code, str | int | float) else ""
        if self._words:
            return text in self._words
        if isinstance(code, str):
            return text in GOOD_WORDS or (text.isascii() and text.isdigit() and GOOD_FROM <= int(text[:9]) <= GOOD_TO)
        if isinstance(code, bool):
            return code
        return isinstance(code, int | float) and GOOD_FROM <= code <= GOOD_TO
