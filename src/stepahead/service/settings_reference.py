"""The settings reference: every setting with its type, default, range and meaning, as Markdown."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from stepahead.contract.settings import Settings

__all__ = ["settings_reference"]

Schema = Mapping[str, Any]

HEAD = """# Settings

Made by `stepahead config reference`; change `src/stepahead/contract/settings.py` instead.

Each setting can stand in the TOML file under its section, in the environment as `STEPAHEAD_SECTION__NAME` (lists and
tables as JSON), or behind a flag as `--set section.name=value`; flags win over the environment, it wins over the file.
Times end in `_s` (seconds), sizes in `_bytes`. Unknown names are errors.
"""


TABLE_HEAD = ("| setting | type | default | meaning |", "|---|---|---|---|")


def settings_reference() -> str:
    """One table per section, in the order of the settings.

    Example:
        >>> settings_reference().splitlines()[0]
        '# Settings'
    """
    schema = Settings.model_json_schema()
    sections = schema["$defs"]
    parts = [HEAD]
    for name, field in schema["properties"].items():
        repeated = "items" in field
        section = sections[(field["items"] if repeated else field)["$ref"].rpartition("/")[2]]
        title = f"## {name}" + (" (any number of tables, `[[" + name + "]]`)" if repeated else "")
        rows = (row(key, value, sections) for key, value in section["properties"].items())
        meaning = " ".join(section["description"].split())
        parts.append("\n".join([title, "", meaning, "", *TABLE_HEAD, *rows]))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def row(key: str, field: Schema, sections: Schema) -> str:
    """The line of one setting.

    Example:
        >>> row("retain", {"type": "boolean", "default": False, "description": "kept by the broker"}, {})
        '| `retain` | true or false | `false` | kept by the broker |'
    """
    if "default" not in field:
        default = "must be given"
    elif field["default"] is None:
        default = "not set"
    else:
        default = f"`{json.dumps(field['default'], ensure_ascii=False)}`"
    cells = (f"`{key}`", words(field, sections), default, field.get("description", ""))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def words(field: Schema, sections: Schema) -> str:
    """What a value may be, in words.

    Example:
        >>> words({"type": "integer", "minimum": 1, "maximum": 8}, {})
        'whole number, 1 to 8'
        >>> words({"anyOf": [{"type": "string", "format": "path"}, {"type": "null"}]}, {})
        'path'
    """
    if "$ref" in field:
        return words(sections[field["$ref"].rpartition("/")[2]], sections)
    if "anyOf" in field:
        return " or ".join(words(choice, sections) for choice in field["anyOf"] if choice.get("type") != "null")
    if "enum" in field or "const" in field:
        return ", ".join(f"`{json.dumps(choice)}`" for choice in field.get("enum", [field.get("const")]))
    return ", ".join(filter(None, (kind(field, sections), *bounds(field))))


def kind(field: Schema, sections: Schema) -> str:
    """The type of a value."""
    if field["type"] == "array":
        return f"list of ({words(field['items'], sections)})"
    if field["type"] == "string":
        return {"path": "path", "password": "secret"}.get(field.get("format", ""), "text")
    return {"integer": "whole number", "number": "number", "boolean": "true or false", "object": "table"}[field["type"]]


def bounds(field: Schema) -> Iterator[str]:
    """Its range, length and pattern."""
    lower, upper = field.get("minimum"), field.get("maximum")
    if lower is not None and upper is not None:
        yield f"{lower:,} to {upper:,}"
    elif lower is not None:
        yield f"at least {lower:,}"
    elif upper is not None:
        yield f"at most {upper:,}"
    if "exclusiveMinimum" in field:
        yield f"more than {field['exclusiveMinimum']:,}"
    if "exclusiveMaximum" in field:
        yield f"less than {field['exclusiveMaximum']:,}"
    for kind_of_length, what in (("Length", "characters"), ("Items", "entries")):
        least, most = field.get(f"min{kind_of_length}", 0), field.get(f"max{kind_of_length}")
        if most is not None:
            yield f"{least:,} to {most:,} {what}"
        elif least == 1:
            yield "not empty"
        elif least:
            yield f"at least {least:,} {what}"
    if "pattern" in field:
        yield f"like `{field['pattern']}`"
