"""A hostile HTTP client in a process of its own, for tests/bench/page.py: it works until its stdin ends.

    python tests/bench/attack.py PORT < /dev/null

At once: 1,000 connections that say nothing, requests that come a line every 0.2 s (slowloris), headers of 200 kB, and
a flood of requests for files outside the page's folder, and for data with a wrong token. At the end it prints as
JSON how many answers of each status came, and how many held what they should not.
"""

import json
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.dashboard.view_double import Wire

PATHS = (
    "/api/now?size=200", "/api/now?view=series&key=probe/p", "/api/events", "/metrics", "/static/../../settings.py",
    "/static/%2e%2e/view.py", "/static/..%2f..%2f..%2f..%2fetc/passwd", "//etc/passwd",
)  # fmt: skip
SECRETS = (b"root:", b"import ", b'"rows"', b"stepahead_readings")
SLOW_ONES = 20


class Attack:
    """The four kinds of attack, each repeated by threads of its own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.stop = threading.Event()
        self.counts = Counter[str]()
        self.threads = [
            threading.Thread(target=self.repeat, args=(work,), daemon=True)
            for work in (self.silent, self.huge, self.flood, *([self.slow] * SLOW_ONES))
        ]

    def repeat(self, work: Callable[[], None]) -> None:
        while not self.stop.is_set():
            try:
                work()
            except OSError:  # cut off, which is what the server should do
                self.counts["cut off"] += 1
                self.stop.wait(0.01)

    def silent(self) -> None:
        wires = []
        for _ in range(1000):
            if self.stop.wait(0.002):
                break
            wires.append(socket.create_connection(("127.0.0.1", self.port), timeout=1.0))
            self.counts["silent connections"] += 1
        self.stop.wait(2.0)
        for wire in wires:
            wire.close()

    def slow(self) -> None:
        with Wire(self.port, 1.0) as wire:
            wire.send(b"GET / HTTP/1.1\r\n")
            self.counts["slow requests"] += 1
            while not self.stop.wait(0.2):
                wire.send(b"X: y\r\n")

    def huge(self) -> None:
        self.counts["huge headers"] += 1
        with Wire(self.port, 1.0) as wire:
            wire.send(b"GET / HTTP/1.1\r\nX: " + b"a" * 200_000)
        self.stop.wait(0.02)

    def flood(self) -> None:
        with Wire(self.port, 1.0) as wire:
            for path in PATHS:
                status, _, body = wire.get(path, Host="localhost", Authorization="Bearer wrong").answer()
                self.counts[f"status {status}"] += 1
                self.counts["secrets told"] += any(secret in body for secret in SECRETS)
        self.stop.wait(0.02)


def main() -> None:
    attack = Attack(int(sys.argv[1]))
    for thread in attack.threads:
        thread.start()
    sys.stdin.read()
    attack.stop.set()
    deadline = time.monotonic() + 3
    for thread in attack.threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    print(json.dumps(attack.counts), flush=True)


if __name__ == "__main__":
    main()
