"""`stepahead run` as a process of its own, and an ear for what it publishes."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from stepahead.wire.delivery import Delivery
from tests.broker.conftest import MakePeer, Peer
from tests.crash.doomed import Life


class Process(Protocol):
    """What is asked of a process."""

    def poll(self) -> int | None: ...

    def wait(self, timeout: float) -> int: ...

    def send_signal(self, signal_number: int) -> None: ...

    def kill(self) -> None: ...


class Running:
    """A service process; its log in a file, so that a full pipe cannot hold it up.

    Args:
        folder: for the log and, in `state`, its state.
        url: of the broker; None = as the configuration file says.
        assignments: settings, as for `--set`.
        filters: what it subscribes to.
        config: configuration file.
        prefix: command that the program is started by, as another user's.
        doom: not the program itself but `tests.crash.doomed`, and when it dies.
        environment: variables beside ours.
    """

    def __init__(
        self,
        folder: Path,
        url: str | None,
        *assignments: str,
        filters: tuple[str, ...] = ("sensors/#",),
        config: Path | None = None,
        prefix: tuple[str, ...] = (),
        doom: tuple[str, ...] = (),
        **environment: str,
    ) -> None:
        self.log = folder / "run.log"
        self.log.touch()
        self.process: Process
        assignments = (f"durability.state_dir={folder}/state", *assignments)
        if doom:
            subscriptions = ", ".join(f"{{filter='{text}'}}" for text in filters)
            told = (f"broker.url={url}", f"subscriptions=[{subscriptions}]", *assignments)
            self.process = Life(doom, self.log, folder, told)
            return
        command = [*prefix, sys.executable, "-m", "stepahead", "run"]
        command += [] if url is None else ["--broker", url]
        command += [] if config is None else ["--config", str(config)]
        for topic_filter in filters:
            command += ["--subscribe", topic_filter]
        for assignment in assignments:
            command += ["--set", assignment]
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | environment,
            )

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(60)

    def said(self, text: str) -> int:
        """In how many lines of the log a text stands."""
        return sum(text in line for line in self.log.read_text().splitlines())

    def until_said(self, text: str, seconds: float = 180.0, times: int = 1) -> None:
        deadline = time.monotonic() + seconds
        while self.said(text) < times:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def end(self, signal_number: int, seconds: float = 120.0) -> tuple[int, float]:
        """Send a signal; the exit code and how long it took, seconds."""
        began = time.monotonic()
        self.process.send_signal(signal_number)
        code = self.process.wait(seconds)
        return code, time.monotonic() - began

    @property
    def pid(self) -> int:
        """Process id."""
        assert isinstance(self.process, subprocess.Popen)
        return self.process.pid

    def cpu_s(self) -> float:
        """CPU time used so far, of the process and its threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Ear:
    """Hears everything that a service publishes."""

    def __init__(self, make_peer: MakePeer, prefix: str, **settings: object) -> None:
        self.prefix = prefix
        self.peer: Peer = make_peer([f"{prefix}/#"], **settings).subscribed()
        self.forecasts: list[dict[str, Any]] = []
        self._ids: set[object] = set()
        self._counted = 0
        self.statuses: list[dict[str, Any]] = []

    def listen(self, condition: Callable[[], object], seconds: float = 180.0) -> None:
        """Take what comes until the condition holds."""
        deadline = time.monotonic() + seconds
        self._take(self.peer.kept)  # acknowledged already, while it waited for something else
        self.peer.kept.clear()
        while not condition():
            assert time.monotonic() < deadline, (len(self.forecasts), self.statuses[-1:])
            deliveries = self.peer.session.receive(0.05, 1000)
            self._take(deliveries)
            self.peer.session.acknowledge(deliveries)

    def listen_for(self, seconds: float) -> None:
        """Take what comes in so many seconds."""
        until = time.monotonic() + seconds
        self.listen(lambda: time.monotonic() >= until, seconds + 60)

    def _take(self, deliveries: list[Delivery]) -> None:
        for message in deliveries:
            content = json.loads(message.payload)
            is_status = message.topic.decode() == f"{self.prefix}/status"
            (self.statuses if is_status else self.forecasts).append(content)

    def distinct(self) -> int:
        """Forecasts so far; what QoS 1 says twice is counted once."""
        self._ids.update(forecast["id"] for forecast in self.forecasts[self._counted :])
        self._counted = len(self.forecasts)
        return len(self._ids)

    def until_online(self, seconds: float = 180.0) -> None:
        self.listen(lambda: self.statuses and self.statuses[-1]["status"] == "online", seconds)

    def until_forecasts(self, count: int, seconds: float = 180.0) -> None:
        self.listen(lambda: len(self.forecasts) >= count, seconds)

    def until_status(self, condition: Callable[[dict[str, Any]], object], seconds: float = 180.0) -> dict[str, Any]:
        self.listen(lambda: self.statuses and condition(self.statuses[-1]), seconds)
        return self.statuses[-1]
