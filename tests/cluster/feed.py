"""A feed of several sensors, and what one engine per shard forecasts of it when it is fed reading by reading."""

import json
from typing import Any

import numpy as np

from stepahead.cluster.sharding import ShardRule
from stepahead.contract.reasons import DropCounter
from stepahead.contract.settings import Settings
from stepahead.forecasting.engine import Engine
from stepahead.learning.trainer import InlineTrainer
from stepahead.wire.decoder import Decoder
from stepahead.wire.delivery import Delivery
from stepahead.wire.encoder import ForecastEncoder

START_MS = 1_767_225_600_000

SMALL = (
    "engine.deterministic=true",
    "cluster.weights=shard",
    "network.members=1",
    "network.hidden=4",
    "learning.every=30",
    "learning.steps=1",
    "learning.windows=4",
    "learning.window_steps=16",
    "learning.burn_in=4",
    "learning.held_out=2",
    "replay.memory_steps=64",
    "transform.order=1",
    "durability.snapshot_every_s=2",
)
"""Fine-tunes within a hundred rows, each in some milliseconds."""


def messages(topic: str, sensors: int, rows: int, seed: int = 0) -> list[tuple[bytes, bytes]]:
    """Topics and payloads, row by row: noisy waves at one-second steps."""
    rng = np.random.default_rng(seed)
    t = np.arange(rows)[:, None]
    value = 20 + 5 * np.sin(t / 9 + np.arange(sensors)) + rng.normal(scale=0.3, size=(rows, sensors))
    return [
        (
            f"{topic}/s{sensor}".encode(),
            json.dumps({"ts": START_MS + 1000 * row, "value": round(float(value[row, sensor]), 6)}).encode(),
        )
        for row in range(rows)
        for sensor in range(sensors)
    ]


def expected(settings: Settings, feed: list[tuple[bytes, bytes]]) -> dict[str, dict[str, Any]]:
    """Every forecast by its id, from one process: an engine per shard, each alone with its readings."""
    rule = ShardRule(settings)
    found: dict[str, dict[str, Any]] = {}
    for shard in range(settings.cluster.shards):
        mine = [message for message in feed if rule.of(message[0]) == shard]
        engine = Engine(settings, InlineTrainer(settings.learning, clock=lambda: 0.0))
        decoder = Decoder(settings.subscriptions, engine.intern, DropCounter(), settings.publish.prefix)
        encoder = ForecastEncoder(settings.publish, settings.interval.levels, engine.table.keys.__getitem__)
        for topic, payload in mine:
            decoded = decoder.decode([Delivery(topic, payload, 2, 1, (START_MS + 10**8) * 10**6)])
            for _, text in encoder.encode(engine.step(decoded.readings)):
                forecast = json.loads(text)
                found[forecast["id"]] = forecast
        engine.close()
    return found


class Feed:
    """A feed that is published in parts.

    Args:
        topic: its messages' topics begin with this.
        sensors: how many.
        rows: of the whole.
    """

    def __init__(self, topic: str, sensors: int, rows: int) -> None:
        self.sensors = sensors
        self.all = messages(topic, sensors, rows)
        self.sent = 0

    def next(self, rows: int) -> list[tuple[bytes, bytes]]:
        """The next rows, one message of each sensor a row."""
        part = self.all[self.sent : self.sent + rows * self.sensors]
        self.sent += len(part)
        return part
