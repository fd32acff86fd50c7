"""The command `simulate` through the embedded broker: exactly what was asked for arrives."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from simulators.broker import EmbeddedBroker
from simulators.plug import register
from tests.simulators.listener import Listener


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


def simulate(*arguments: str) -> str:
    app = typer.Typer()
    register(app)
    result = CliRunner().invoke(app, ["simulate", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stdout == ""
    return result.stderr


def test_a_scenario_delivers_exactly_its_messages(broker: EmbeddedBroker) -> None:
    listener = Listener(broker.url, "plant/#")
    told = simulate(
        *(
            "--broker",
            broker.url,
            "--scenario",
            "plant",
            "--rate",
            "50",
            "--seconds",
            "20",
            "--speed",
            "0",
            "--seed",
            "7",
        )
    )
    listener.wait_for(12_000)
    listener.close()
    assert "12,000 messages published and acknowledged" in told
    assert len(listener.messages) == 12_000
    assert set(Counter(topic for topic, _ in listener.messages).values()) == {1000}


def test_a_recording_is_played_in_full(broker: EmbeddedBroker, tmp_path: Path) -> None:
    path = tmp_path / "tank.csv"
    path.write_text("when;a;b\n" + "".join(f"2026-01-01 00:00:{i:02};{i};\n" for i in range(60)))
    listener = Listener(broker.url, "t/1")
    told = simulate(
        *("--broker", broker.url, "--csv", str(path), "--time", "when", "--delimiter", ";", "--speed", "0"),
        *("--topic", "t/1", "--qos", "0"),
    )
    listener.wait_for(60)
    listener.close()
    assert "60 messages published and written" in told
    assert "60 cells were empty" in told
    assert [json.loads(payload)["a"] for _, payload in listener.messages] == list(range(60))


def test_the_same_seed_publishes_the_same_values(broker: EmbeddedBroker) -> None:
    runs = []
    for prefix in ("one", "two"):
        listener = Listener(broker.url, f"{prefix}/#")
        simulate(
            *("--broker", broker.url, "--scenario", "ar2", "--rate", "10", "--seconds", "10", "--speed", "0"),
            *("--seed", "3", "--topic", prefix, "--fault", "spikes", "--fault", "garbage"),
        )
        listener.wait_for(100)
        listener.close()
        runs.append([payload.split(b",")[1] for _, payload in listener.messages])
    assert runs[0] == runs[1]
    assert len(runs[0]) == 100
