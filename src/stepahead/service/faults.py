"""Faults in settings, in words: key, value, where it came from, and what is allowed."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from stepahead.service.allowed import allowed, known_keys
from stepahead.service.settings_text import mask_url

__all__ = ["describe", "follows_from_another", "mask", "suggestion"]

SECRETS = ("password", "token")


def describe(fault: Any, sources: list[tuple[str, Mapping[str, Any]]]) -> str:
    """One line for one fault found by pydantic: key, value, origin, what is allowed."""
    path = setting_path(fault["loc"])
    key = dotted(path)
    origin = next((f" (from {name})" for name, source in sources if contains(source, path)), "")
    if fault["type"] == "extra_forbidden":
        return f"{key}: unknown setting{origin}{suggestion(str(path[-1]), known_keys(path[:-1]))}"
    message = fault["msg"].removeprefix("Value error, ")
    if isinstance(fault["input"], Mapping) or fault["type"] == "missing":
        # A rule over several fields: its text names them, and the whole table may hold a secret.
        return f"{key}: {message}{origin}"
    words = allowed(path)
    return f"{key} = {mask(path, fault['input'])!r}{origin}: {message}" + (f"; allowed: {words}" if words else "")


def follows_from_another(fault: Any, found: Sequence[Any]) -> bool:
    """Whether a list is called too short only because entries of it were at fault themselves."""
    place = fault["loc"]
    return fault["type"] == "too_short" and any(
        other["loc"][: len(place)] == place for other in found if len(other["loc"]) > len(place)
    )


def setting_path(loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Pydantic's place of a fault without the parts that name a branch of a union and no setting."""
    path: list[str | int] = []
    for part in loc:
        keys = known_keys(tuple(path))
        if path and not keys and not isinstance(part, int):
            continue
        path.append(part)
    return tuple(path)


def dotted(path: tuple[str | int, ...]) -> str:
    """The key as one reads it in the file: `subscriptions[0].filter`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".") or "settings"


def contains(source: Any, path: tuple[str | int, ...]) -> bool:
    """Whether a source has something at `path`."""
    for part in path:
        if isinstance(source, Mapping) and part in source:
            source = source[str(part)]
        elif isinstance(source, list | tuple) and isinstance(part, int) and part < len(source):
            source = source[part]
        else:
            return False
    return True


def suggestion(name: str, known: list[str]) -> str:
    """What may have been meant, else what there is."""
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; allowed: {', '.join(sorted(known))}" if known else ""


def mask(path: tuple[str | int, ...], value: Any) -> Any:
    """The value, unless it is a secret or holds one: the password of a URL, or a whole table as JSON."""
    secret = any(name in str(part) and not str(part).endswith("_file") for part in path for name in SECRETS)
    if secret or (isinstance(value, str) and any(name in value for name in SECRETS)):
        return "***"
    return mask_url(value) if isinstance(value, str) else value
