"""The demo from end to end, with a stand-in for the forecaster: what it shows, how it ends, and how it fails."""

import io
import json
import math
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from simulators.demo import NORMAL_MAE, Demo, forecaster_command
from simulators.plug import register
from simulators.stop import Stop
from simulators.subscriber import ScoreSubscriber
from stepahead.contract.errors import StepaheadError, UsageError
from stepahead.telemetry.livetable import summary

FAKE = str(Path(__file__).with_name("fake_forecaster.py"))
PROGRAM = f"""
import functools, sys, typer
from simulators import demo, plug
plug.Demo = functools.partial(demo.Demo, command=lambda url: [sys.executable, {FAKE!r}, url])
app = typer.Typer()
plug.register(app)
app()
"""


def fake_command(url: str) -> list[str]:
    return [sys.executable, FAKE, url]


def demo(arguments: list[str], **options: object) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm-256color"}
    command = [sys.executable, "-c", PROGRAM, "demo", *arguments]
    return subprocess.Popen(command, env=environment, **options)  # type: ignore[call-overload, no-any-return]


def enough(stop: Stop) -> type[ScoreSubscriber]:
    """Asks to stop when each of twelve series was scored 300 times, and twelve seconds after it has begun."""

    class Enough(ScoreSubscriber):
        def __init__(self, url: str) -> None:
            super().__init__(url)
            self.until_s = math.inf

        def _on_message(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
            super()._on_message(client, userdata, message)
            series = self.board.series.values()
            if self.until_s == math.inf and series:
                self.until_s = time.monotonic() + 12
            if time.monotonic() > self.until_s and sorted(s.totals.scored > 300 for s in series) == [True] * 12:
                stop.ask()

    return Enough


def test_the_scores_are_those_of_the_messages_and_learning_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), width=100)
    stop = Stop()
    monkeypatch.setattr("simulators.demo.ScoreSubscriber", enough(stop))
    result = Demo(console, series=12, rate_hz=50.0, command=fake_command, stop=stop).run()
    document = result.document
    assert len(document["series"]) == 12
    for key, row in document["series"].items():
        assert row["scored"] > 300, key
        assert 0.8 * row["best_mae"] < row["mae"] < 3 * row["best_mae"], key
    assert document["series"]["plant/pump1/vibration"]["skill"] > 0.2
    assert document["series"]["plant/tank1/level"]["skill"] < 0.1
    assert document["best_possible"] == "best_mae is the smallest mean absolute error that any forecaster can reach"
    assert isinstance(console.file, io.StringIO)
    lines = [line for line in console.file.getvalue().splitlines() if "readings/s" in line]
    assert 2 <= len(lines) <= document["seconds"] // 5, "a plain line every five seconds where there is no terminal"
    assert "12 series" in lines[-1]
    console.print(summary(result.subscriber.board, 100, time.monotonic(), result.best))
    assert "plant/pump2/pressure" in console.file.getvalue()


def test_json_is_all_that_stands_on_standard_output() -> None:
    process = demo(["--seconds", "8", "--json", "--series", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, _ = process.communicate(timeout=250)
    assert process.returncode == 0
    document = json.loads(out)
    assert 8.0 <= document["seconds"] < 100.0
    assert out.count(b"\n") == 1
    assert set(document["series"]) == {"plant/pump1/temperature", "plant/pump1/pressure"}
    row = document["series"]["plant/pump1/pressure"]
    assert row["best_mae"] == pytest.approx(NORMAL_MAE * 0.02)
    assert document["readings_per_second"] > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_summary_and_leaves_nothing_running(number: signal.Signals) -> None:
    master, slave = pty.openpty()
    process = demo(["--series", "3"], stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    shown = b""
    told = False
    deadline = time.monotonic() + 200
    children: set[int] = set()
    while select.select([master], [], [], max(deadline - time.monotonic(), 0.0))[0]:
        try:
            piece = os.read(master, 65536)
        except OSError:  # the other end of a pseudo-terminal is gone
            break
        if not piece:
            break
        shown += piece
        if not told and b"plant/pump1/vibration" in shown:
            children = set(map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()))
            process.send_signal(number)
            told = True
    else:
        process.kill()
        pytest.fail(f"it has not ended, {'told' if told else 'and was not told'} to, and showed {shown[-3000:]!r}")
    os.close(master)
    assert process.wait(60) == 0
    text = shown.decode()
    assert told, text
    assert "\x1b[?1049h" in text, "the table has a screen of its own"
    assert "\x1b[?1049l" in text, "and gives it back"
    after = text.split("\x1b[?1049l")[-1]
    assert "floor" in after
    assert "plant/pump1/vibration" in after
    assert len(children) == 2, "broker and forecaster"
    for pid in children:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def quiet() -> Console:
    return Console(file=io.StringIO())


def test_a_forecaster_that_dies_is_reported_with_its_last_words() -> None:
    def broken(url: str) -> list[str]:
        return [sys.executable, "-c", "raise SystemExit('cannot read the settings')"]

    with pytest.raises(StepaheadError, match=r"ended with code 1(.|\n)*cannot read the settings"):
        Demo(quiet(), seconds=5, command=broken).run()


def test_the_forecaster_is_told_what_the_embedded_broker_can_bear() -> None:
    def telling(url: str) -> list[str]:
        return [sys.executable, "-c", "import os; raise SystemExit('qos ' + os.environ['STEPAHEAD_BROKER__QOS'])"]

    with pytest.raises(StepaheadError, match="qos 0"):
        Demo(quiet(), seconds=5, command=telling).run()


def test_a_forecaster_that_stays_silent_is_given_up() -> None:
    def silent(url: str) -> list[str]:
        return [sys.executable, "-c", "import time; time.sleep(60)"]

    with pytest.raises(StepaheadError, match="did not come online within 1 s"):
        Demo(quiet(), seconds=5, command=silent, patience_s=1.0).run()


def test_the_forecaster_is_stepahead_run() -> None:
    assert forecaster_command("mqtt://h:1")[1:] == [
        *("-m", "stepahead", "run", "--broker", "mqtt://h:1", "--subscribe", "plant/#")
    ]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["demo", "--seconds", "0"], "--seconds"),
        (["demo", "--seconds", "nan"], "--seconds"),
        (["demo", "--rate", "0"], "--rate"),
        (["simulate"], "either --scenario NAME or --csv FILE"),
        (["simulate", "--scenario", "sine", "--csv", "x.csv"], "either --scenario NAME or --csv FILE"),
        (["simulate", "--scenario", "nonsense"], "nonsense"),
        (["simulate", "--scenario", "sine", "--speed", "0"], "--seconds"),
        (["simulate", "--scenario", "sine", "--seconds", "-1"], "--seconds"),
        (["simulate", "--scenario", "sine", "--fault", "gremlins"], "gremlins"),
        (["simulate", "--scenario", "sine", "--topic", "a/#"], "wildcard"),
        (["simulate", "--csv", "x.csv"], "--time"),
        (["simulate", "--csv", "absent.csv", "--time", "t"], r"absent\.csv"),
        (["simulate", "--csv", "x.csv", "--time", "t", "--fault", "late"], "--fault"),
    ],
)
def test_bad_usage_names_the_flag_and_has_exit_code_2(arguments: list[str], word: str) -> None:
    app = typer.Typer()
    register(app)
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, UsageError)
    assert result.exception.exit_code == 2
    with pytest.raises(UsageError, match=word):
        raise result.exception


@pytest.mark.parametrize("arguments", ["demo --series 0", "simulate --qos 2", "demo --broker-port -1"])
def test_typer_refuses_what_is_out_of_range(arguments: str) -> None:
    app = typer.Typer()
    register(app)
    assert CliRunner().invoke(app, arguments.split()).exit_code == 2
