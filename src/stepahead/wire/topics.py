"""Topics and topic filters: parsed, matched, captured, compared, and made for our output."""

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from stepahead.contract.errors import SettingsError

__all__ = ["TopicFilter", "escape_key", "forecast_topic", "overlaps", "parse_filter", "series_of_topic"]

NAME = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}\Z")
MAX_BYTES = 65_535
RESERVED = frozenset({"topic", "field"})

# What MQTT forbids in a topic (§1.5.3, §4.7.1) or brokers refuse: mosquitto closes the connection on control
# characters and on Unicode's non-characters. The percent sign itself, so that the escape can be undone.
ESCAPED = re.compile(
    "[%+#\x00-\x1f\x7f-\x9f\ufdd0-\ufdef"
    + "".join(f"{chr(p << 16 | 0xFFFE)}{chr(p << 16 | 0xFFFF)}" for p in range(17))
    + "]"
)


@dataclass(frozen=True, slots=True)
class TopicFilter:
    """A topic filter whose levels may be captured by name.

    Attributes:
        text: the filter as MQTT knows it, names replaced by `+`.
        levels: its levels, without the `$share/GROUP/` of a shared subscription.
        names: level -> name of the capture.

    Example:
        >>> plant = parse_filter("plant/{site}/{machine}/#")
        >>> plant.text
        'plant/+/+/#'
        >>> plant.captures("plant/north/pump7/temperature/in")
        {'site': 'north', 'machine': 'pump7'}
        >>> plant.matches("plant/north")
        False
    """

    text: str
    levels: tuple[str, ...]
    names: tuple[tuple[int, str], ...] = ()

    def matches(self, topic: str) -> bool:
        """Whether a topic name matches (MQTT 3.1.1 §4.7)."""
        if topic.startswith("$") and self.levels[0] in ("+", "#"):
            return False
        parts = topic.split("/")
        for i, level in enumerate(self.levels):
            if level == "#":
                return True
            if i >= len(parts) or level not in ("+", parts[i]):
                return False
        return len(parts) == len(self.levels)

    def captures(self, topic: str) -> dict[str, str]:
        """The named levels of a topic that matches."""
        parts = topic.split("/")
        return {name: parts[i] for i, name in self.names}


def parse_filter(text: str) -> TopicFilter:
    """Check a filter and take its captures out.

    Args:
        text: an MQTT topic filter (MQTT 3.1.1 §4.7.1) in which `{name}` may stand for a whole level.

    Raises:
        SettingsError: the filter is not a legal one; the text says why.

    Example:
        >>> parse_filter("a/b#")
        Traceback (most recent call last):
            ...
        stepahead.contract.errors.SettingsError: topic filter 'a/b#': # and + stand alone in a level
    """
    levels = text.split("/")
    if levels[0] == "$share":
        if len(levels) < 3 or not levels[1] or set("+#{}") & set(levels[1]):
            raise SettingsError(f"topic filter {text!r}: a shared subscription is $share/GROUP/FILTER")
        lead, levels = levels[:2], levels[2:]
    else:
        lead = []
    names: list[tuple[int, str]] = []
    for i, level in enumerate(levels):
        if found := NAME.match(level):
            name = found[1]
            if name in RESERVED or name in {known for _, known in names}:
                raise SettingsError(f"topic filter {text!r}: the name {name!r} is taken")
            names.append((i, name))
            levels[i] = "+"
        elif "{" in level or "}" in level:
            raise SettingsError(f"topic filter {text!r}: a capture is a whole level, such as {{site}}")
        elif level not in ("+", "#") and ("+" in level or "#" in level):
            raise SettingsError(f"topic filter {text!r}: # and + stand alone in a level")
        elif level == "#" and i < len(levels) - 1:
            raise SettingsError(f"topic filter {text!r}: # must be the last level")
    plain = "/".join(lead + levels)
    if not "/".join(levels) or "\0" in plain or not plain.isprintable() or len(plain.encode()) > MAX_BYTES:
        raise SettingsError(f"topic filter {text!r}: allowed are 1 to {MAX_BYTES} bytes of printable text")
    return TopicFilter(plain, tuple(levels), tuple(names))


def overlaps(one: TopicFilter, other: TopicFilter) -> bool:
    """Whether some topic matches both filters.

    Example:
        >>> overlaps(parse_filter("+/v1/#"), parse_filter("stepahead/+/status"))
        True
        >>> overlaps(parse_filter("sensors/#"), parse_filter("stepahead/#"))
        False
    """
    a, b = one.levels, other.levels
    if (a[0] in ("+", "#") and b[0].startswith("$")) or (b[0] in ("+", "#") and a[0].startswith("$")):
        return False
    for left, right in zip(a, b, strict=False):
        if "#" in (left, right):
            return True
        if left != right and "+" not in (left, right):
            return False
    # "a/#" also matches "a" itself (§4.7.1.2).
    longer = a if len(a) > len(b) else b
    return len(a) == len(b) or longer[min(len(a), len(b)) :] == ("#",)


def forecast_topic(prefix: str, key: str) -> str:
    """The topic on which the forecasts of a series are published; legal for every key, and reversible.

    Characters that a topic must not hold are percent-encoded (RFC 3986 §2.1), as are slashes at both ends.

    Example:
        >>> forecast_topic("stepahead/v1", "/plant/pump#7/temperature")
        'stepahead/v1/forecast/%2Fplant/pump%237/temperature'
        >>> series_of_topic("stepahead/v1", "stepahead/v1/forecast/%2Fplant/pump%237/temperature")
        '/plant/pump#7/temperature'
    """
    return f"{prefix}/forecast/{escape_key(key)}"


def escape_key(key: str) -> str:
    """The key as it stands in a topic; `urllib.parse.unquote` undoes it."""
    body = ESCAPED.sub(lambda found: quote(found[0], safe=""), key)
    inner = body.strip("/")
    if len(inner) < len(body):
        lead = len(body) - len(body.lstrip("/"))
        body = "%2F" * lead + inner + "%2F" * (len(body) - lead - len(inner))
    return body


def series_of_topic(prefix: str, topic: str) -> str:
    """The series key that `forecast_topic` made this topic from."""
    return unquote(topic.removeprefix(f"{prefix}/forecast/"))
