"""The command line: exit codes, messages, plugs, and a start that waits for nobody."""

import importlib.metadata
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from stepahead import cli
from stepahead.contract.errors import BrokerError
from stepahead.contract.settings import Settings
from tests.evaluation.conftest import FakeEngine

Run = Callable[..., tuple[int, str, str]]
ROWS = "\n".join(f"2020-01-01 {i // 60:02}:{i % 60:02}:00,{i % 7},{(i * i) % 11}" for i in range(200))


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the program in this process, with a plug-free `stepahead.commands` and a fake engine and program."""
    program = ModuleType("stepahead.service.program")
    monkeypatch.setattr(cli, "load_engine", lambda: FakeEngine)
    monkeypatch.setitem(sys.modules, program.__name__, program)
    monkeypatch.setattr(cli, "entry_points", lambda group: ())

    def run(*arguments: object, program_run: Callable[[Settings], int] = lambda settings: 0) -> tuple[int, str, str]:
        program.run = program_run  # type: ignore[attr-defined]
        monkeypatch.setattr(sys, "argv", ["stepahead", *map(str, arguments)])
        code = cli.main()
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    file = tmp_path / "feed.csv"
    file.write_text(f"time,a,b\n{ROWS}\n")
    return file


HEAVY = {"torch", "pandas", "river", "statsmodels", "matplotlib", "sklearn"}


@pytest.mark.parametrize(
    ("arguments", "slow"), [(["--help"], HEAVY), (["run", "--help"], HEAVY | {"numpy", "simulators"})]
)
def test_help_imports_nothing_that_takes_long(arguments: list[str], slow: set[str]) -> None:
    code = (
        f"import sys; from stepahead import cli; sys.argv = ['stepahead', *{arguments}]; code = cli.main();"
        f"slow = {slow} & set(sys.modules); assert not slow, slow; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: stepahead")


def test_our_own_commands_are_those_that_skip_the_plugs() -> None:
    groups = {group.name for group in cli.app.registered_groups}
    commands = {
        command.name or command.callback.__name__ for command in cli.app.registered_commands if command.callback
    }
    assert groups | commands >= cli.OWN_COMMANDS


def test_our_own_commands_do_not_load_plugs(call: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, Plug(ImportError("never asked")))
    code, _, err = call("version")
    assert (code, err) == (0, "")


def test_the_module_is_the_program() -> None:
    done = subprocess.run([sys.executable, "-m", "stepahead", "version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"stepahead {importlib.metadata.version('stepahead')}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "No such command"),
        (["evaluate"], "Missing argument"),
        (["evaluate", "x.csv"], "Missing option '--time'"),
        (["evaluate", "x.csv", "--time", "t", "--seed", "x"], "Invalid value for '--seed'"),
        (["run", "--nothing"], "No such option"),
        (["run", "--broker", "http://host"], "broker.url = 'http://host' (from flag)"),
        (["run", "--config", "absent.toml"], "settings file absent.toml: No such file"),
        (["run", "--set", "learning.every"], "not SECTION.FIELD=VALUE"),
        (["config", "check", "--set", "learning.evry=3"], "learning.evry: unknown setting"),
        (["run", "--set", "broker.password=hush"], "broker.password: not on the command line"),
        (
            ["doctor", "--broker", "mqtt://h", "--write", "absent/x.toml"],
            "--write absent/x.toml: there is no such folder",
        ),
        (["doctor", "--config", "absent.toml"], "settings file absent.toml: No such file"),
        (["state", "verify", "absent"], "absent: there is no such directory"),
        (["evaluate", "x.csv", "--time", "t"], "x.csv: No such file"),
        (["evaluate", "x.csv", "--time", "t", "--against", "prophet"], "no peer 'prophet'"),
        (["evaluate", "x.csv", "--time", "t", "--json", "absent/x.json"], "there is no folder absent"),
    ],
)
def test_bad_usage_and_bad_settings_exit_2_and_are_named(call: Run, arguments: list[str], message: str) -> None:
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_run_passes_its_flags_on_as_settings(call: Run, tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text('[broker]\nurl = "mqtt://file"\nqos = 0\n')
    seen: list[Settings] = []

    def program_run(settings: Settings) -> int:
        seen.append(settings)
        return 7

    arguments = ("--config", file, "--broker", "mqtt://flag", "--subscribe", "a/#", "--subscribe", "b/+/c")
    code, _, _ = call("run", *arguments, "--set", "learning.every=5", program_run=program_run)
    (settings,) = seen
    assert code == 7
    assert (settings.broker.url, settings.broker.qos, settings.learning.every) == ("mqtt://flag", 0, 5)
    assert [s.filter for s in settings.subscriptions] == ["a/#", "b/+/c"]


def test_a_broker_that_refuses_exits_1_with_its_message(call: Run) -> None:
    def program_run(settings: Settings) -> int:
        raise BrokerError("the broker refused our password")

    code, _, err = call("run", program_run=program_run)
    assert (code, err) == (1, "stepahead: the broker refused our password\n")


def test_ctrl_c_is_no_traceback(call: Run) -> None:
    def program_run(settings: Settings) -> int:
        raise KeyboardInterrupt

    code, _, err = call("run", program_run=program_run)
    assert code == 130
    assert "Traceback" not in err


def test_a_defect_exits_1_with_a_traceback() -> None:
    code = (
        "import sys, types; from stepahead import cli; p = types.ModuleType('p');"
        "p.run = lambda settings: 1 // 0; sys.modules['stepahead.service.program'] = p;"
        "sys.argv = ['stepahead', 'run']; sys.exit(cli.main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


def test_config_schema_is_the_schema_of_the_settings(call: Run) -> None:
    code, out, _ = call("config", "schema")
    assert (code, json.loads(out)) == (0, Settings.model_json_schema())


def test_config_show_names_origins_and_hides_secrets(
    call: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STEPAHEAD_BROKER__PASSWORD", "hush")
    file = tmp_path / "x.toml"
    file.write_text("[learning]\nseed = 4\n")
    code, out, _ = call("config", "show", file, "--origin")
    assert (code, tomllib.loads(out)["learning"]["seed"]) == (0, 4)
    assert f"seed = 4  # {file}" in out
    assert "hush" not in out


def test_config_check_is_content_with_defaults(call: Run) -> None:
    assert call("config", "check") == (0, "environment: settings are right\n", "")


class Plug:
    """An entry point."""

    def __init__(self, register: Callable[[typer.Typer], None] | ImportError) -> None:
        self.value = "plug.commands:register"
        self._register = register

    def load(self) -> Callable[[typer.Typer], None]:
        if isinstance(self._register, ImportError):
            raise self._register
        return self._register


def plug_in(monkeypatch: pytest.MonkeyPatch, plug: Plug) -> None:
    monkeypatch.setattr(cli, "entry_points", lambda group: (plug,) if group == "stepahead.commands" else ())


def test_an_entry_point_adds_its_commands(call: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = typer.Typer(rich_markup_mode=None)
    fresh.command("version")(cli.print_version)
    monkeypatch.setattr(cli, "app", fresh)

    def register(app: typer.Typer) -> None:
        app.command("greet")(lambda: typer.echo("hello"))

    plug_in(monkeypatch, Plug(register))
    assert call("greet") == (0, "hello\n", "")


def test_an_entry_point_that_cannot_be_imported_costs_only_itself(call: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, Plug(ImportError("no module iotcore")))
    code, out, err = call("--help")
    assert (code, out.startswith("Usage: stepahead")) == (0, True)
    assert "plug.commands:register cannot be loaded: no module iotcore" in err


def test_evaluate_prints_tables_and_writes_json(call: Run, csv: Path, tmp_path: Path) -> None:
    target = tmp_path / "figures.json"
    code, out, err = call("evaluate", csv, "--time", "time", "--json", target, "--against", "holtwinters")
    assert (code, err) == (0, "")
    figures: dict[str, Any] = json.loads(target.read_text())
    assert {"file", "rows", "columns", "scored", "seconds", "readings_per_second", "models"} <= figures.keys()
    assert (figures["rows"], figures["columns"], figures["scored"]) == (200, ["a", "b"], 320)
    assert list(figures["models"]) == ["stepahead", "mean", "lstm", "persistence", "holtwinters"]
    keys = {"mse", "mae", "mse_ratio", "mae_ratio", "coverage", "width", "pinball", "unforecast"}
    for model in figures["models"].values():
        assert keys | {"per_column", "us_per_reading"} <= model.keys()
        assert all(keys <= model["per_column"][column].keys() for column in "ab")
    for name in figures["models"]:
        assert name in out
    assert "\x1b" not in out


def test_evaluate_takes_its_range_scale_and_columns(call: Run, csv: Path, tmp_path: Path) -> None:
    target = tmp_path / "figures.json"
    flags = ("--columns", "b", "--scale-rows", 50, "--score-from", 60, "--score-to", 90, "--seed", 3)
    assert call("evaluate", csv, "--time", "time", *flags, "--json", target)[0] == 0
    figures = json.loads(target.read_text())
    assert (figures["columns"], figures["scored"], figures["score_from"], figures["score_to"]) == (["b"], 30, 60, 90)


def test_evaluate_draws_and_reports(call: Run, csv: Path, tmp_path: Path) -> None:
    code, _, _ = call("evaluate", csv, "--time", "time", "--plot", tmp_path / "p", "--report", tmp_path / "r.html")
    assert code == 0
    pictures = {path.stem: path.read_bytes() for path in (tmp_path / "p").iterdir()}
    expected = {"running-error", "calibration", "width-against-error", "weights", "forecast-a", "forecast-b"}
    assert pictures.keys() == expected
    assert all(picture.startswith(b"\x89PNG") for picture in pictures.values())
    page = (tmp_path / "r.html").read_text()
    assert page.count("data:image/png;base64,") == len(expected)
    assert "http" not in page


def test_drawing_without_matplotlib_names_the_extra_before_the_play(
    call: Run, csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, err = call("evaluate", csv, "--time", "time", "--plot", tmp_path / "p")
    assert code == 2
    assert "pip install 'stepahead[plot]'" in err
