"""A recorded file through a real broker gives the forecasts that the engine gives for its rows, value for value."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stepahead.contract.settings import Settings
from stepahead.service.configuration import load_settings, merge, parse_assignment
from tests.broker.brokers import Broker
from tests.broker.conftest import MakePeer
from tests.broker.recorded import expected_forecasts, write_recording
from tests.broker.running import Ear, Running

LEARN_OFTEN = (
    "engine.deterministic=true",
    "network.members=2",
    "network.hidden=8",
    "learning.every=40",
    "learning.steps=2",
    "learning.windows=12",
    "learning.window_steps=24",
    "learning.burn_in=6",
    "learning.held_out=4",
    "replay.memory_steps=96",
)
"""Small enough to learn several times within some hundred rows."""


@pytest.fixture
def protocol() -> str:
    return "3.1.1"


@pytest.fixture
def client() -> str:
    return "fast"


def settings_of(assignments: tuple[str, ...]) -> Settings:
    flags: dict[str, object] = {}
    for text in assignments:
        merge(flags, parse_assignment(text))
    return load_settings(None, flags, {})


def simulate(url: str, path: Path, time_column: str, topic: str, ear: Ear) -> None:
    """Play it, and hear meanwhile: a broker gives up who says nothing for long, and tells him everything again."""
    search = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    # Not by `-m stepahead`: its plugged-in commands are known only where the package is installed.
    program = "import typer; from simulators.plug import register; app = typer.Typer(); register(app); app()"
    command = [sys.executable, "-c", program, "simulate", "--broker", url, "--csv", str(path)]
    command += ["--time", time_column, "--topic", topic, "--speed", "0"]
    said = path.with_suffix(".log")
    with said.open("wb") as output:
        process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": search}, stdout=output, stderr=output)
    ear.listen(lambda: process.poll() is not None)
    assert process.returncode == 0, said.read_text()


def test_a_recording_at_full_speed_gives_the_engines_own_forecasts(
    make_peer: MakePeer, broker: Broker, topic: str, tmp_path: Path
) -> None:
    recording = tmp_path / "recording.csv"
    write_recording(recording, rows=400)
    feed = f"{topic}/in/plant"
    expected = expected_forecasts(recording, "time", feed, settings_of(LEARN_OFTEN))
    assert max(forecast["model"] for forecast in expected.values()) >= 1
    ours = (f"publish.prefix={topic}/out", f"broker.client_id=service-{topic}", *LEARN_OFTEN)
    ear = Ear(make_peer, f"{topic}/out")
    with Running(tmp_path, broker.url("3.1.1"), *ours, filters=(f"{topic}/in/#",)) as service:
        ear.until_online()
        simulate(broker.url("3.1.1"), recording, "time", feed, ear)
        ear.until_forecasts(len(expected))
        code, _ = service.end(signal.SIGTERM)
        assert code == 0
        ear.listen(lambda: ear.statuses[-1]["status"] == "offline")
    assert len(ear.forecasts) == len(expected) == 1200
    assert {forecast["id"]: forecast for forecast in ear.forecasts} == expected
