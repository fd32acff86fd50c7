"""mosquitto_pub, mosquitto_sub and mosquitto_rr, MQTT 3.1.1 and 5: what their users see of us."""

import json
import shutil
import subprocess
from typing import Any

import pytest

from stepahead.wire.output.homeassistant import object_id
from tests.clients.conftest import Plant

BASE_MS = 1_760_000_000_000


def client(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is not installed: 'apt-get install mosquitto-clients' (or 'sh deploy/test.sh')")
    return found


def listen(plant: Plant, version: str, topic: str, count: int, form: str) -> "subprocess.Popen[str]":
    """A mosquitto_sub that ends when so many messages came; it has subscribed when its first line is read."""
    # Into a pipe it writes only when its buffer is full or it ends, unless told otherwise.
    command = [
        client("stdbuf"),
        "-oL",
        client("mosquitto_sub"),
        "-d",
        "-h",
        "127.0.0.1",
        "-p",
        str(plant.port),
        "-V",
        version,
        "-q",
        "1",
    ]
    command += ["-t", topic, "-C", str(count), "-W", "200", "-F", f"= {form}"]
    ear = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert ear.stdout is not None
    for line in ear.stdout:
        if line.startswith("Subscribed"):
            break
    return ear


def heard(ear: "subprocess.Popen[str]") -> list[str]:
    output, _ = ear.communicate(timeout=200)
    assert ear.returncode == 0, output
    return [line[2:] for line in output.splitlines() if line.startswith("= ")]


def kept(plant: Plant, version: str, topic: str) -> Any:
    """The retained message of a topic."""
    command = [client("mosquitto_sub"), "-h", "127.0.0.1", "-p", str(plant.port), "-V", version, "-C", "1", "-W", "120"]
    done = subprocess.run([*command, "-t", topic, "--retained-only"], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def publish(plant: Plant, version: str, topic: str, payloads: list[str]) -> None:
    command = [client("mosquitto_pub"), "-h", "127.0.0.1", "-p", str(plant.port), "-V", version, "-q", "1"]
    done = subprocess.run([*command, "-t", topic, "-l"], input="\n".join(payloads) + "\n", text=True, timeout=120)
    assert done.returncode == 0


def reading(second: int) -> str:
    return json.dumps({"ts": BASE_MS + 1000 * second, "value": 20.0 + second % 3})


@pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
def test_readings_by_pub_forecasts_by_sub(plant: Plant, version: str) -> None:
    series = f"plant/{version}/a"
    ear = listen(plant, version, f"out/forecast/{series}", 5, "%C|%E|%P|%p" if version == "mqttv5" else "|||%p")
    publish(plant, version, series, [reading(second) for second in range(5)])
    forecasts: list[dict[str, Any]] = []
    for line in heard(ear):
        content_type, expiry, user_properties, payload = line.split("|", 3)
        forecasts.append(json.loads(payload))
        if version == "mqttv5":
            assert content_type == "application/json"
            assert 0 < int(expiry) <= 600
            assert user_properties == f"schema:stepahead/forecast/1 model:{forecasts[-1]['model']} series:{series}"
    assert [forecast["issued_at"] for forecast in forecasts] == [BASE_MS + 1000 * second for second in range(5)]
    assert [forecast["observed"] for forecast in forecasts] == [20.0, 21.0, 22.0, 20.0, 21.0]
    assert forecasts[-1]["valid_at"] == BASE_MS + 5000

    # Kept for those who come later: the newest forecast, and what Home Assistant wants to know when it starts.
    assert kept(plant, version, f"out/forecast/{series}") == forecasts[-1]
    announced = kept(plant, version, f"homeassistant/device/{object_id(series)}/config")
    assert announced["state_topic"] == f"out/forecast/{series}"

    if version == "mqttv311":
        ear = listen(plant, version, f"out/answer/{series}", 1, "%p")
        publish(plant, version, f"out/ask/{series}", ["what comes next?"])
        [answer] = heard(ear)
    else:
        command = [client("mosquitto_rr"), "-h", "127.0.0.1", "-p", str(plant.port), "-V", version, "-W", "120"]
        command += ["-t", f"out/ask/{series}", "-e", "replies/rr", "-m", "what comes next?", "-F", "%D %p"]
        command += ["-D", "publish", "correlation-data", "c7"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        correlation, _, answer = done.stdout.strip().partition(" ")
        assert correlation == "c7"
    assert json.loads(answer) == forecasts[-1]
