"""Forecasts per CPU-second of `cluster run` beside `run`, and by the clock with one and two actors.

One embedded broker, one load of single readings at QoS 1, answered in turn by `run`, which stays up, and by one
cluster after another. CPU is that of the processes that forecast, of the router, and of Ray's own (raylet, GCS, agents,
the controller and the spare), each by itself; fine-tunes and the broker are left out.

Run: `python -m tests.bench.cluster [--messages N] [--repeat N] [--series N] [--shards N] [--only NAME] [--broker NAME]`
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simulators.broker import EmbeddedBroker
from stepahead.contract.settings import BrokerSettings
from stepahead.wire.session import Session
from tests.bench.instruments import PLAIN_BROKER, broker, machine
from tests.cluster.processes import descendants

WINDOW = 2000
READY_S = 240.0
TICKS = os.sysconf("SC_CLK_TCK")


class Program:
    """`stepahead run` or `stepahead cluster run` on a topic root of its own.

    Args:
        folder: for state and log.
        url: of the broker.
        name: its topics begin with this.
        settings: of a cluster; None = `run`.
        shards: that topics are dealt out to.
    """

    def __init__(self, folder: Path, url: str, name: str, settings: Mapping[str, Any] | None, shards: int) -> None:
        self.name, self.shards, self.cluster = name, shards, settings is not None
        folder.mkdir()
        level = "{shard}" if settings is not None and settings.get("readings") == "filters" else "+"
        told = {
            "broker.url": url,
            "broker.client_id": name,
            "publish.prefix": f"{name}/out",
            "durability.state_dir": f"{folder}/state",
            "subscriptions": f"[{{filter='{name}/in/{level}/+'}}]",
        }
        told |= {f"cluster.{key}": value for key, value in (settings or {}).items()}
        command = [sys.executable, "-m", "stepahead", *(["cluster"] if self.cluster else []), "run"]
        for key, value in told.items():
            command += ["--set", f"{key}={value}"]
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.session = Session(
            BrokerSettings(url=url, client_id=f"ear-{name}"),
            [f"{name}/out/status", f"{name}/out/forecast/#"],
            None,
            heard,
        )
        self.status: dict[str, Any] = {}
        self.forecasts = 0

    def hear(self, wait_s: float) -> None:
        """Take what comes."""
        deliveries = self.session.receive(wait_s, 5000)
        for message in deliveries:
            if message.topic.endswith(b"/status"):
                self.status = json.loads(message.payload)
            else:
                self.forecasts += 1
        self.session.acknowledge(deliveries)

    def until_ready(self) -> None:
        """Until it says that it is online, all shards are served, and nothing is starting any more."""
        deadline = time.monotonic() + READY_S
        while not self.ready:
            self.hear(0.1)
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{self.name} did not come up:\n{self.log.read_text()[-3000:]}")

    @property
    def ready(self) -> bool:
        """Whether all is there."""
        status = self.status
        if status.get("status") != "online" or not self.cluster:
            return bool(status.get("status") == "online")
        owners, trainer = list(status["owners"].values()), status["trainer"]
        there = all(owner["up"] for owner in owners) and (trainer is None or trainer["up"])
        spare = any(owner["spare"] for owner in owners) or len(owners) > 1
        return bool(status["served"] == status["shards"] and there and spare)

    def processes(self) -> dict[str, list[int]]:
        """Process ids by what they do."""
        if not self.cluster:
            return {"forecasting": [self.process.pid]}
        found: dict[str, list[int]] = {"forecasting": []}
        found["forecasting"] = [owner["pid"] for owner in self.status["owners"].values() if not owner["spare"]]
        for pid in descendants(self.process.pid):
            title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            if pid in found["forecasting"] or "trainer_child" in title or title.startswith("ray::TrainerActor"):
                continue
            found.setdefault("router" if title.startswith("ray::RouterActor") else "Ray", []).append(pid)
        return found

    def end(self) -> None:
        """Stop it in good order."""
        self.process.terminate()
        self.process.wait(60)
        self.session.close(1.0)


def heard(event: object) -> None:
    """Events of the connections are of no interest here."""


def cpu_s(pids: list[int]) -> float:
    """CPU time of processes so far."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


class Load:
    """Publishes single readings, so many unanswered at most, each series' in rising time."""

    def __init__(self, url: str, series: int) -> None:
        self.session = Session(BrokerSettings(url=url, client_id="load"), [], None, heard, clean=True)
        self.series = series
        self.row: dict[str, int] = {}
        while not self.session.connected:
            self.session.receive(0.05, 1)

    def play(self, program: Program, messages: int) -> dict[str, float]:
        """Forecasts a second by the clock, and CPU seconds by what they were spent for."""
        pids = program.processes()
        before = {what: cpu_s(ids) for what, ids in pids.items()}
        program.forecasts, sent = 0, 0
        began_s = time.monotonic()
        while program.forecasts < messages:
            if time.monotonic() > began_s + READY_S:
                sys.exit(f"only {program.forecasts} of {messages} readings were answered by {program.name}")
            if sent < messages and sent - program.forecasts < WINDOW:
                row = self.row[program.name] = self.row.get(program.name, 0) + 1
                part = range(min(self.series, messages - sent))
                self.session.publish_many([reading(program, number, row) for number in part], 1, False)
                sent += len(part)
            self.session.receive(0.0, 1)
            program.hear(0.002)
        took_s = time.monotonic() - began_s
        spent = {what: cpu_s(ids) - before[what] for what, ids in pids.items()}
        return {"per_s": messages / took_s} | spent


def reading(program: Program, number: int, row: int) -> tuple[bytes, bytes]:
    """One message."""
    value = 20 + number % 7 + (row * 7919 + number * 104729) % 1000 / 500
    payload = b'{"ts":%d,"value":%.3f}' % (1_700_000_000_000 + 1000 * row, value)
    return f"{program.name}/in/{number % program.shards}/s{number}".encode(), payload


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000, help="in a repetition")
    parser.add_argument("--repeat", type=int, default=3, help="interleaved repetitions")
    parser.add_argument("--series", type=int, default=500, help="topics, a series each")
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--only", action="append", help="these clusters only, by name")
    parser.add_argument("--broker", choices=("embedded", "mosquitto"), default="embedded")
    arguments = parser.parse_args()
    shards = arguments.shards
    clusters = {
        "filters, 1 shard, 1 actor": {"readings": "filters", "shards": 1},
        f"filters, {shards} shards, 1 actor": {"readings": "filters", "shards": shards},
        f"filters, {shards} shards, 2 actors": {"readings": "filters", "shards": shards, "actors": 2},
        f"router, {shards} shards, 1 actor": {"readings": "router", "shards": shards},
        f"router, {shards} shards, 2 actors": {"readings": "router", "shards": shards, "actors": 2},
    }
    print(machine(), f"{arguments.series} series, {WINDOW} messages unanswered at most, load {os.getloadavg()[0]:.1f}")
    print(f"{'':36}{'per s':>8}{'run/s':>8}{'per CPU-s':>11}{'run/CPU-s':>11}{'ratio':>7}{'router s':>10}{'Ray s':>7}")
    with tempfile.TemporaryDirectory(prefix="stepahead-bench-") as name:
        folder = Path(name)
        if arguments.broker == "embedded":
            with EmbeddedBroker() as embedded:
                compare(arguments, embedded.url, folder, clusters)
        else:
            with broker(folder, PLAIN_BROKER) as port:
                compare(arguments, f"mqtt://127.0.0.1:{port}", folder, clusters)


def compare(arguments: Any, url: str, folder: Path, clusters: Mapping[str, Mapping[str, Any]]) -> None:
    """A line for each cluster: medians of the repetitions, and the median of the ratios."""
    load = Load(url, arguments.series)
    plain = Program(folder / "run", url, "plain", None, arguments.shards)
    plain.until_ready()
    for number, (name, settings) in enumerate(clusters.items()):
        if arguments.only and name not in arguments.only:
            continue
        cluster = Program(folder / f"c{number}", url, f"c{number}", settings, int(settings["shards"]))
        cluster.until_ready()
        for program in (plain, cluster):
            load.play(program, 4 * arguments.series)  # all series are born
        rows = []
        for _ in range(arguments.repeat):
            ours, theirs = load.play(cluster, arguments.messages), load.play(plain, arguments.messages)
            rows.append((ours, theirs))
        per_cpu = [(arguments.messages / o["forecasting"], arguments.messages / t["forecasting"]) for o, t in rows]
        print(
            f"{name:36}{statistics.median(o['per_s'] for o, _ in rows):8.0f}"
            f"{statistics.median(t['per_s'] for _, t in rows):8.0f}"
            f"{statistics.median(o for o, _ in per_cpu):11.0f}{statistics.median(t for _, t in per_cpu):11.0f}"
            f"{statistics.median(o / t for o, t in per_cpu):7.2f}"
            f"{statistics.median(o.get('router', 0.0) for o, _ in rows):10.2f}"
            f"{statistics.median(o.get('Ray', 0.0) for o, _ in rows):7.2f}",
            f" ratios {', '.join(f'{o / t:.2f}' for o, t in per_cpu)}; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
        cluster.end()
    plain.end()


if __name__ == "__main__":
    main()
