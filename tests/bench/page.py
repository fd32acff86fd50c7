"""What the live page costs the service, and what hostile clients do to its forecasts.

    python tests/bench/page.py [--series N] [--seconds S] [--rounds R] [--json FILE]

One service with the page and one without it are fed the same readings over a real mosquitto, at the same time, so that
what else the machine does falls on both. Phases alternate: nobody looks, one
viewer follows the overview, and tests/bench/attack.py is at work.
CPU is that of the service's process; latency is from a reading's publication to its forecast, p99 of a phase.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.broker.brokers import free_port, mosquitto
from tests.broker.running import Running

TICK = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


class Feed:
    """Publishes every series once a second, spread over the second, and times the forecasts of both services."""

    def __init__(self, url: str, series: int) -> None:
        self.series = series
        self.sent: dict[int, float] = {}
        self.taken: dict[str, list[float]] = {"with": [], "without": []}
        self.phases: list[dict[str, list[float]]] = []
        self.stop = threading.Event()
        host, port = url.removeprefix("mqtt://").split(":")
        self.ear = mqtt.Client(CallbackAPIVersion.VERSION2)
        self.ear.on_message = self.heard
        self.mouth = mqtt.Client(CallbackAPIVersion.VERSION2)
        for client in (self.ear, self.mouth):
            client.connect(host, int(port))
            client.loop_start()
        self.ear.subscribe([("with/forecast/probe/#", 0), ("without/forecast/probe/#", 0)])
        self.thread = threading.Thread(target=self.work, daemon=True)

    def heard(self, client: Any, data: Any, message: mqtt.MQTTMessage) -> None:
        now_s = time.monotonic()
        document = json.loads(message.payload)
        began_s = self.sent.get(document["issued_at"])
        if began_s is not None:
            self.taken[message.topic.split("/")[0]].append(now_s - began_s)

    def until_level(self, seconds: float = 120.0) -> None:
        """Wait until what piled up while both began is worked off: no forecast of the last two seconds came late."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for taken in self.taken.values():
                taken.clear()
            time.sleep(2.0)
            if all(taken and max(taken) < 1.0 for taken in self.taken.values()):
                return
        raise SystemExit("the services do not keep up with the feed on this machine")

    def work(self) -> None:
        generator = np.random.default_rng(0)
        parts = 50
        step, next_s = 0, time.monotonic()
        while not self.stop.is_set():
            part = step % parts
            ts = int(time.time() * 1000)
            self.sent[ts] = time.monotonic()
            self.mouth.publish("probe/p", json.dumps({"ts": ts, "value": float(generator.normal())}))
            # One message for many series: on a busy machine the publisher would be the one that is late.
            fields = {f"s{i}": 20 + i % 7 + float(generator.normal()) for i in range(part, self.series, parts)}
            self.mouth.publish(f"plant/m{part}", json.dumps({"ts": ts, **fields}))
            step += 1
            next_s += 1 / parts
            time.sleep(max(0.0, next_s - time.monotonic()))


class Attack:
    """Everything at once that a hostile client can do, from a process of its own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.counts: dict[str, int] = {}

    def __enter__(self) -> "Attack":
        command = [sys.executable, str(Path(__file__).with_name("attack.py")), str(self.port)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def __exit__(self, *exc: object) -> None:
        out, _ = self.process.communicate(timeout=30)
        self.counts = json.loads(out)


class Viewer:
    """A browser that follows the overview, as a process of its own."""

    CODE = (
        "import sys, urllib.request\n"
        "request = urllib.request.Request(sys.argv[1], headers={'Authorization': 'Bearer right'})\n"
        "with urllib.request.urlopen(request) as stream:\n"
        "    while stream.read1(65536): pass\n"
    )

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/api/events?view=overview&sort=skill"

    def __enter__(self) -> "Viewer":
        self.process = subprocess.Popen([sys.executable, "-c", self.CODE, self.url], stderr=subprocess.DEVNULL)
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10.0, help="of one phase")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = measure(Path(folder), options.series, options.seconds, options.rounds)
    print(json.dumps(report, indent=1))
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def measure(folder: Path, series: int, seconds: float, rounds: int) -> dict[str, Any]:
    broker, port = mosquitto(folder).start(), free_port()
    url = broker.url("3.1.1")
    common = ("durability.mode=off", "learning.enabled=false", "broker.qos=0")
    services = {}
    for name in ("without", "with"):
        (folder / name).mkdir()
        ours = (f"publish.prefix={name}", f"broker.client_id={name}")
        if name == "with":
            ours += ("http.enabled=true", f"http.port={port}", "http.token=right")
        services[name] = Running(folder / name, url, *common, *ours, filters=("plant/#", "probe/#"))
    feed = Feed(url, series)
    counts = Counter[str]()
    try:
        for service in services.values():
            service.until_said("subscribed")
        feed.thread.start()
        time.sleep(15)
        feed.until_level()
        phases: dict[str, list[dict[str, float]]] = {"nobody": [], "viewer": [], "attack": []}
        for _ in range(rounds):
            for phase, found in phases.items():
                if phase == "viewer":
                    with Viewer(port):
                        found.append(one_phase(services, feed, seconds))
                elif phase == "attack":
                    with Attack(port) as attack:
                        found.append(one_phase(services, feed, seconds))
                    counts.update(attack.counts)
                    time.sleep(6)
                else:
                    found.append(one_phase(services, feed, seconds))
    finally:
        feed.stop.set()
        for service in services.values():
            service.process.kill()
            service.process.wait()
        broker.stop()
    summary = {
        phase: {key: float(np.median([each[key] for each in found])) for key in found[0]}
        for phase, found in phases.items()
    }
    return {
        "command": " ".join(urllib.parse.quote(word, safe="/-.=") for word in sys.argv),
        "series": series,
        "rounds": rounds,
        "medians": summary,
        "p99_ratio_of_all_rounds": {
            phase: pooled_p99(feed.phases[place :: len(phases)]) for place, phase in enumerate(phases)
        },
        "attackers": counts,
        "load_average": os.getloadavg(),
        "phases": phases,
    }


def pooled_p99(phases: list[dict[str, list[float]]]) -> float:
    """Ratio of the p99 with the page to that without, over all rounds together."""
    pooled = {name: np.concatenate([phase[name] for phase in phases]) for name in ("with", "without")}
    return float(np.quantile(pooled["with"], 0.99) / np.quantile(pooled["without"], 0.99))


def one_phase(services: dict[str, Running], feed: Feed, seconds: float) -> dict[str, float]:
    time.sleep(1.0)
    before = {name: cpu_s(service.process.pid) for name, service in services.items()}
    for taken in feed.taken.values():
        taken.clear()
    began = time.monotonic()
    time.sleep(seconds)
    took_s = time.monotonic() - began
    used = {name: (cpu_s(service.process.pid) - before[name]) / took_s for name, service in services.items()}
    feed.phases.append({name: list(taken) for name, taken in feed.taken.items()})
    p99 = {name: float(np.quantile(taken, 0.99)) for name, taken in feed.taken.items()}
    p50 = {name: float(np.quantile(taken, 0.5)) for name, taken in feed.taken.items()}
    return {
        "cpu_with": used["with"],
        "cpu_without": used["without"],
        "page_cpu_share": used["with"] - used["without"],
        "p50_ratio": p50["with"] / p50["without"],
        "p99_ms_with": 1000 * p99["with"],
        "p99_ms_without": 1000 * p99["without"],
        "p99_ratio": p99["with"] / p99["without"],
    }


if __name__ == "__main__":
    main()
