"""The command line: flags into settings, errors into exit codes. Imports what takes long only inside a command."""

import json
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from stepahead.contract.errors import StepaheadError

__all__ = ["add_plugged_in_commands", "app", "main"]

OWN_COMMANDS = frozenset({"run", "evaluate", "config", "version"})
"""These start without looking for plugs: a service does not wait for, or depend on, what it does not use."""

app = typer.Typer(
    name="stepahead",
    help="Streaming one-step-ahead forecasts for live sensor feeds over MQTT, learned while it runs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config = typer.Typer(help="Settings: check them, describe them, show what is in effect.", no_args_is_help=True)
app.add_typer(config, name="config")

ConfigFile = Annotated[Optional[Path], typer.Option("--config", help="TOML file with settings.")]  # noqa: UP045
Assignments = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="One setting, stronger than file and environment."),
]


@app.command()
def run(
    config: ConfigFile = None,
    broker: Annotated[str | None, typer.Option(help="mqtt://host[:port] or mqtts://host[:port].")] = None,
    subscribe: Annotated[list[str] | None, typer.Option(metavar="FILTER", help="Topic filter; repeatable.")] = None,
    assign: Assignments = None,
) -> None:
    """Forecast the feeds of a broker until stopped."""
    flags: dict[str, Any] = {}
    if broker is not None:
        flags["broker"] = {"url": broker}
    if subscribe:
        flags["subscriptions"] = [{"filter": topic_filter} for topic_filter in subscribe]
    settings = effective(config, flags, assign)
    # Imported here: it brings torch, which takes seconds that `--help` need not wait for.
    from stepahead.service.program import run as run_program  # type: ignore[import-not-found, unused-ignore]

    raise typer.Exit(run_program(settings))


@app.command()
def evaluate(
    file: Annotated[Path, typer.Argument(help="CSV file with a header.")],
    time: Annotated[str, typer.Option(help="Name of the time column.")],
    columns: Annotated[str | None, typer.Option(metavar="A,B", help="Columns to take; default all.")] = None,
    delimiter: Annotated[str, typer.Option(help="Between the cells of a row.")] = ",",
    scale_rows: Annotated[
        int | None, typer.Option(help="Standardise each column by its first N rows; errors are in these units.")
    ] = None,
    score_from: Annotated[int | None, typer.Option(help="First scored row, from 0; default 20% of the rows.")] = None,
    score_to: Annotated[int | None, typer.Option(help="Row before which scoring ends; default all rows.")] = None,
    against: Annotated[
        str, typer.Option(metavar="NAMES", help="Peers, as in snarimax,autoreg,lebre; `all` for all that are there.")
    ] = "",
    seed: Annotated[int | None, typer.Option(help="Seed of weights and sampling.")] = None,
    group: Annotated[bool, typer.Option("--group", help="Forecast the columns from one another.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="DIR", help="Write pictures (PNG) to this folder.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write one HTML page with tables and pictures.")] = None,
    config: ConfigFile = None,
    assign: Assignments = None,
) -> None:
    """Play a recording row by row, forecast first and learn after, and print how good the forecasts were."""
    settings = effective(config, {}, assign)
    # Imported here: pandas and the peers take a second that `--help` need not wait for.
    from stepahead.evaluation.command import EvaluateOptions, run_evaluate

    options = EvaluateOptions(
        file, time, columns, delimiter, scale_rows, score_from, score_to, against, seed, group, json_file, plot, report
    )
    run_evaluate(options, settings, load_engine)


def load_engine() -> Any:
    """The engine's class; torch comes with it."""
    from stepahead.forecasting.engine import Engine  # type: ignore[import-not-found, unused-ignore]

    return Engine


@config.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="TOML file; none checks the environment alone.")] = None,
    assign: Assignments = None,
) -> None:
    """Say whether settings are right; if not, name every fault."""
    effective(file, {}, assign)
    typer.echo(f"{file or 'environment'}: settings are right")


@config.command()
def schema() -> None:
    """Print every setting with its default and range as JSON Schema."""
    from stepahead.contract.settings import Settings

    typer.echo(json.dumps(Settings.model_json_schema(), indent=1))


@config.command()
def show(
    file: Annotated[Path | None, typer.Argument(help="TOML file.")] = None,
    origin: Annotated[bool, typer.Option("--origin", help="Say behind each value where it comes from.")] = False,
    assign: Assignments = None,
) -> None:
    """Print the settings in effect as TOML, secrets masked."""
    from stepahead.service.configuration import load
    from stepahead.service.settings_text import settings_toml

    loaded = load(file, flags_of({}, assign))
    typer.echo(settings_toml(loaded.settings, loaded.origins if origin else None), nl=False)


@app.command("version")
def print_version() -> None:
    """Print the version."""
    typer.echo(f"stepahead {version('stepahead')}")


def effective(file: Path | None, flags: Mapping[str, Any], assignments: list[str] | None) -> Any:
    """The settings in effect."""
    from stepahead.service.configuration import load_settings

    return load_settings(file, flags_of(flags, assignments))


def flags_of(flags: Mapping[str, Any], assignments: list[str] | None) -> dict[str, Any]:
    """Named flags and those given by `--set`, as nested tables."""
    from stepahead.service.configuration import merge, parse_assignment

    merged = dict(flags)
    for text in assignments or ():
        merge(merged, parse_assignment(text))
    return merged


def add_plugged_in_commands(application: typer.Typer) -> None:
    """Let each entry point of the group `stepahead.commands` add its commands.

    The entry point names a function `register(app)`. One that cannot be imported is said so on stderr and
    costs its own commands only.
    """
    for plug in entry_points(group="stepahead.commands"):
        try:
            register = plug.load()
        except ImportError as error:
            typer.echo(f"stepahead: the commands of {plug.value} cannot be loaded: {error}", err=True)
            continue
        register(application)


def main() -> int:
    """Run the command line: 0 fine, 2 bad usage or settings, 130 interrupted, 1 anything else."""
    try:
        if not OWN_COMMANDS.intersection(sys.argv[1:2]):
            add_plugged_in_commands(app)
        app(prog_name="stepahead")
    except StepaheadError as error:
        text = str(error)
        typer.echo(f"stepahead:\n{text}" if "\n" in text else f"stepahead: {text}", err=True)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except SystemExit as leaving:
        # Typer has said by now what there is to say about bad usage.
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
