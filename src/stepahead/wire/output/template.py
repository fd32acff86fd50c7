"""Forecasts by a template of the user's."""

import re
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

import msgspec

from stepahead.contract.errors import SettingsError
from stepahead.contract.records import STATUS_NAMES, Forecasts
from stepahead.wire.output.json import identities

__all__ = ["TemplateBody"]

PLACE = re.compile(r"\{([A-Za-z_]\w*)(?::([^{}]*))?\}")
Column = Callable[[Forecasts, Sequence[str]], Sequence[Any]]


class TemplateBody:
    """Text with places such as `{value}`, `{value:.2f}` or `{series:json}`; other braces stand for themselves.

    The places are the fields of the JSON message. Behind the colon stands a format of Python's, or `json` for a text in
    quotes. `{error}` is `null` where nothing had been forecast. A run is one line per forecast.

    Args:
        text: the template.
        levels: coverage of the intervals; the first is `{level}`.

    Raises:
        SettingsError: a place that is no field, a format that its value does not know, or no place at all.

    Example:
        >>> TemplateBody('{"t":{valid_at},"v":{valu}}', [0.9])
        Traceback (most recent call last):
            ...
        stepahead.contract.errors.SettingsError: publish.payload: there is no field 'valu'; allowed are anomaly, error, id, issued_at, level, lower, mean, model, observed, series, status, upper, valid_at, value
    """  # noqa: E501  # one line of doctest output

    def __init__(self, text: str, levels: Sequence[float]) -> None:
        level = float(levels[0])
        self._columns: dict[str, tuple[Column, Any]] = {
            "series": (lambda f, keys: keys, "key"),
            "issued_at": (lambda f, keys: (f.issued_at_ns // 1_000_000).tolist(), 0),
            "valid_at": (lambda f, keys: (f.valid_at_ns // 1_000_000).tolist(), 0),
            "value": (lambda f, keys: f.value[:, 0].tolist(), 0.5),
            "mean": (lambda f, keys: f.mean.tolist(), 0.5),
            "lower": (lambda f, keys: f.lower[:, 0].tolist(), 0.5),
            "upper": (lambda f, keys: f.upper[:, 0].tolist(), 0.5),
            "level": (lambda f, keys: [level] * len(f), 0.5),
            "observed": (lambda f, keys: f.observed.tolist(), 0.5),
            "error": (lambda f, keys: f.error.tolist(), 0.5),
            "anomaly": (lambda f, keys: f.anomaly.tolist(), True),
            "status": (lambda f, keys: [STATUS_NAMES[code] for code in f.status.tolist()], "ok"),
            "model": (lambda f, keys: f.model.tolist(), 0),
            "id": (lambda f, keys: identities(f), "0"),
        }
        pieces = PLACE.split(text)
        self._literals, names, formats = pieces[::3], pieces[1::3], pieces[2::3]
        self._places = [(name, spec or "") for name, spec in zip(names, formats, strict=True)]
        if not self._places:
            raise SettingsError(f"publish.payload = {text!r}: no {{field}} stands in it")
        for name, spec in self._places:
            if name not in self._columns:
                allowed = ", ".join(sorted(self._columns))
                raise SettingsError(f"publish.payload: there is no field {name!r}; allowed are {allowed}")
            try:
                _spell(self._columns[name][1], spec)
            except ValueError as error:
                raise SettingsError(f"publish.payload: {{{name}:{spec}}}: {error}") from None
        is_json = text.lstrip()[:1] in ("{", "[")
        self.content_type = "application/json" if is_json else "text/plain; charset=utf-8"

    def each(self, forecasts: Forecasts, keys: Sequence[str]) -> list[bytes]:
        """One text per forecast."""
        filled = [
            [_spell(value, spec) for value in self._columns[name][0](forecasts, keys)] for name, spec in self._places
        ]
        first, *literals = self._literals
        return [
            (first + "".join(part + literal for part, literal in zip(parts, literals, strict=True))).encode()
            for parts in zip(*filled, strict=True)
        ]

    def runs(self, forecasts: Forecasts, keys: Sequence[str], ends: Sequence[int]) -> list[bytes]:
        """One text per run."""
        lines = self.each(forecasts, keys)
        return [b"\n".join(lines[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


def _spell(value: Any, spec: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not isfinite(value):  # an error that is not known
        return "null"
    if spec == "json":
        return msgspec.json.encode(value).decode()
    return format(value, spec) if spec else str(value)
