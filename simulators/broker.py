"""The embedded broker: `iotcore` (rumqttd, a broker in Rust) as a child process, reachable from this machine only."""

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Literal

from stepahead.contract.errors import BrokerError, MissingExtraError

__all__ = ["EmbeddedBroker"]

LOOPBACK = "127.0.0.1"
ROUTER = """id = 0

[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
"""
# rumqttd serves MQTT 5 by a configuration file only, on a port of its own. It could serve both versions at once, but
# then one SUBACK in five was lost for a client of one version that came right after one of the other (iotcore 0.4.0).
LISTENER = """
[{version}.1]
name = "{version}-1"
listen = "{host}:{port}"
next_connection_delay_ms = 1
[{version}.1.connections]
connection_timeout_ms = 60000
max_payload_size = {payload}
max_inflight_count = 500
dynamic_filters = true
"""


class EmbeddedBroker:
    """A broker on 127.0.0.1 that lives as long as the `with` block.

    It survives Ctrl-C in the terminal (so that clients can say good-bye), ends when told to by its process id, and
    ends by itself when this process dies.

    Its limit: with 100 messages of QoS 1 on their way to a client it sends that client nothing more, its own PUBACKs
    included, until the client acknowledges. A client must not make the one wait for the other.

    Args:
        port: where it listens; 0 = a free one.
        protocol: the version of MQTT that it speaks.
        max_payload_bytes: larger messages make the broker drop the connection that sent them.

    Attributes:
        port: where it listens.
        url: `mqtt://127.0.0.1:PORT`.
        pid: process id of the broker.

    Raises:
        MissingExtraError: iotcore is not installed.
        BrokerError: the port is taken, or the broker did not come up.

    Example:
        >>> with EmbeddedBroker() as broker:
        ...     broker.url.rsplit(":", 1)[0]
        'mqtt://127.0.0.1'
    """

    def __init__(
        self, port: int = 0, protocol: Literal["3.1.1", "5"] = "3.1.1", max_payload_bytes: int = 2**20
    ) -> None:
        if find_spec("iotcore") is None:
            raise MissingExtraError("the embedded broker", "demo")
        self._wanted = port
        self._version = "v5" if protocol == "5" else "v4"  # 3.1.1 has level 4 (its section 3.1.2.2)
        self._max_payload_bytes = max_payload_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.port = port

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"mqtt://{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the running broker."""
        if self._process is None:
            raise BrokerError("the embedded broker does not run")
        return self._process.pid

    def __enter__(self) -> "EmbeddedBroker":
        # Between finding a free port and the broker taking it another program may take it: then try others.
        attempts = 1 if self._wanted else 5
        for attempt in range(attempts):
            self.port = free_port(self._wanted)
            if self._start(timeout_s=60.0):
                return self
            self.stop()
            if attempt + 1 < attempts:
                time.sleep(0.1)
        raise BrokerError(f"the embedded broker did not come up on {LOOPBACK}, port {self.port}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self, timeout_s: float) -> bool:
        self._folder = tempfile.TemporaryDirectory(prefix="stepahead-broker-")
        config = Path(self._folder.name, "broker.toml")
        listener = LISTENER.format(
            version=self._version, host=LOOPBACK, port=self.port, payload=self._max_payload_bytes
        )
        config.write_text(ROUTER + listener)
        package_root = str(Path(__file__).parents[1])
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"import sys; sys.path.append({package_root!r}); "
                f"from simulators.broker import serve; serve({str(config)!r})",
            ],
            stdin=subprocess.PIPE,  # the child ends when this pipe closes
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self._process.poll() is None:
            if accepts(self.port):
                return self._process.poll() is None
            time.sleep(0.02)
        return False

    def stop(self) -> None:
        """End the broker; safe to call twice."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(5.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def free_port(wanted: int = 0) -> int:
    """A port of the loopback that nobody listens on now: the wanted one, or any for 0.

    Raises:
        BrokerError: the wanted port is taken; the text names it.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((LOOPBACK, wanted))
        except OSError as error:
            raise BrokerError(f"port {wanted} of {LOOPBACK} cannot be used: {error.strerror}") from error
        return int(sock.getsockname()[1])


def accepts(port: int) -> bool:
    """Whether somebody accepts connections on this port of the loopback."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=0.5):
            return True
    except OSError:
        return False


def serve(config: str) -> None:
    """Run the broker in this process until standard input closes: what the child process does."""
    from iotcore import IotCoreBroker  # an extra: only the child needs it

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    # rumqttd reports every packet as an error to Python's logging.
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    IotCoreBroker(config_path=config).run_forever()
