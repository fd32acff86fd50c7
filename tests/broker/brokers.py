"""Real brokers for the tests, each on a free port of 127.0.0.1, each stopped by its own process id."""

import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

HELP = "no mosquitto was found: install it with 'apt-get install mosquitto' (or 'sh deploy/test.sh', which does it)"
IOTCORE_CONFIG = """
id = 0

[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10

[v4.1]
name = "v4"
listen = "127.0.0.1:{v4}"
next_connection_delay_ms = 1

[v4.1.connections]
connection_timeout_ms = 60000
max_payload_size = 2097152
max_inflight_count = 500
dynamic_filters = true

[v5.1]
name = "v5"
listen = "127.0.0.1:{v5}"
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 2097152
max_inflight_count = 500
dynamic_filters = true
"""
HELLO, WELCOME = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00", b"\x20\x02\x00\x00"
"""CONNECT of a nameless client with a clean session, and CONNACK, in MQTT 3.1.1."""
IOTCORE_MAIN = "import sys; from iotcore import IotCoreBroker; IotCoreBroker(config_path=sys.argv[1]).run_forever()"
RESERVED: list[socket.socket] = []


def free_port() -> int:
    """A port that nobody else on this machine is given before our broker listens there, nor while it is away.

    It stays bound, without listening: Linux leaves it out where it chooses, and lets those listen on it who name it and
    ask for SO_REUSEADDR, as servers do.
    """
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    RESERVED.append(sock)
    return int(sock.getsockname()[1])


def find_mosquitto() -> str:
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
    if found is None:
        pytest.fail(HELP)
    return found


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
            return
        except OSError:
            time.sleep(0.02)
    pytest.fail(f"the broker did not start: {log.read_text()[-2000:]}")


@dataclass
class Broker:
    """A broker process; `start` may be called again after `stop` or `kill` and keeps the ports."""

    command: list[str]
    ports: dict[str, int]
    log: Path
    name: str = ""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def url(self, protocol: str) -> str:
        return f"mqtt://127.0.0.1:{self.ports[protocol]}"

    def start(self) -> "Broker":
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for port in set(self.ports.values()):
            wait_for_port(port, self.process, self.log)
        return self

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
            self.process = None

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(60)
            self.process = None


def mosquitto(folder: Path, extra: str = "", listener: str = "") -> Broker:
    """A mosquitto with its limits as high as they may be; `listener` lines go to its one listener."""
    port = free_port()
    anonymous = "" if "allow_anonymous" in extra else "allow_anonymous true\n"
    text = (
        f"listener {port} 127.0.0.1\n{listener}\n{anonymous}set_tcp_nodelay true\n"
        f"max_inflight_messages 65000\nmax_queued_messages 0\npersistence false\nlog_type error\n{extra}\n"
    )
    config = folder / "mosquitto.conf"
    # As root it would give up root and then could not read files of the test's folder.
    config.write_text(text + "user root\n")
    return Broker([find_mosquitto(), "-c", str(config)], {"3.1.1": port, "5": port}, folder / "log", "mosquitto")


def shipped_mosquitto(folder: Path) -> Broker:
    """A mosquitto with the settings of deploy/mosquitto, all but its port and the folder of its file."""
    port = free_port()
    text = (Path(__file__).parents[2] / "deploy" / "mosquitto" / "stepahead.conf").read_text()
    text += f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence_location {folder}/\nuser root\n"
    config = folder / "mosquitto.conf"
    config.write_text(text)
    return Broker([find_mosquitto(), "-c", str(config)], {"3.1.1": port, "5": port}, folder / "log", "mosquitto")


def hardened_mosquitto(folder: Path, passwords: Path, rules: Path) -> Broker:
    """A mosquitto with both files of deploy/mosquitto, all but ports and folders; certificates lie in `folder`."""
    broker = shipped_mosquitto(folder)
    (port,) = set(broker.ports.values())
    text = (Path(__file__).parents[2] / "deploy" / "mosquitto" / "hardened.conf").read_text()
    text = text.replace("listener 8883", f"listener {port} 127.0.0.1").replace("/etc/mosquitto/certs/", f"{folder}/")
    text = text.replace("/etc/mosquitto/stepahead.acl", str(rules))
    text = text.replace("password_file /etc/mosquitto/passwords", f"password_file {passwords}")
    config = folder / "mosquitto.conf"
    open_to_all = f"listener {port} 127.0.0.1\nallow_anonymous true\n"
    config.write_text(config.read_text().replace(open_to_all, "") + text)
    assert "/etc/" not in "".join(line for line in text.splitlines() if not line.startswith("#"))
    return broker


def until_written(broker: Broker, file: Path, quiet_s: float = 0.3, seconds: float = 120.0) -> None:
    """Wait until mosquitto has written down what it has acknowledged, and its file has not changed for a while.

    A message is acknowledged just before it is written down: one acknowledged in the moment of a kill is lost.
    """
    deadline = time.monotonic() + seconds
    # Its one thread writes before it looks for more to read: who is answered now comes after that.
    with socket.create_connection(("127.0.0.1", broker.ports["3.1.1"]), timeout=seconds) as sock:
        sock.sendall(HELLO)
        assert sock.recv(4) == WELCOME
    seen, since = file.stat(), time.monotonic()
    while time.monotonic() - since < quiet_s:
        assert time.monotonic() < deadline
        time.sleep(0.02)
        now = file.stat()
        if (now.st_ino, now.st_mtime_ns) != (seen.st_ino, seen.st_mtime_ns):
            seen, since = now, time.monotonic()


def iotcore(folder: Path) -> Broker:
    """The embedded broker, MQTT 3.1.1 and 5 on a port each."""
    v4, v5 = free_port(), free_port()
    config = folder / "iotcore.toml"
    config.write_text(IOTCORE_CONFIG.format(v4=v4, v5=v5))
    return Broker([sys.executable, "-c", IOTCORE_MAIN, str(config)], {"3.1.1": v4, "5": v5}, folder / "log", "iotcore")
