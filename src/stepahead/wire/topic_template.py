"""The topics that we publish on: a template with one place in it, and what it can come to."""

import re
from typing import Literal, TypeAlias

from stepahead.contract.errors import SettingsError
from stepahead.wire.topics import MAX_BYTES, TopicFilter, escape_key

__all__ = ["OwnTopics", "TopicTemplate", "may_meet", "own_output_error"]

Place: TypeAlias = Literal["series", "topic"]
BRACES = re.compile(r"\{([^{}]*)\}")
SPAN = "**"
"""In `OwnTopics.levels`: one level or more."""


class OwnTopics(tuple[str, ...]):
    """Levels of topics that we publish on: `+` is one level, `**` one or more, `#` at the end none or more.

    Example:
        >>> str(OwnTopics(("stepahead", "v1", "#")))
        'stepahead/v1/#'
    """

    __slots__ = ()

    def __str__(self) -> str:
        return "/".join("…" if level == SPAN else level for level in self)


class TopicTemplate:
    """Fills `{prefix}` and one place in a topic: the key of a series, or the topic that a message came on.

    Args:
        text: the template, such as `{prefix}/forecast/{series}`.
        prefix: what stands for `{prefix}`.
        place: name of the place, which must stand in the template once.

    Raises:
        SettingsError: another name, the place missing or twice, or characters that a topic must not hold.

    Example:
        >>> template = TopicTemplate("{series}/next", "stepahead/v1", "series")
        >>> template.fill("plant/pump#7"), str(template.covers)
        ('plant/pump%237/next', '…/next')
    """

    def __init__(self, text: str, prefix: str, place: Place) -> None:
        names = BRACES.findall(text)
        if names.count(place) != 1 or set(names) - {"prefix", place}:
            raise SettingsError(
                f"publish.topic = {text!r}: {{{place}}} must stand in it once, and beside it no name but {{prefix}}"
            )
        before, _, after = text.replace("{prefix}", prefix).partition(f"{{{place}}}")
        around = before + after
        legal = around.isprintable() and not set("+#{}\0") & set(around) and len(around.encode()) <= MAX_BYTES // 2
        if not legal or before.startswith("$"):
            raise SettingsError(f"publish.topic = {text!r}: a topic holds no +, no # and does not begin with $")
        self._before, self._after, self._place = before, after, place
        levels = [SPAN if f"{{{place}}}" in level else level for level in f"{before}{{{place}}}{after}".split("/")]
        self.covers = OwnTopics(levels)

    def fill(self, part: str) -> str:
        """The topic; what a key holds that a topic must not is percent-encoded."""
        body = escape_key(part) if self._place == "series" else part
        return f"{self._before}{body}{self._after}"


def may_meet(one: TopicFilter, ours: OwnTopics) -> bool:
    """Whether some topic that we may publish on matches the filter.

    Example:
        >>> from stepahead.wire.topics import parse_filter
        >>> ours = TopicTemplate("{series}/next", "", "series").covers
        >>> may_meet(parse_filter("plant/+/power"), ours), may_meet(parse_filter("plant/#"), ours)
        (False, True)
    """
    if ours[0].startswith("$") and one.levels[0] in ("+", "#"):
        return False
    return _meet(one.levels, tuple(ours))


def _meet(asked: tuple[str, ...], ours: tuple[str, ...]) -> bool:
    if ours[:1] == ("#",) or asked[:1] == ("#",):
        return True  # "a/#" also matches "a" itself (§4.7.1.2)
    if not asked or not ours:
        return not asked and not ours
    rest = asked[1:]
    if ours[0] == SPAN:
        return _meet(rest, ours[1:]) or _meet(rest, ours)
    return (asked[0] == ours[0] or "+" in (asked[0], ours[0])) and _meet(rest, ours[1:])


def own_output_error(filters: list[TopicFilter], outputs: dict[str, OwnTopics]) -> str | None:
    """What is wrong when we would hear what we publish; None when we would not.

    Args:
        filters: what is subscribed to.
        outputs: setting -> the topics that it makes us publish on.

    Example:
        >>> from stepahead.wire.topics import parse_filter
        >>> own_output_error([parse_filter("#")], {"publish.prefix": OwnTopics(("stepahead", "v1", "#"))})
        "topic filter '#' also matches our own output 'stepahead/v1/#': subscribe to less, or change publish.prefix"
    """
    for setting, ours in outputs.items():
        for topic_filter in filters:
            if may_meet(topic_filter, ours):
                also = f"topic filter {topic_filter.text!r} also matches our own output {str(ours)!r}"
                return f"{also}: subscribe to less, or change {setting}"
    return None
