"""A whole service on doubles: a fake session, a clock that is told the time, fine-tunes by hand."""

import io
import json
from concurrent.futures import Executor
from pathlib import Path

from stepahead.contract.reasons import DropCounter
from stepahead.contract.settings import DurabilitySettings, Settings
from stepahead.forecasting.engine import Engine
from stepahead.learning.trainer import Trainer
from stepahead.service.arrivals import Arrivals
from stepahead.service.loop import Loop
from stepahead.service.outcomes import OutcomeDoor
from stepahead.service.recovery import Knowledge, resume
from stepahead.service.redelivery import RecentForecasts
from stepahead.storage.filesystem import Filesystem
from stepahead.telemetry.log import make_log
from stepahead.wire.decoder import Decoder
from stepahead.wire.encoder import ForecastEncoder
from tests.service.engine_double import MINUTE_NS, START_NS, Clock, FakeSession, HandTrainer, small_settings


class Service:
    def __init__(
        self,
        settings: Settings | None = None,
        directory: Path | None = None,
        disk: Filesystem | None = None,
        max_pending_bytes: int = 2**26,
        trainer: Trainer | None = None,
        beside: Executor | None = None,
    ) -> None:
        self.settings = settings or small_settings(durability=DurabilitySettings(mode="off"))
        self.clock = Clock()
        self.session = FakeSession(self.clock)
        self.trainer = HandTrainer()
        door = OutcomeDoor(trainer or self.trainer)
        self.engine = Engine(self.settings, door)
        self.log = io.StringIO()
        self.arrivals = Arrivals()
        drops = DropCounter()
        decoder = Decoder(
            self.settings.subscriptions, self.engine.intern, drops, "stepahead/v1", sparkplug=self.settings.sparkplug
        )
        self.knowledge = knowledge = Knowledge(
            self.engine, door, RecentForecasts(1000), self.arrivals, decoder.sparkplug
        )
        self.keeper, self._release = resume(
            self.settings,
            knowledge,
            directory or Path("/nowhere"),
            make_log(self.log),
            self.clock,
            disk,
            max_pending_bytes,
            beside,
        )
        self.loop = Loop(
            self.settings,
            self.session,
            decoder,
            drops,
            self.engine,
            ForecastEncoder(self.settings.publish, [0.9], self.engine.table.keys.__getitem__),
            door,
            knowledge.recent,
            knowledge.arrivals,
            self.keeper,
            make_log(self.log, clock=self.clock),
            "1.2.3",
            clock=self.clock,
            wall_ns=self.clock.wall_ns,
            sleep=self.clock.sleep,
        )

    def release(self) -> None:
        """Let go of the directory, as a process does that is killed: it writes no more."""
        writer = getattr(self.keeper, "_writer", None)
        if writer is not None and writer._thread is not None:
            writer._thread.join()
        self._release()

    def send(self, minute: int, value: float, topic: str = "sensors/a") -> None:
        ts = (START_NS - 200 * MINUTE_NS + minute * MINUTE_NS) // 1_000_000
        self.session.deliver(topic, json.dumps({"ts": ts, "value": value}).encode())

    @property
    def forecasts(self) -> list[dict[str, object]]:
        return [json.loads(payload) for topic, payload, _, _ in self.session.published if b"/forecast/" in topic]

    @property
    def statuses(self) -> list[dict[str, object]]:
        return [json.loads(payload) for topic, payload, _, _ in self.session.published if b"/status" in topic]
