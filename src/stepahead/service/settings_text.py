"""Effective settings as TOML that can be read back, with secrets masked."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from stepahead.contract.settings import Settings

__all__ = ["mask_url", "settings_toml"]


def settings_toml(settings: Settings, origins: Mapping[str, str] | None = None) -> str:
    """The settings as TOML; what is not set stands there as a comment.

    Args:
        settings: effective settings.
        origins: dotted key -> origin, to be written behind each value; None leaves the origins out.

    Example:
        >>> print(settings_toml(Settings()).split("[cadence]")[1].split("[transform]")[0].strip())
        gap_periods = 5.0
        reset_periods = 50.0
    """
    lines: list[str] = []
    values = {name: getattr(settings, name) for name in type(settings).model_fields}
    for section, value in values.items():
        if not isinstance(value, tuple):
            lines += ["", f"[{section}]", *table(section, value, origins)]
            continue
        if not value:
            lines += ["", f"# [[{section}]]: none"]
        for entry in value:
            note = "" if origins is None else f"  # {origins.get(section, 'default')}"
            lines += ["", f"[[{section}]]{note}", *table(section, entry, None)]
    return "\n".join(lines[1:]) + "\n"


def table(section: str, values: Any, origins: Mapping[str, str] | None) -> Iterator[str]:
    """The lines of one table."""
    for key in type(values).model_fields:
        value = getattr(values, key)
        # A password that came from a file has the file as its origin.
        origin = origins and (origins.get(f"{section}.{key}") or (value and origins.get(f"{section}.{key}_file")))
        note = "" if origins is None else f"  # {origin or 'default'}"
        if value is None:
            yield f"# {key} is not set"
        elif isinstance(value, SecretStr):
            # A comment: read back as a setting, the mask would become the password.
            yield f"# {key} = {literal('***')}{note}"
        else:
            yield f"{key} = {literal(value)}{note}"


def literal(value: Any) -> str:
    """One value as TOML: JSON's strings, numbers and booleans are TOML's too."""
    if isinstance(value, tuple):
        return "[" + ", ".join(literal(entry) for entry in value) + "]"
    if isinstance(value, str | Path):
        return json.dumps(mask_url(str(value)), ensure_ascii=False)
    return json.dumps(value)


def mask_url(text: str) -> str:
    """The text without the login that a URL may carry.

    Example:
        >>> mask_url("mqtts://plant:hush@broker:8883")
        'mqtts://***@broker:8883'
    """
    return re.sub(r"//[^/@]*@", "//***@", text)
