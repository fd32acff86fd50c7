"""The command line: flags into settings, errors into exit codes. Imports what takes long only inside a command."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from stepahead.contract.errors import StepaheadError, UsageError

__all__ = ["add_plugged_in_commands", "app", "main"]

OWN_COMMANDS = frozenset({"run", "evaluate", "config", "state", "doctor", "monitoring", "top", "cluster", "version"})
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
state = typer.Typer(
    help="The state directory: check it, look into it, take weights and scalers out. Nothing in it is changed, and "
    "the service may be running. Exit codes: 0 fine, 1 damaged or not readable, 2 not there or not a state directory.",
    no_args_is_help=True,
)
app.add_typer(state, name="state")
cluster = typer.Typer(help="Past one machine: the same service on the nodes of a Ray cluster.", no_args_is_help=True)
app.add_typer(cluster, name="cluster")

StateDirectory = Annotated[Path, typer.Argument(metavar="DIR", help="What durability.state_dir names.")]
Generation = Annotated[Optional[int], typer.Option(help="Number of a snapshot; default the newest whole.")]  # noqa: UP045
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
ConfigFile = Annotated[Optional[Path], typer.Option("--config", help="TOML file with settings.")]  # noqa: UP045
Assignments = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="One setting, stronger than file and environment."),
]


@app.command()
def run(
    config: ConfigFile = None,
    broker: Annotated[str | None, typer.Option(help="mqtt://host[:port], mqtts://, ws:// or wss://.")] = None,
    subscribe: Annotated[list[str] | None, typer.Option(metavar="FILTER", help="Topic filter; repeatable.")] = None,
    page: Annotated[bool, typer.Option("--page", help="Serve the live page and metrics, as http.enabled = true.")] = (
        False
    ),
    assign: Assignments = None,
) -> None:
    """Forecast the feeds of a broker until stopped."""
    page_flags: dict[str, Any] = {"http": {"enabled": True}} if page else {}
    settings = effective(config, broker_flags(broker, subscribe) | page_flags, assign)
    # Imported here: it brings torch, which takes seconds that `--help` need not wait for.
    from stepahead.service.program import run as run_program

    raise typer.Exit(run_program(settings))


@app.command()
def doctor(
    broker: Annotated[str | None, typer.Option(help="mqtt://host[:port] or mqtts://host[:port].")] = None,
    subscribe: Annotated[
        list[str] | None, typer.Option(metavar="FILTER", help="Listen to this; repeatable; default everything.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="How long to listen.")] = 10.0,
    as_json: AsJson = False,
    write: Annotated[
        Optional[Path], typer.Option(metavar="FILE", help="Write the mapping as settings for `run`.")  # noqa: UP045
    ] = None,
    config: ConfigFile = None,
    assign: Assignments = None,
) -> None:
    """Connect, and say in plain words what is wrong for us: 0 all well, 1 findings, 2 no connection."""
    from stepahead.doctor.command import DoctorOptions, run_doctor
    from stepahead.service.configuration import load

    loaded = load(config, flags_of(broker_flags(broker, subscribe), assign))
    options = DoctorOptions("subscriptions" in loaded.origins, seconds, as_json, write)
    raise typer.Exit(run_doctor(loaded.settings, options, typer.echo, lambda text: typer.echo(text, err=True)))


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


def load_engine() -> Callable[[Any], Any]:
    """What makes an engine that fine-tunes in line, its members side by side; torch comes with it."""
    import torch

    from stepahead.forecasting.engine import Engine
    from stepahead.learning.trainer import InlineTrainer
    from stepahead.network.device import device_of

    # Members train side by side, one core each: two threads inside one small product would only wait on each other.
    torch.set_num_threads(1)
    threads = os.cpu_count() or 1
    return lambda settings: Engine(
        settings, InlineTrainer(settings.learning, threads, device=device_of(settings.engine.device))
    )


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
def reference() -> None:
    """Print every setting with type, default, range and meaning as Markdown; deploy/SETTINGS.md is this."""
    from stepahead.service.settings_reference import settings_reference

    typer.echo(settings_reference(), nl=False)


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


@state.command()
def verify(directory: StateDirectory, as_json: AsJson = False) -> None:
    """Check every checksum of journal and snapshots: 0 whole, 1 damaged."""
    from stepahead.inspection.command import run_verify

    raise typer.Exit(run_verify(directory, as_json, typer.echo))


@state.command()
def inspect(
    directory: StateDirectory,
    memory: Annotated[bool, typer.Option("--memory", help="Bytes per bank and per series.")] = False,
    series: Annotated[
        str | None, typer.Option(metavar="KEY", help="One series: last value, scale, weights of the mixture.")
    ] = None,
    generation: Generation = None,
    as_json: AsJson = False,
) -> None:
    """Say what is there: schema, generations, positions, bytes, series, networks."""
    from stepahead.inspection.command import run_inspect

    raise typer.Exit(run_inspect(directory, memory, series, generation, as_json, typer.echo))


@state.command()
def export(
    directory: StateDirectory,
    target: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder.")],
    generation: Generation = None,
    everything: Annotated[bool, typer.Option("--everything", help="Also all other arrays and values.")] = False,
) -> None:
    """Write the weights (safetensors, one file a member) and the scalers (CSV, one row a series) to a new folder."""
    from stepahead.inspection.command import run_export

    raise typer.Exit(run_export(directory, target, generation, everything, typer.echo))


@cluster.command("run")
def run_cluster(
    config: ConfigFile = None,
    address: Annotated[
        str | None, typer.Option(help="HOST:PORT of Ray's head, or auto; default a Ray of our own on this machine.")
    ] = None,
    assign: Assignments = None,
) -> None:
    """Forecast the feeds of a broker on all nodes until stopped."""
    settings = effective(config, {}, assign)
    from stepahead.cluster.program import run as run_program

    raise typer.Exit(run_program(settings, address))


@cluster.command("status")
def show_cluster(
    config: ConfigFile = None,
    address: Annotated[
        str | None, typer.Option(help="HOST:PORT of Ray's head; default where the cluster of these settings is.")
    ] = None,
    as_json: AsJson = False,
    assign: Assignments = None,
) -> None:
    """Show nodes, owners and shards: 0 all shards are served, 1 some are not."""
    settings = effective(config, {}, assign)
    from stepahead.cluster.status import show_status

    raise typer.Exit(show_status(settings, address, as_json, typer.echo))


@app.command()
def top(
    broker: Annotated[str | None, typer.Option(help="mqtt://host[:port] or mqtts://host[:port].")] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop after so many seconds; else at Ctrl-C.")] = None,
    config: ConfigFile = None,
    assign: Assignments = None,
) -> None:
    """Watch a running service in the terminal, from what it publishes."""
    if seconds is not None and not 0 < seconds < float("inf"):
        raise UsageError(f"--seconds is {seconds}, allowed are more than 0")
    settings = effective(config, {} if broker is None else {"broker": {"url": broker}}, assign)
    from rich.console import Console

    from stepahead.service.top import Top

    Top(settings.broker, settings.publish.prefix, Console(), seconds).run()


@app.command()
def monitoring(
    folder: Annotated[Path, typer.Argument(help="Where to write the files; made when it is not there.")],
) -> None:
    """Write the Grafana dashboard and the Prometheus alert rules."""
    from stepahead.telemetry.alerts import rules_text
    from stepahead.telemetry.grafana import dashboard

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in (("grafana-dashboard.json", dashboard()), ("alerts.yaml", rules_text())):
            (folder / name).write_text(text, "utf-8")
            typer.echo(folder / name)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}") from error


@app.command("version")
def print_version() -> None:
    """Print the version."""
    typer.echo(f"stepahead {version('stepahead')}")


def broker_flags(broker: str | None, subscribe: list[str] | None) -> dict[str, Any]:
    """The flags of a broker as nested tables."""
    flags: dict[str, Any] = {}
    if broker is not None:
        flags["broker"] = {"url": broker}
    if subscribe:
        flags["subscriptions"] = [{"filter": topic_filter} for topic_filter in subscribe]
    return flags


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
