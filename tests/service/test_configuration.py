"""Settings come from flags, environment, file and defaults, in this order, and every fault is named."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from stepahead.contract.errors import SettingsError
from stepahead.contract.settings import Settings
from stepahead.service.configuration import load, load_settings, parse_assignment
from stepahead.service.settings_text import settings_toml


@pytest.fixture
def write(tmp_path: Path):  # type: ignore[no-untyped-def]
    def write_file(text: str, name: str = "settings.toml") -> Path:
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return path

    return write_file


def faults(file: Path | None, flags: dict[str, Any] | None = None, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(file, flags or {}, environ or {})
    return str(caught.value).splitlines()


def test_nothing_given_means_defaults() -> None:
    assert load_settings(None, {}, {}) == Settings()


def test_flags_come_before_environment_before_file_before_defaults(write) -> None:  # type: ignore[no-untyped-def]
    file = write("[learning]\nseed = 1\nevery = 1\nsteps = 1\n")
    environ = {"STEPAHEAD_LEARNING__SEED": "2", "STEPAHEAD_LEARNING__EVERY": "2"}
    learning = load_settings(file, {"learning": {"seed": 3}}, environ).learning
    assert (learning.seed, learning.every, learning.steps) == (3, 2, 1)
    assert learning.windows == Settings().learning.windows


def test_the_origin_of_each_value_is_known(write) -> None:  # type: ignore[no-untyped-def]
    file = write("[learning]\nseed = 1\nevery = 1\nsteps = 1\n")
    environ = {"STEPAHEAD_LEARNING__SEED": "2", "STEPAHEAD_LEARNING__EVERY": "2"}
    origins = load(file, {"learning": {"seed": 3}}, environ).origins
    assert origins == {"learning.seed": "flag", "learning.every": "environment", "learning.steps": str(file)}


@pytest.mark.parametrize(
    ("name", "text", "path", "value"),
    [
        ("STEPAHEAD_BROKER__QOS", "0", "broker.qos", 0),
        ("STEPAHEAD_TRANSFORM__ORDER", "2", "transform.order", 2),
        ("STEPAHEAD_TRANSFORM__ORDER", "auto", "transform.order", "auto"),
        ("STEPAHEAD_BROKER__PROTOCOL", "5", "broker.protocol", "5"),
        ("STEPAHEAD_INTERVAL__LEVELS", "[0.5, 0.9]", "interval.levels", (0.5, 0.9)),
        ("STEPAHEAD_PUBLISH__RETAIN", "true", "publish.retain", True),
        ("stepahead_service__threads", "2", "service.threads", 2),
    ],
)
def test_the_environment_sets_any_kind_of_value(name: str, text: str, path: str, value: object) -> None:
    section, field = path.split(".")
    assert getattr(getattr(load_settings(None, {}, {name: text}), section), field) == value


def test_tables_in_the_environment_are_json() -> None:
    settings = load_settings(None, {}, {"STEPAHEAD_SUBSCRIPTIONS": '[{"filter": "plant/#", "value": "/v"}]'})
    assert [s.filter for s in settings.subscriptions] == ["plant/#"]


def test_the_whole_environment_of_a_machine_is_no_hindrance() -> None:
    assert load_settings(None, {}, {"PATH": "/bin", "BROKER": "x", "STEPAHEADX": "1"}) == Settings()


def test_all_faults_come_at_once_one_a_line_with_key_value_and_what_is_allowed(write) -> None:  # type: ignore[no-untyped-def]
    file = write(
        '[broker]\nkeepalive_s = 2\nkeepalife_s = 9\n[nothing]\na = 1\n[[subscriptions]]\nformat = "xml"\n'
        '[interval]\nlevels = [0.5, 2]\n[transform]\norder = 7\n[experts]\nseason = "day"\n'
    )
    found = faults(file, {"network": {"hidden": 0}}, {"STEPAHEAD_LEARNING__EVRY": "1", "STEPAHEAD_FOO": "1"})
    expected = [
        r"^STEPAHEAD_FOO: unknown setting \(from the environment\); allowed: broker, .*transform$",
        r"^broker\.keepalive_s = 2 \(from .*settings\.toml\).*at least 5, at most 65535$",
        r"^broker\.keepalife_s: unknown setting .*did you mean keepalive_s\?$",
        r"^nothing: unknown setting .*allowed: broker,",
        r"^subscriptions\[0\]\.format = 'xml'.*'auto' or 'number' or 'json' or 'senml' or 'line' or 'sparkplug'$",
        r"^interval\.levels\[1\] = 2 .*a number, above 0, below 1$",
        r"^transform\.order = 7 .*'auto' or 0 or 1 or 2 or 3$",
        r"^experts\.season = 'day' .*a whole number, at least 0, at most 4096$",
        r"^network\.hidden = 0 \(from flag\).*at least 1, at most 1024$",
        r"^learning\.evry: unknown setting \(from environment\); did you mean every\?$",
    ]
    for pattern in expected:
        assert sum(bool(re.search(pattern, line)) for line in found) == 1, (pattern, found)
    assert len(found) == len(expected), found


def test_a_rule_over_several_fields_names_its_section(write) -> None:  # type: ignore[no-untyped-def]
    found = faults(write("[learning]\nburn_in = 96\n"))
    assert len(found) == 1
    assert found[0].startswith("learning: burn_in and held_out together must be below window_steps (from ")


@pytest.mark.parametrize(
    "flags",
    [
        {"broker": {"password": ["hush"]}},
        {"broker": {"password": "hush", "password_file": "x"}},
        {"broker": {"password": "hush", "qos": 9}},
        {"broker": {"url": "http://me:hush@host"}},
    ],
)
def test_a_password_is_never_in_an_error(flags: dict[str, Any]) -> None:
    assert "hush" not in "\n".join(faults(None, flags))


def test_a_password_is_never_in_an_error_of_the_environment() -> None:
    assert "hush" not in "\n".join(faults(None, {}, {"STEPAHEAD_BROKER": '{"password": "hush"'}))


def test_the_password_is_read_from_its_file_without_the_line_break(write) -> None:  # type: ignore[no-untyped-def]
    file = write("hush \n", "password")
    broker = load_settings(None, {"broker": {"password_file": str(file)}}, {}).broker
    assert broker.password is not None
    assert broker.password.get_secret_value() == "hush "
    assert broker.password_file is None


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_a_password_file_that_is_absent_or_empty_is_named(write, tmp_path: Path, content: str | None) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "absent" if content is None else write(content, "password")
    assert faults(None, {"broker": {"password_file": str(file)}})[0].startswith(f"broker.password_file = '{file}': ")


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file"), ("a = \n", "not TOML")])
def test_a_settings_file_that_cannot_be_read_is_named(
    write,  # type: ignore[no-untyped-def]
    tmp_path: Path,
    content: str | None,
    reason: str,
) -> None:
    file = tmp_path / "absent.toml" if content is None else write(content)
    found = faults(file)
    assert str(file) in found[0]
    assert reason in found[0]


def test_settings_shown_as_toml_read_back_as_they_are(write) -> None:  # type: ignore[no-untyped-def]
    flags = {
        "broker": {"username": 'a"b\\c', "ca_file": "/etc/ca.pem", "protocol": "5"},
        "subscriptions": [{"filter": "a/#", "only": ["x", "y"]}, {"filter": "b/#"}],
        "groups": [{"name": "pump", "members": ["p", "q"]}],
        "interval": {"levels": [0.5, 0.9]},
    }
    settings = load_settings(None, flags, {})
    assert load_settings(write(settings_toml(settings)), {}, {}) == settings
    assert load_settings(write(settings_toml(settings, {})), {}, {}) == settings


def test_settings_shown_hide_secrets_and_name_origins() -> None:
    loaded = load(None, {"broker": {"url": "mqtt://me:hush@host"}}, {"STEPAHEAD_BROKER__PASSWORD": "hush"})
    text = settings_toml(loaded.settings, loaded.origins)
    assert "hush" not in text
    assert '# password = "***"  # environment' in text
    assert tomllib.loads(text)["broker"]["url"] == "mqtt://***@host"


@pytest.mark.parametrize("text", ["learning.every", "=3", "learning.=3", ".every=3"])
def test_an_assignment_without_key_or_value_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"SECTION\.FIELD=VALUE"):
        parse_assignment(text)


def test_an_assignment_takes_toml_values() -> None:
    text = json.dumps([0.5, 0.9])
    assert parse_assignment(f"interval.levels={text}") == {"interval": {"levels": [0.5, 0.9]}}
