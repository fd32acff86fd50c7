"""The embedded broker: on the loopback alone, in both versions of MQTT, ended by its process id."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from simulators.broker import EmbeddedBroker, accepts
from simulators.publisher import Publisher, connect
from stepahead.contract.errors import BrokerError, MissingExtraError, UsageError


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


def listening_addresses(pid: int) -> set[str]:
    """`ADDRESS:PORT` in the kernel's notation for each listening socket of a process (proc(5), /proc/net/tcp)."""
    inodes = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # a connection that the broker closes meanwhile
            inodes.add(os.readlink(fd))
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                found.add(fields[1])
    return found


def test_it_listens_on_the_loopback_and_nowhere_else(broker: EmbeddedBroker) -> None:
    assert accepts(broker.port)
    loopback = f"{int.from_bytes(socket.inet_aton('127.0.0.1'), sys.byteorder):08X}"
    assert listening_addresses(broker.pid) == {f"{loopback}:{broker.port:04X}"}


def test_version_3_carries_a_large_message(broker: EmbeddedBroker) -> None:
    carry_a_large_message(broker, mqtt.MQTTv311)


def test_version_5_carries_a_large_message() -> None:
    with EmbeddedBroker(protocol="5") as broker:
        carry_a_large_message(broker, mqtt.MQTTv5)


def carry_a_large_message(broker: EmbeddedBroker, protocol: int) -> None:
    got: list[bytes] = []
    arrived, subscribed = threading.Event(), threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=protocol)

    def on_message(client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        got.append(message.payload)
        arrived.set()

    client.on_message = on_message
    client.on_subscribe = lambda *_: subscribed.set()
    connect(client, broker.url)
    client.subscribe("large", qos=1)
    assert subscribed.wait(60)
    payload = os.urandom(500_000)
    client.publish("large", payload, qos=1)
    assert arrived.wait(60)
    assert got == [payload]
    client.disconnect()
    client.loop_stop()


def test_it_survives_ctrl_c_and_ends_with_the_block() -> None:
    with EmbeddedBroker() as running:
        pid, port = running.pid, running.port
        os.kill(pid, signal.SIGINT)
        time.sleep(0.3)
        assert accepts(port)
        assert os.getpgid(pid) != os.getpgid(0)
    assert not accepts(port)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(BrokerError, match="does not run"):
        _ = running.pid


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    script = "import os\nfrom simulators.broker import EmbeddedBroker\n"
    script += "broker = EmbeddedBroker().__enter__()\nprint(broker.port, flush=True)\nos._exit(9)\n"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=200)
    port = int(done.stdout)
    deadline = time.monotonic() + 60
    while accepts(port):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_taken_port_is_named(broker: EmbeddedBroker) -> None:
    with pytest.raises(BrokerError, match=str(broker.port)), EmbeddedBroker(port=broker.port):
        pass


def test_without_iotcore_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "iotcore", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'stepahead\[demo\]'"):
        EmbeddedBroker()


@pytest.mark.parametrize("url", ["127.0.0.1", "http://127.0.0.1", "mqtt://", "mqtt://host:99999", "mqtt://host:x"])
def test_a_malformed_url_is_named(url: str) -> None:
    with pytest.raises(UsageError, match="is not of the form"):
        Publisher(url)


def test_nobody_there_is_said() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(BrokerError, match="no broker answers"):
            Publisher(f"mqtt://127.0.0.1:{sock.getsockname()[1]}")


def test_a_qos_that_is_not_offered_is_refused() -> None:
    with pytest.raises(UsageError, match="qos is 2"):
        Publisher("mqtt://127.0.0.1", qos=2)
