"""The demo: an embedded broker, simulated sensors, the forecaster as a process of its own, and the live table."""

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live

from simulators.broker import EmbeddedBroker
from simulators.player import messages_of, play
from simulators.publisher import Publisher
from simulators.scenarios import Sensor, scenario
from simulators.stop import Stop
from simulators.subscriber import ScoreSubscriber
from stepahead.contract.errors import StepaheadError
from stepahead.telemetry.livetable import live_table, plain_line

__all__ = ["Demo", "DemoResult", "forecaster_command"]

NORMAL_MAE = 0.7978845608028654
"""Mean absolute value of a standard normal variable, √(2/π)."""

PAGE_PORT = 8420
EMBEDDED = {"STEPAHEAD_BROKER__QOS": "0", "STEPAHEAD_DURABILITY__MODE": "off", "STEPAHEAD_HTTP__ENABLED": "true"}
"""Settings of the forecaster below the embedded broker.

At QoS 1 iotcore 0.4.0 keeps at most 100 messages to a client unacknowledged, and while it waits for the client it holds
back its own acknowledgements as well. A client that acknowledges a reading only once its forecast is acknowledged, and
has one connection for both, then waits for ever: seen at the first 100 readings that arrive in one go. mosquitto does
not do this.
"""

FRAME_S = 0.25
LINE_S = 5.0


def forecaster_command(url: str) -> list[str]:
    """What starts the forecaster for the demo's sensors."""
    return [sys.executable, "-m", "stepahead", "run", "--broker", url, "--subscribe", "plant/#"]


@dataclass(frozen=True, slots=True)
class DemoResult:
    """How it went: `document` is the JSON, `board` the scores, `best` the smallest possible MAE by series key."""

    document: dict[str, Any]
    subscriber: ScoreSubscriber
    best: dict[str, float]


class Forecaster:
    """The forecaster's process: started with the block, told to stop at its end, its words kept in a file.

    Raises:
        StepaheadError: it ended by itself (from `check`); the text holds its last words.
    """

    def __init__(self, command: Sequence[str], folder: Path, page_port: int = 0) -> None:
        self._command = list(command)
        self._page_port = page_port
        self._folder = folder
        self._log = folder / "forecaster.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.exit_code: int | None = None

    def __enter__(self) -> "Forecaster":
        # Its own session: Ctrl-C reaches us alone, and we tell it to stop while the broker still listens.
        sources = os.pathsep.join(path or os.getcwd() for path in sys.path)
        environment = os.environ | EMBEDDED | {"STEPAHEAD_HTTP__PORT": str(self._page_port), "PYTHONPATH": sources}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=environment,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self.exit_code = self._process.returncode

    def check(self) -> None:
        """Raise when the process is gone."""
        assert self._process is not None
        code = self._process.poll()
        if code is not None:
            raise StepaheadError(f"the forecaster ended with code {code}:\n{self.last_words()}")

    def last_words(self) -> str:
        """The last lines that it wrote."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:]) or "(it said nothing)"


class Demo:
    """Everything that the demo starts, and the order in which it ends: sensors, forecaster, table, broker.

    Args:
        console: where the table or, when that is no terminal, plain lines go.
        seconds: how long; none = until told to stop.
        series: how many sensors.
        rate_hz: readings per second of each.
        seed: of the sensors.
        port: of the broker, 0 = a free one.
        command: broker URL -> command of the forecaster.
        patience_s: how long the forecaster may take to come online.
        stop: ends it when asked.
    """

    def __init__(
        self,
        console: Console,
        seconds: float | None = None,
        series: int = 12,
        rate_hz: float = 20.0,
        seed: int = 0,
        port: int = 0,
        command: Callable[[str], Sequence[str]] = forecaster_command,
        patience_s: float = 120.0,
        stop: Stop | None = None,
    ) -> None:
        self.console = console
        self.seconds = seconds
        self.rate_hz = rate_hz
        self.seed = seed
        self.port = port
        self.sensors = scenario("plant", seed, series)
        self._command = command
        self._patience_s = patience_s
        self._stop = stop or Stop()
        self._elapsed_s = 0.0
        self.page = ""
        """Address of the live page, when it runs."""

    def run(self) -> DemoResult:
        """Run until the time is over or it is told to stop, and tell how it went."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stepahead-demo-")))
            broker = stack.enter_context(EmbeddedBroker(self.port))
            subscriber = stack.enter_context(ScoreSubscriber(broker.url))
            page_port = free_port(PAGE_PORT)
            self.page = f"http://127.0.0.1:{page_port}/"
            forecaster = Forecaster(self._command(broker.url), folder, page_port)
            with forecaster:
                self._wait_until_online(subscriber, forecaster)
                self.console.print(f"live page: {self.page}", markup=False, highlight=False, soft_wrap=True)
                with Plant(self.sensors, broker.url, self.rate_hz) as plant:
                    self._watch(subscriber, forecaster, plant, broker.url)
            if forecaster.exit_code not in (0, None):
                self.console.print(f"[red]the forecaster ended with code {forecaster.exit_code}[/]")
                self.console.print(forecaster.last_words(), markup=False, highlight=False)
            return self._result(subscriber)

    def _wait_until_online(self, subscriber: ScoreSubscriber, forecaster: Forecaster) -> None:
        with self.console.status("starting the forecaster …"):
            deadline = time.monotonic() + self._patience_s
            while not subscriber.online.wait(0.1) and not self._stop.asked:
                forecaster.check()
                if time.monotonic() > deadline:
                    raise StepaheadError(
                        f"the forecaster did not come online within {self._patience_s:g} s:\n{forecaster.last_words()}"
                    )

    def _watch(self, subscriber: ScoreSubscriber, forecaster: Forecaster, plant: "Plant", url: str) -> None:
        began = time.monotonic()
        drawn = self.console.is_terminal and not self.console.is_dumb_terminal
        source = f"{self.page}  {len(self.sensors)} simulated sensors at {self.rate_hz:g} Hz, {url}"
        with ExitStack() as stack:
            live = stack.enter_context(Live(console=self.console, screen=True, auto_refresh=False)) if drawn else None
            next_line_s = LINE_S
            while not self._stop.asked and (self.seconds is None or self._elapsed_s < self.seconds):
                forecaster.check()
                plant.check()
                time.sleep(min(FRAME_S, max(self.seconds - self._elapsed_s, 0.0) if self.seconds else FRAME_S))
                now_s = time.monotonic()
                self._elapsed_s = now_s - began
                with subscriber.lock:
                    if live is not None:
                        width, height = self.console.size
                        frame = live_table(subscriber.board, width, height, now_s, self._elapsed_s, source)
                    elif self._elapsed_s >= next_line_s:
                        next_line_s += LINE_S
                        line = plain_line(subscriber.board, now_s, self._elapsed_s)
                        self.console.print(line, markup=False, highlight=False, soft_wrap=True)
                if live is not None:
                    live.update(frame, refresh=True)

    def _result(self, subscriber: ScoreSubscriber) -> DemoResult:
        with subscriber.lock:
            keys = list(subscriber.board.series)
            best = {
                key: NORMAL_MAE * sensor.feed.best_mse**0.5
                for sensor in self.sensors
                for key in keys
                if key == sensor.topic or key.startswith(sensor.topic + "/")
            }
            scores = subscriber.board.as_dict(time.monotonic())
        for key, row in scores["series"].items():
            row["best_mae"] = best.get(key)
        document = {"seconds": round(self._elapsed_s, 3), "rate_hz": self.rate_hz, "seed": self.seed, **scores}
        document["best_possible"] = "best_mae is the smallest mean absolute error that any forecaster can reach"
        return DemoResult(document, subscriber, best)


def free_port(wanted: int) -> int:
    """The wanted port of the loopback address if it is free, else one that is."""
    for port in (wanted, 0):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(sock.getsockname()[1])
    raise StepaheadError("no port of 127.0.0.1 is free for the live page")


class Plant:
    """The simulated sensors, publishing in a thread of their own while the block lasts.

    Raises:
        StepaheadError: publishing failed (from `check`).
    """

    def __init__(self, sensors: Sequence[Sensor], url: str, rate_hz: float) -> None:
        self._sensors = sensors
        self._url = url
        self._rate_hz = rate_hz
        self._stop = Stop()
        self._error: StepaheadError | None = None
        self._thread = threading.Thread(target=self._publish, name="plant", daemon=True)

    def _publish(self) -> None:
        try:
            with Publisher(self._url) as publisher:
                play(messages_of(self._sensors, self._rate_hz, time.time_ns()), publisher, stop=self._stop)
        except StepaheadError as error:
            self._error = error

    def check(self) -> None:
        """Raise what went wrong in the thread."""
        if self._error is not None:
            raise self._error

    def __enter__(self) -> "Plant":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.ask()
        self._thread.join(10.0)
