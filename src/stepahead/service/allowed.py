"""What a setting allows, in words: read from the JSON Schema, so that no range is written twice."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from stepahead.contract.settings import Settings

__all__ = ["allowed", "choices", "known_keys"]

Schema = Mapping[str, Any]

TYPE_WORDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
}


@cache
def settings_schema() -> dict[str, Any]:
    """The JSON Schema of `Settings`, computed once."""
    return Settings.model_json_schema()


def resolve(schema: Schema) -> Schema:
    """Follow a reference into `$defs`."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    target: Schema = settings_schema()["$defs"][reference.rsplit("/", 1)[1]]
    return target


def schema_at(path: tuple[str | int, ...]) -> Schema | None:
    """The schema of the setting at `path`, such as `("subscriptions", 0, "filter")`; None when there is none."""
    schema: Schema = settings_schema()
    for part in path:
        schema = resolve(schema)
        if isinstance(part, int):
            schema = schema.get("items", {})
        elif part in schema.get("properties", {}):
            schema = schema["properties"][part]
        else:
            return None
    return resolve(schema)


def known_keys(path: tuple[str | int, ...]) -> list[str]:
    """Names that may stand in the table at `path`.

    Example:
        >>> known_keys(("cadence",))
        ['gap_periods', 'reset_periods']
    """
    schema = schema_at(path)
    return sorted(schema.get("properties", {})) if schema else []


def choices(path: tuple[str | int, ...]) -> list[Any]:
    """The values to choose from at `path`; empty when it is no choice.

    Example:
        >>> choices(("broker", "qos"))
        [0, 1]
    """
    schema = schema_at(path)
    return list(schema.get("enum", ())) if schema else []


def allowed(path: tuple[str | int, ...]) -> str:
    """What may stand at `path`, in words; empty when the path names no setting.

    Args:
        path: keys from the section down, as pydantic gives them in an error.

    Example:
        >>> allowed(("broker", "keepalive_s"))
        'a whole number, at least 5, at most 65535'
        >>> allowed(("broker", "protocol"))
        "'3.1.1' or '5'"
    """
    schema = schema_at(path)
    return "" if schema is None else in_words(schema)


def in_words(schema: Schema) -> str:
    """One schema in words."""
    schema = resolve(schema)
    if "anyOf" in schema:
        return " or ".join(in_words(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(repr(choice) for choice in schema["enum"])
    if "const" in schema:
        return repr(schema["const"])
    words = [TYPE_WORDS.get(str(schema.get("type")), "a value")]
    for key, text in (
        ("minimum", "at least {}"),
        ("exclusiveMinimum", "above {}"),
        ("maximum", "at most {}"),
        ("exclusiveMaximum", "below {}"),
        ("minLength", "at least {} characters"),
        ("maxLength", "at most {} characters"),
        ("minItems", "at least {} entries"),
        ("maxItems", "at most {} entries"),
        ("pattern", "matching {}"),
    ):
        if key in schema:
            number = schema[key]
            words.append(text.format(f"{number:g}" if isinstance(number, float) else number))
    if "items" in schema:
        words.append(f"each {in_words(schema['items'])}")
    return ", ".join(words)
