"""`stepahead cluster run` as a process of its own, what it tells of itself, and Ray nodes that can be killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stepahead.cluster.shards import place
from tests.broker.conftest import MakePeer, Peer
from tests.cluster.feed import Feed

READY_S = 300.0
"""Every process imports PyTorch, and the machine may be full of others."""
PATIENCE = dict.fromkeys(
    ("RAY_gcs_server_port_wait_time_s", "RAY_raylet_start_wait_time_s", "RAY_worker_register_timeout_seconds"), "300"
)
"""Ray gives its processes half a minute or one to come up."""


def environment(token: Path) -> dict[str, str]:
    """Ours, with all that is on the path, and a token for Ray's ports that nobody else has."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    ray = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    ray["RAY_worker_niceness"] = "0"  # as deploy/CLUSTER.md asks for
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | PATIENCE | ray


class Nodes:
    """Ray nodes on loopback; see `tests.cluster.nodes`."""

    def __init__(self, folder: Path, count: int) -> None:
        token = folder / "token"
        token.write_text("0123456789abcdef" * 4)
        token.chmod(0o600)
        self.environment = environment(token)
        self.log = (folder / "nodes.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.nodes", str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=self.environment,
            text=True,
        )
        told = self._hear()
        self.address, self.nodes = told["address"], told["nodes"]

    def _hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, Path(self.log.name).read_text()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def say(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def add(self) -> str:
        self.say("add")
        return str(self._hear()["node"])

    def kill(self, node: str) -> None:
        self.say(f"kill {node}")
        self._hear()

    def __enter__(self) -> "Nodes":
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait(READY_S)
        self.process.stdout.close()  # type: ignore[union-attr]
        self.log.close()


class RunningCluster:
    """The program, and what it publishes.

    Args:
        folder: for log and state.
        make_peer: makes sessions.
        assignments: settings.
        prefix: its topics begin with this.
        nodes: to be joined; None = a Ray of its own.
    """

    def __init__(
        self, folder: Path, make_peer: MakePeer, assignments: tuple[str, ...], prefix: str, nodes: Nodes | None = None
    ) -> None:
        self.log = folder / "cluster.log"
        self.prefix = prefix
        self.peer: Peer = make_peer([f"{prefix}/status", f"{prefix}/forecast/#"]).subscribed()
        self.mouth: Peer = make_peer().connected()
        self.found: dict[str, dict[str, Any]] = {}
        self.status: dict[str, Any] = {}
        self.reads = False
        command = [sys.executable, "-m", "stepahead", "cluster", "run"]
        command += [] if nodes is None else ["--address", nodes.address]
        self.command = [*command, *(part for text in assignments for part in ("--set", text))]
        for text in (f"durability.state_dir={folder / 'state'}", *assignments):
            command += ["--set", text]
        self.environment = surroundings = environment(folder / "none") if nodes is None else nodes.environment
        if nodes is None:
            del surroundings["RAY_AUTH_MODE"], surroundings["RAY_AUTH_TOKEN_PATH"]  # it makes a token of its own
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=surroundings)

    def __enter__(self) -> "RunningCluster":
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(120)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(60)

    def take(self) -> None:
        """Take in what has come; a forecast that came again must be the same."""
        for message in self.peer.kept:
            content = json.loads(message.payload)
            if message.topic.decode().endswith("/status"):
                if content["status"] == "online":  # else it is the word of the broker, which knows nothing of owners
                    self.status = content
            else:
                assert self.found.setdefault(content["id"], content) == content, "published again, and different"
        self.peer.kept.clear()

    def until(self, condition: Callable[[], object], seconds: float = READY_S) -> float:
        """Listen until it holds; how long that took, seconds."""
        began = time.monotonic()

        def holds() -> object:
            self.take()
            assert self.process.poll() is None, self.log.read_text()[-5000:]
            return condition()

        try:
            self.peer.until(holds, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.status}\n{self.log.read_text()[-5000:]}") from error
        return time.monotonic() - began

    def until_whole(self, owners: int, seconds: float = READY_S) -> float:
        """Until so many owners are up, every shard is served by the one that it belongs to, and readings are heard."""
        return self.until(lambda: self.whole(owners) and self.reading(), seconds)

    def reading(self) -> bool:
        """Whether the router has ever subscribed: what was said before is lost, and no status tells of it."""
        self.reads = self.reads or "subscribed to" in self.log.read_text()
        return self.reads

    def until_noticed(self, pid: int) -> None:
        """Until a status knows that an owner's process is gone; one that was made before may come after its end."""
        self.until(lambda: all(owner["pid"] != pid or not owner["up"] for owner in self.status["owners"].values()))

    def whole(self, owners: int) -> bool:
        status = self.status
        up = [name for name, owner in status.get("owners", {}).items() if owner["up"] and not owner["spare"]]
        if len(up) != owners or status["served"] != status["shards"]:
            return False
        return bool(status["placement"] == {str(n): owner for n, owner in place(status["shards"], up).items()})

    def pid_of(self, owner: str) -> int:
        return int(self.status["owners"][owner]["pid"])

    def play(self, feed: Feed, rows: int) -> None:
        """Publish the next rows."""
        self.mouth.session.publish_many(feed.next(rows), 1, False)
        assert self.mouth.session.flush(120)

    def answered(self, feed: Feed, seconds: float = READY_S) -> float:
        """Until every message that was published has its forecast; how long that took, seconds."""
        return self.until(lambda: len(self.found) >= feed.sent, seconds)

    def show(self) -> subprocess.CompletedProcess[str]:
        """What `cluster status` says."""
        state = f"durability.state_dir={self.log.parent / 'state'}"
        command = [sys.executable, "-m", "stepahead", "cluster", "status", "--set", state]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=READY_S, check=False
        )

    def another(self, state: Path) -> subprocess.CompletedProcess[str]:
        """What comes of a second one in the same Ray, with a state of its own."""
        command, environment = [*self.command, "--set", f"durability.state_dir={state}"], self.environment
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=READY_S, check=False)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(READY_S)
