"""One reading in five comes twice, or changes places with the next of its series."""

import json

import numpy as np

from stepahead.contract.settings import DurabilitySettings, EngineSettings
from stepahead.learning.trainer import InlineTrainer
from stepahead.storage.tree import flatten
from stepahead.wire.delivery import Delivery
from tests.service.engine_double import START_NS, small_settings
from tests.service.service_double import Service

READINGS, SERIES = 450, 3


def deliveries(seed: int) -> list[Delivery]:
    rng = np.random.default_rng(seed)
    made = []
    for number in range(READINGS):
        series, minute = number % SERIES, number // SERIES
        value = 20 + np.sin(minute / 5 + series) + rng.normal(scale=0.1)
        ts = START_NS // 10**6 - 10**8 + 60_000 * minute
        payload = json.dumps({"ts": ts, "value": round(value, 6)}).encode()
        made.append(Delivery(f"sensors/{series}".encode(), payload, 2, 65_536 + number, START_NS))
    return made


def run(messages: list[Delivery]) -> Service:
    settings = small_settings(durability=DurabilitySettings(mode="off"), engine=EngineSettings(deterministic=True))
    service = Service(settings, trainer=InlineTrainer(settings.learning, clock=lambda: 0.0))
    rng = np.random.default_rng(1)
    while messages:
        count = int(rng.integers(1, 12))
        service.session.inbox.extend(messages[:count])
        messages = messages[count:]
        service.loop.turn()
    while service.loop.waiting:
        service.loop.turn()
    return service


def by_id(service: Service) -> dict[object, dict[str, object]]:
    union: dict[object, dict[str, object]] = {}
    for forecast in service.forecasts:
        assert union.setdefault(forecast["id"], forecast) == forecast
    return union


def learnt(service: Service) -> dict[str, bytes]:
    """All state but the counts of what was left out."""
    flat = flatten({name: part for name, part in service.engine.state_dict().items() if name != "drops"})
    return {name: array.tobytes() for name, array in flat.arrays.items()} | {"": json.dumps(flat.values).encode()}


def test_readings_delivered_again_change_nothing_and_get_the_same_forecast() -> None:
    rng = np.random.default_rng(2)
    messages = deliveries(0)
    calm = run(messages)
    twice: list[Delivery] = []
    again = 0
    for number, message in enumerate(messages):
        twice.append(message)
        if rng.random() < 0.2:  # one of the newest 200, as after a lost connection
            twice.append(messages[number - int(rng.integers(0, min(number + 1, 200)))]._replace(flags=10))
            again += 1
    troubled = run(twice)
    assert by_id(troubled) == by_id(calm)
    assert len(troubled.forecasts) == READINGS + again
    assert len(troubled.session.acknowledged) == READINGS + again
    assert sum(troubled.loop.drops.values()) == again
    assert learnt(troubled) == learnt(calm)


def test_readings_that_come_late_are_counted_and_never_learnt() -> None:
    rng = np.random.default_rng(3)
    messages = deliveries(1)
    swapped, kept, late, number = list(messages), [], 0, 0
    while number + SERIES < READINGS:
        if rng.random() < 0.2:
            swapped[number], swapped[number + SERIES] = swapped[number + SERIES], swapped[number]
            late += 1
        number += 1
    newest: dict[bytes, int] = {}
    for message in swapped:
        time = json.loads(message.payload)["ts"]
        if time > newest.get(message.topic, 0):
            newest[message.topic] = time
            kept.append(message)
    troubled, without = run(swapped), run(kept)
    assert READINGS - len(kept) > 0.1 * READINGS
    assert late > 0.15 * READINGS
    assert troubled.loop.drops == {"late": READINGS - len(kept)}
    assert len(troubled.session.acknowledged) == READINGS
    assert by_id(troubled) == by_id(without)
    assert learnt(troubled) == learnt(without)
