"""Loading of settings: flags before environment before file before defaults; every fault named, all at once."""

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as EnvironmentParseError

from stepahead.contract.errors import SettingsError
from stepahead.contract.settings import Settings
from stepahead.service.allowed import choices
from stepahead.service.faults import describe, follows_from_another, mask, suggestion

__all__ = ["ENVIRONMENT_PREFIX", "LoadedSettings", "load", "load_settings", "parse_assignment"]

ENVIRONMENT_PREFIX = "STEPAHEAD_"
NO_FLAGS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings and where each value that is not a default came from.

    Attributes:
        settings: the effective settings.
        origins: dotted key -> "flag", "environment" or the name of the file.
    """

    settings: Settings
    origins: Mapping[str, str]


class SourcedSettings(Settings, BaseSettings):
    """The fields of `Settings` as pydantic-settings wants them, so that the environment is read by its rules."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )


class MappingSource(EnvSettingsSource):
    """pydantic-settings' environment source over any mapping: `os.environ` in the program, a dict in tests."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        super().__init__(SourcedSettings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._environ.items()}


def load_settings(
    file: Path | None, flags: Mapping[str, Any] = NO_FLAGS, environ: Mapping[str, str] = os.environ
) -> Settings:
    """Settings from flags, then `STEPAHEAD_SECTION__FIELD`, then a TOML file, then defaults.

    Args:
        file: TOML file with one table per section, or None.
        flags: nested like the file; the strongest.
        environ: environment; lists and tables are JSON in it.

    Raises:
        SettingsError: one line per fault: key, value (secrets masked) and what is allowed.

    Example:
        >>> load_settings(None, {"learning": {"seed": 7}}, {"STEPAHEAD_BROKER__QOS": "0"}).broker.qos
        0
    """
    return load(file, flags, environ).settings


def load(
    file: Path | None, flags: Mapping[str, Any] = NO_FLAGS, environ: Mapping[str, str] = os.environ
) -> LoadedSettings:
    """As `load_settings`, and says where each value came from."""
    faults: list[str] = []
    sources: list[tuple[str, Mapping[str, Any]]] = [("flag", flags)]
    sources.append(("environment", read_environment(environ, faults)))
    if file is not None:
        sources.append((str(file), read_file(file)))

    merged: dict[str, Any] = {}
    for _, source in reversed(sources):
        merge(merged, source)
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        found = error.errors()
        faults += [describe(fault, sources) for fault in found if not follows_from_another(fault, found)]
    if faults:
        raise SettingsError("\n".join(faults))
    origins = {key: name for name, source in reversed(sources) for key in leaves(source)}
    return LoadedSettings(with_secrets(settings), origins)


def read_file(file: Path) -> dict[str, Any]:
    """The file as nested tables.

    Raises:
        SettingsError: the file is not there, not readable, or not TOML.
    """
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"settings file {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {file}: not TOML: {error}") from error


def read_environment(environ: Mapping[str, str], faults: list[str]) -> dict[str, Any]:
    """Our part of the environment as nested tables; what cannot be read is added to `faults`."""
    ours = {name: text for name, text in environ.items() if name.upper().startswith(ENVIRONMENT_PREFIX)}
    tables: dict[str, Any] = {}
    for name, text in ours.items():
        section = name[len(ENVIRONMENT_PREFIX) :].lower().split("__")[0]
        if section not in Settings.model_fields:
            close = suggestion(section, list(Settings.model_fields))
            faults.append(f"{name}: unknown setting (from the environment){close}")
            continue
        try:
            # One variable at a time: one that cannot be parsed must not hide the faults of the others.
            merge(tables, typed(MappingSource({name: text})()))
        except EnvironmentParseError:
            faults.append(f"{name} = {mask((name.lower(),), text)!r}: not JSON, as a list or a table must be here")
    return tables


def typed(table: Mapping[str, Any], path: tuple[str | int, ...] = ()) -> dict[str, Any]:
    """Texts of the environment as the numbers that a choice such as `0 or 1` offers; pydantic does not do it."""
    return {
        key: typed(value, (*path, key))
        if isinstance(value, Mapping)
        else next((choice for choice in choices((*path, key)) if str(choice) == value), value)
        for key, value in table.items()
    }


def merge(into: dict[str, Any], source: Mapping[str, Any]) -> None:
    """Lay `source` over `into`, table by table; lists are replaced whole."""
    for key, value in source.items():
        if isinstance(value, Mapping):
            below = into.get(key)
            into[key] = dict(below) if isinstance(below, Mapping) else {}
            merge(into[key], value)
        else:
            into[key] = value


def leaves(tables: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted keys of everything that is not a table."""
    for key, value in tables.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def with_secrets(settings: Settings) -> Settings:
    """The settings with password and token read from their files, whose last line break is no part of them."""
    broker, http = settings.broker, settings.http
    password = secret_of(broker.password_file, "broker.password_file", "the password")
    token = secret_of(http.token_file, "http.token_file", "the token")
    if password is not None:
        broker = broker.model_copy(update={"password": password, "password_file": None})
    if token is not None:
        http = http.model_copy(update={"token": token, "token_file": None})
    return settings.model_copy(update={"broker": broker, "http": http})


def secret_of(file: Path | None, key: str, words: str) -> SecretStr | None:
    """What a file holds; None without a file.

    Raises:
        SettingsError: it cannot be read, or holds nothing.
    """
    if file is None:
        return None
    try:
        secret = file.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SettingsError(f"{key} = {str(file)!r}: {reason}; allowed: a readable file") from error
    if not secret:
        raise SettingsError(f"{key} = {str(file)!r}: is empty; allowed: a file with {words}")
    return SecretStr(secret)


def parse_assignment(text: str) -> dict[str, Any]:
    """`section.field=value` of the command line as nested tables; the value is TOML, or else plain text.

    Raises:
        SettingsError: there is no `=` or no key, or it is the password: everybody on the machine can read it there.

    Example:
        >>> parse_assignment("learning.every=12"), parse_assignment("broker.username=plant")
        ({'learning': {'every': 12}}, {'broker': {'username': 'plant'}})
    """
    key, sign, value = text.partition("=")
    parts = key.strip().split(".")
    if not sign or not all(parts):
        raise SettingsError(f"{key!r}: not SECTION.FIELD=VALUE")
    if parts[-1] == "password":
        raise SettingsError(
            f"{key}: not on the command line, which every user of this machine can read; use broker.password_file, or "
            f"{ENVIRONMENT_PREFIX}BROKER__PASSWORD in the environment"
        )
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    for part in reversed(parts):
        parsed = {part: parsed}
    tables: dict[str, Any] = parsed
    return tables
