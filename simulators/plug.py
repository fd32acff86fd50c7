"""The commands `simulate` and `demo`, plugged into stepahead's command line by an entry point."""

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from simulators.demo import Demo
from simulators.faults import FAULTS, fault
from simulators.playback import Recording
from simulators.player import messages_of, play
from simulators.publisher import Publisher
from simulators.scenarios import SCENARIOS, scenario
from simulators.stop import Stop
from stepahead.contract.errors import UsageError
from stepahead.telemetry.livetable import summary

__all__ = ["demo", "register", "simulate"]


def register(app: typer.Typer) -> None:
    """Add the commands to the application.

    Example:
        >>> app = typer.Typer()
        >>> register(app)
        >>> [command.callback.__name__ for command in app.registered_commands]
        ['simulate', 'demo']
    """
    app.command("simulate")(simulate)
    app.command("demo")(demo)


def simulate(
    broker: Annotated[str, typer.Option(help="mqtt://[user:password@]host[:port], or mqtts:// for TLS.")] = (
        "mqtt://127.0.0.1:1883"
    ),
    scenario_name: Annotated[
        str | None, typer.Option("--scenario", help=f"Simulated sensors: {', '.join(SCENARIOS)}.")
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Play this recording instead.")] = None,
    time_column: Annotated[str | None, typer.Option("--time", help="Time column of the recording.")] = None,
    delimiter: Annotated[str, typer.Option(help="Delimiter of the recording.")] = ",",
    per_column: Annotated[bool, typer.Option(help="One topic per column of the recording.")] = False,
    speed: Annotated[float, typer.Option(help="Times real time; 0 = as fast as possible.")] = 1.0,
    rate: Annotated[float, typer.Option(help="Readings per second of each simulated sensor.")] = 1.0,
    series: Annotated[int | None, typer.Option(help="How many simulated sensors.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop after so many seconds of the feed's own time.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulated sensors.")] = 0,
    faults: Annotated[
        list[str] | None, typer.Option("--fault", help=f"What goes wrong, repeatable: {', '.join(FAULTS)}.")
    ] = None,
    topic: Annotated[
        str | None, typer.Option(help="Topic of the recording, or first levels of the sensors' topics.")
    ] = None,
    qos: Annotated[int, typer.Option(min=0, max=1, help="Quality of service.")] = 1,
) -> None:
    """Publish simulated or recorded sensor feeds."""
    if (csv is None) == (scenario_name is None):
        raise UsageError("give either --scenario NAME or --csv FILE")
    if seconds is not None and not 0 < seconds < float("inf"):
        raise UsageError(f"--seconds is {seconds}, allowed are more than 0")
    if topic is not None and (not topic or any(c in topic for c in "+#\x00")):
        raise UsageError(f"--topic {topic!r} holds a wildcard or is empty")
    recording: Recording | None = None
    total: int | None
    if csv is not None:
        if time_column is None:
            raise UsageError("--csv needs --time COLUMN")
        if faults:
            raise UsageError("--fault is for --scenario: a recording is played as it is")
        recording = Recording(csv, time_column, delimiter, topic, per_column)
        messages = iter(recording) if seconds is None else recording.first(seconds)
        total = recording.messages if seconds is None else None
    else:
        assert scenario_name is not None
        if speed != 1.0 and seconds is None:
            raise UsageError("--speed other than 1 needs --seconds, or the feed would run into the future")
        sensors = scenario(scenario_name, seed, series, topic)
        for i, sensor in enumerate(sensors):
            sensor.faults += [fault(name, seed * 100_003 + i) for name in faults or []]
        readings = None if seconds is None else max(round(seconds * rate), 1)
        # A feed that is played faster than time ends now, one in time begins now.
        start_ns = time.time_ns() - (round((seconds or 0.0) * 1e9) if speed != 1.0 else 0)
        messages = messages_of(sensors, rate, start_ns - start_ns % 1_000_000, readings)
        total = None if readings is None or faults else readings * len(sensors)
    began = time.monotonic()
    count = _publish(messages, broker, qos, speed, total)
    took_s = time.monotonic() - began
    told = "acknowledged" if qos == 1 else "written"
    missing = f", {recording.missing:,} cells were empty" if recording is not None and recording.missing else ""
    typer.echo(f"{count:,} messages published and {told} in {took_s:.1f} s{missing}", err=True)


def _publish(messages: Any, broker: str, qos: int, speed: float, total: int | None) -> int:
    console = Console(stderr=True)
    with ExitStack() as stack:
        stop = stack.enter_context(Stop())
        publisher = stack.enter_context(Publisher(broker, qos))
        published = None
        if console.is_terminal:
            columns = (TextColumn("publishing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            progress = stack.enter_context(Progress(*columns, console=console, transient=True))
            task = progress.add_task("publishing", total=total)

            def published(count: int) -> None:
                progress.update(task, completed=count)

        return play(messages, publisher, speed, stop, published)


def demo(
    seconds: Annotated[float | None, typer.Option(help="Stop after so many seconds; else at Ctrl-C.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document at the end and nothing else.")] = False,
    series: Annotated[int, typer.Option(min=1, max=100_000, help="How many sensors.")] = 12,
    rate: Annotated[float, typer.Option(help="Readings per second of each sensor.")] = 20.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sensors.")] = 0,
    broker_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the broker; 0 = a free one.")] = 0,
) -> None:
    """Show live forecasts for simulated sensors: broker, sensors and forecaster, all on this machine."""
    if seconds is not None and not 0 < seconds < float("inf"):
        raise UsageError(f"--seconds is {seconds}, allowed are more than 0")
    if not 0.01 <= rate <= 1000:
        raise UsageError(f"--rate is {rate}, allowed are 0.01 to 1000 Hz")
    console = Console(stderr=json)
    with Stop() as stop:
        result = Demo(console, seconds, series, rate, seed, broker_port, stop=stop).run()
    if json:
        sys.stdout.write(msgspec.json.encode(result.document).decode() + "\n")
        return
    with result.subscriber.lock:
        console.print(summary(result.subscriber.board, console.width, time.monotonic(), result.best))
