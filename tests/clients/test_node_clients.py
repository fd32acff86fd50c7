"""MQTT.js and Node-RED read what we publish, and we what they do."""

import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.broker.brokers import free_port
from tests.clients.conftest import Plant
from tests.clients.node import PACKAGES, ask_node, environment, node

BASE_MS = 1_760_000_000_000
SETTINGS = """module.exports = {{
  uiHost: "127.0.0.1", uiPort: {port}, disableEditor: true, flowFile: "flows.json",
  diagnostics: {{ enabled: false }}, telemetry: {{ enabled: false, updateNotification: false }},
  externalModules: {{ palette: {{ allowInstall: false }}, modules: {{ allowInstall: false }} }},
  logging: {{ console: {{ level: "info" }} }},
}};
"""


def reading(second: int) -> str:
    return json.dumps({"ts": BASE_MS + 1000 * second, "value": 20.0 + second % 3})


@pytest.mark.parametrize(("version", "scheme"), [(4, "mqtt"), (5, "mqtt"), (5, "ws")])
def test_mqtt_js_sends_readings_hears_forecasts_and_asks(plant: Plant, version: int, scheme: str) -> None:
    series = f"plant/js{version}{scheme}/a"
    port = plant.broker.ports["ws" if scheme == "ws" else "5"]
    plan: dict[str, Any] = {"url": f"{scheme}://127.0.0.1:{port}", "version": version, "id": f"js{version}{scheme}"}
    readings = [(series, reading(second), None) for second in range(4)]
    listening = plan | {"subscribe": [f"out/forecast/{series}"], "count": 4, "publish": readings}
    messages = ask_node("mqtt", "mqtt.cjs", listening)
    forecasts = [json.loads(message["payload"]) for message in messages]
    assert [forecast["issued_at"] for forecast in forecasts] == [BASE_MS + 1000 * second for second in range(4)]
    assert {message["topic"] for message in messages} == {f"out/forecast/{series}"}
    answers = "replies/js" if version == 5 else f"out/answer/{series}"
    question = [(f"out/ask/{series}", "", {"responseTopic": answers, "correlationData": "c9"})]
    [answer] = ask_node("mqtt", "mqtt.cjs", plan | {"subscribe": [answers], "count": 1, "publish": question})
    assert json.loads(answer["payload"]) == forecasts[-1]
    if version == 5:
        assert answer["properties"] == {"contentType": "application/json", "correlationData": "c9"}
        properties = messages[-1]["properties"]
        assert (properties["contentType"], properties["userProperties"]["series"]) == ("application/json", series)
        assert 0 < properties["messageExpiryInterval"] <= 600


@pytest.fixture
def node_red(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A running Node-RED without a flow: the address of its admin API, and its log."""
    port, log = free_port(), tmp_path / "log"
    (tmp_path / "settings.js").write_text(SETTINGS.format(port=port))
    command = [*node("node-red"), str(PACKAGES / "node-red" / "red.js"), "--userDir", str(tmp_path)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=tmp_path, env=environment()
        )
    try:
        wait_for(log, "Started flows", process)
        wait_for(log, "Server now running", process)  # the one does not wait for the other
        yield f"http://127.0.0.1:{port}", log
    finally:
        process.terminate()
        process.wait(60)


def wait_for(log: Path, text: str, process: "subprocess.Popen[bytes] | None" = None, times: int = 1) -> None:
    deadline = time.monotonic() + 200
    while log.read_text().count(text) < times:
        assert process is None or process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def call(method: str, address: str, body: object = None) -> Any:
    headers = {"Content-Type": "application/json", "Node-RED-API-Version": "v2"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def test_node_red_shows_forecasts_in_a_debug_node(plant: Plant, node_red: tuple[str, Path]) -> None:
    """mqtt in -> debug, and inject-like readings by an mqtt out that a tick feeds: deployed by its HTTP admin API."""
    api, log = node_red
    broker = {"id": "b", "type": "mqtt-broker", "broker": "127.0.0.1", "port": str(plant.port), "clientid": "red"}
    broker |= {"autoConnect": True, "usetls": False, "protocolVersion": "5", "keepalive": "60", "cleansession": True}
    flow = [
        {"id": "t", "type": "tab", "label": "forecasts"},
        broker,
        {"id": "in", "type": "mqtt in", "z": "t", "topic": "out/forecast/plant/red/#", "qos": "1", "broker": "b"}
        | {"datatype": "json", "wires": [["show"]]},
        {"id": "show", "type": "debug", "z": "t", "active": True, "console": "true", "complete": "payload"}
        | {"targetType": "msg", "tosidebar": False, "tostatus": False, "wires": []},
        {"id": "tick", "type": "inject", "z": "t", "props": [{"p": "payload"}], "payload": "21.5"}
        | {"payloadType": "num", "repeat": "0.2", "once": True, "onceDelay": "0.5", "wires": [["out"]]},
        {"id": "out", "type": "mqtt out", "z": "t", "topic": "plant/red/a", "qos": "1", "broker": "b", "wires": []},
    ]
    deployed = call("POST", f"{api}/flows", {"flows": flow})
    assert [entry["id"] for entry in call("GET", f"{api}/flows")["flows"]] == [entry["id"] for entry in flow]
    assert "rev" in deployed
    wait_for(log, "[debug:show]", times=3)
    text = log.read_text()
    assert re.search(r"series: 'plant/red/a'", text), text
    assert re.search(r"observed: 21\.5", text), text
    assert re.search(r"lower: [\d.]+", text), text
