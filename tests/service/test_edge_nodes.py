"""The service beside Sparkplug edge nodes: rebirths asked for, deaths told, births kept over a crash."""

import random
from pathlib import Path
from typing import Any

from simulators.sparkplug import Sent, SparkplugNode
from stepahead.contract.settings import DurabilitySettings, SubscriptionSettings
from stepahead.wire.formats.sparkplug_schema import Payload
from tests.service.engine_double import small_settings
from tests.service.service_double import Service

SECOND_MS = 1000


class Plant:
    """A service that hears a node."""

    def __init__(self, directory: Path | None = None, mode: str = "off") -> None:
        durability = DurabilitySettings.model_validate({"mode": mode, "state_dir": directory, "snapshot_every_s": 1e6})
        subscriptions = (SubscriptionSettings(filter="spBv1.0/#"),)
        self.service = Service(small_settings(durability=durability, subscriptions=subscriptions), directory)
        self.node = SparkplugNode(random.Random(1), devices=("pump",), metrics=2)
        self.node.now_ms = self.service.clock.wall_ns() // 1_000_000 - 600 * SECOND_MS

    def hear(self, *sent: Sent) -> None:
        for message in sent:
            self.service.session.deliver(message.topic, message.payload)
        self.service.loop.turn()

    @property
    def commands(self) -> list[Any]:
        return [Payload.FromString(p) for topic, p, _, _ in self.service.session.published if b"/NCMD/" in topic]


def test_births_and_data_are_forecast_under_keys_without_verbs() -> None:
    plant = Plant()
    plant.hear(*plant.node.start(), plant.node.data(), plant.node.data())
    assert {one["series"] for one in plant.service.forecasts} == {
        f"spBv1.0/plant/gateway{device}/m{k}" for device in ("", "/pump") for k in range(2)
    }
    assert plant.commands == []


def test_data_before_a_birth_asks_for_one_once() -> None:
    plant = Plant()
    plant.node.start()
    for _ in range(5):
        plant.hear(plant.node.data())
    assert [payload.metrics[0].name for payload in plant.commands] == ["Node Control/Rebirth"]
    plant.service.clock.now_s += 5.0
    plant.service.loop.turn()  # nothing comes: the wait is over, and the readings are counted
    assert plant.service.loop.drops["before_birth"] >= 5


def test_a_death_sends_the_newest_forecasts_out_as_stale() -> None:
    plant = Plant()
    plant.hear(*plant.node.start(), plant.node.data())
    newest = {one["series"]: one for one in plant.service.forecasts}
    count = len(plant.service.forecasts)
    plant.hear(plant.node.die())
    stale = plant.service.forecasts[count:]
    assert {one["series"] for one in stale} == set(newest)
    assert all(one == newest[one["series"]] | {"status": "stale"} for one in stale)


def test_births_survive_a_crash_in_the_journal(tmp_path: Path) -> None:
    plant = Plant(tmp_path, "journal")
    plant.hear(*plant.node.start(), *(plant.node.data() for _ in range(3)))
    plant.service.loop._send(company=False)
    before = plant.service.keeper.position
    plant.service.release()  # dies without a word
    assert before > 0
    again = Plant(tmp_path, "journal")
    again.node = plant.node
    again.hear(plant.node.data(), plant.node.data())
    again.service.loop.turn()  # nothing comes: what waits is committed
    assert len(again.service.forecasts) >= 2
    assert again.commands == []
    assert again.service.loop.drops == {}
