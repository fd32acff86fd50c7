"""Doubles for what the loop is handed: a clock, a broker's side of a session, and fine-tunes made up by hand."""

from collections import deque
from collections.abc import Sequence

import numpy as np

from stepahead.contract.settings import LearningSettings, NetworkSettings, ReplaySettings, Settings
from stepahead.learning.material import Material
from stepahead.learning.tuner import TuneResult
from stepahead.wire.delivery import Delivery
from stepahead.wire.stock_client import Row

MINUTE_NS = 60 * 10**9
START_NS = 1_760_000_000 * 10**9


def small_settings(**sections: object) -> Settings:
    """An engine that fine-tunes within a few hundred readings, in milliseconds."""
    settings = Settings(
        network=NetworkSettings(members=2, hidden=8),
        replay=ReplaySettings(memory_steps=64),
        learning=LearningSettings(every=16, steps=2, windows=8, window_steps=16, burn_in=4, held_out=4, boost=1),
    )
    return settings.model_copy(update=sections)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def wall_ns(self) -> int:
        return START_NS + int(self.now_s * 1e9)


class FakeSession:
    """A broker that takes everything and remembers the order of events."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.connected = True
        self.lost_qos0 = 0
        self.refused_out = 0
        self.inbox: deque[Delivery] = deque()
        self.published: list[tuple[bytes, bytes, int, bool]] = []
        self.acknowledged: list[Delivery] = []
        self.order: list[str] = []
        self.waits: list[float] = []
        self.flushes: list[float] = []
        self.closed = False

    def deliver(self, topic: str, *payloads: bytes) -> None:
        for payload in payloads:
            self.inbox.append(Delivery(topic.encode(), payload, 2, 65_536 + len(self.inbox), self.clock.wall_ns()))

    def receive(self, timeout_s: float, max_messages: int) -> list[Delivery]:
        self.waits.append(timeout_s)
        if not self.inbox:
            self.clock.now_s += timeout_s
        return [self.inbox.popleft() for _ in range(min(max_messages, len(self.inbox)))]

    def publish_many(self, rows: Sequence[Row], qos: int, retain: bool) -> None:
        self.published += [(row[0], row[1], qos, retain) for row in rows]
        self.order += [f"publish {row[0].decode()}" for row in rows]

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        self.publish_many([(topic.encode(), payload)], qos, retain)

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        self.acknowledged += deliveries
        self.order += ["acknowledge"] * len(deliveries)

    def flush(self, timeout_s: float) -> bool:
        self.flushes.append(timeout_s)
        return self.connected

    def close(self, timeout_s: float) -> bool:
        self.closed = True
        return self.connected


class HandTrainer:
    """A trainer whose outcomes the test decides."""

    not_before = 0

    def __init__(self) -> None:
        self.materials: list[Material] = []
        self.busy = False
        self.result: TuneResult | None = None

    def submit(self, material: Material) -> None:
        assert not self.busy, "submitted while busy"
        self.materials.append(material)
        self.busy = True

    def poll(self) -> TuneResult | None:
        result, self.result = self.result, None
        if result is not None:
            self.busy = False
        return result

    def wait(self) -> TuneResult | None:
        return self.poll()

    def close(self) -> None:
        self.busy = False


def better_result(material: Material) -> TuneResult:
    """A challenger whose weights are the champion's and a little, and which the gate lets pass."""
    weights = [{name: array + np.float32(0.01) for name, array in member.items()} for member in material.weights]
    members = len(weights)
    return TuneResult(
        material.cohort,
        material.number,
        weights,
        [{} for _ in weights],
        train_loss=np.zeros(members),
        champion_loss=np.ones(members),
        challenger_loss=np.full(members, 0.5),
        doubt=np.full(members, 0.1),
        gave_up=False,
    )
