"""The key of a series, made from topic, captures, field and payload."""

import re
from collections.abc import Iterable, Mapping

from stepahead.contract.errors import SettingsError
from stepahead.wire.formats.pointer import MISSING, parse_pointer, resolve

__all__ = ["KeyTemplate"]

PLACE = re.compile(r"\{([^{}]*)\}")
MAX_CHARACTERS = 1024


class KeyTemplate:
    """Fills a template such as `{site}/{/sensor}`.

    In braces stand `topic`, `field` (path of the field, `value` where the payload is but a number), the name of a
    capture of the topic filter, or a field name or JSON pointer into the reading, then into the whole payload. Where
    an object stands, such as Telegraf's `tags`, its names and values are put in, as `host=edge,region=eu`.
    A template without `{field}` gets `/{field}` at its end for every field but the value itself: two quantities of
    one payload never share a series.

    Args:
        text: the template; none means `{topic}`.
        captures: names of the filter's captures.

    Raises:
        SettingsError: braces do not pair.

    Example:
        >>> KeyTemplate("{site}/{/sensor}", ["site"]).fill("s/n/x", {"site": "n"}, "", {"sensor": 7}, None)
        'n/7'
        >>> KeyTemplate(None, []).fill("plant/pump", {}, "motor/current", None, None)
        'plant/pump/motor/current'
    """

    def __init__(self, text: str | None, captures: Iterable[str]) -> None:
        text = "{topic}" if text is None else text
        known = {"topic", "field", *captures}
        pieces = PLACE.split(text)
        if any(set("{}") & set(piece) for piece in pieces[::2]) or not text or "" in pieces[1::2]:
            raise SettingsError(f"key = {text!r}: braces must pair and hold a name or a JSON pointer")
        self._pieces = [
            (piece, None if i % 2 == 0 or piece in known else parse_pointer(piece), i % 2 == 1)
            for i, piece in enumerate(pieces)
            if piece
        ]
        self._names_field = "field" in pieces[1::2]
        self.needs_payload = any(pointer is not None for _, pointer, _ in self._pieces)

    def fill(
        self, topic: str, captures: Mapping[str, str], field: str, element: object, document: object
    ) -> str | None:
        """The key; None when the payload lacks a part of it or the key is empty, too long or not text."""
        filled = []
        for piece, pointer, is_place in self._pieces:
            if not is_place:
                filled.append(piece)
            elif pointer is not None:
                part = resolve(pointer, element)
                if part is MISSING:
                    part = resolve(pointer, document)
                if isinstance(part, dict):
                    part = ",".join(f"{name}={part[name]}" for name in sorted(part))
                if isinstance(part, bool) or not isinstance(part, str | int | float):
                    return None
                filled.append(str(part))
            elif piece == "topic":
                filled.append(topic)
            elif piece == "field":
                filled.append(field or "value")
            else:
                filled.append(captures[piece])
        key = "".join(filled)
        if field and not self._names_field:
            key = f"{key}/{field}"
        # Lone surrogates, which JSON can spell, cannot be sent as UTF-8.
        legal = 0 < len(key) <= MAX_CHARACTERS and (key.isascii() or not re.search("[\ud800-\udfff]", key))
        return key if legal else None
