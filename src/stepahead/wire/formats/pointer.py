"""Where something sits in a JSON document: a field name or a JSON pointer (RFC 6901)."""

from typing import Final, TypeAlias

__all__ = ["MISSING", "Pointer", "parse_pointer", "resolve"]

Pointer: TypeAlias = tuple[str, ...]


class _Missing:
    """The type of `MISSING`; null is a value, absence is not."""


MISSING: Final = _Missing()


def parse_pointer(text: str) -> Pointer:
    """Reference tokens of a JSON pointer; text that does not start with a slash is one field name.

    Example:
        >>> parse_pointer("/a~1b/0"), parse_pointer("temperature"), parse_pointer("")
        (('a/b', '0'), ('temperature',), ())
    """
    if not text:
        return ()
    if not text.startswith("/"):
        return (text,)
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in text[1:].split("/"))


def resolve(pointer: Pointer, document: object) -> object:
    """What a pointer points to, or `MISSING` (RFC 6901 §4).

    Example:
        >>> resolve(("readings", "1"), {"readings": [20.5, 21.0]})
        21.0
        >>> resolve(("humidity",), {"temperature": 1}) is MISSING
        True
    """
    for token in pointer:
        if isinstance(document, dict):
            document = document.get(token, MISSING)
        elif isinstance(document, list):
            plain = token.isascii() and token.isdigit() and (token == "0" or token[0] != "0") and len(token) < 10
            document = document[int(token)] if plain and int(token) < len(document) else MISSING
        else:
            return MISSING
    return document
