import itertools
import json

import numpy as np
import pytest

from stepahead.contract.records import Readings
from stepahead.contract.settings import DurabilitySettings, PublishSettings, ServiceSettings
from stepahead.service.batches import cut_batches
from stepahead.service.loop import IDLE_S
from tests.service.engine_double import (
    START_NS,
    better_result,
    small_settings,
)
from tests.service.service_double import Service


def test_each_reading_is_answered_and_then_acknowledged() -> None:
    service = Service()
    for minute in range(5):
        service.send(minute, 20.0 + minute)
    service.loop.turn()
    assert [forecast["observed"] for forecast in service.forecasts] == [20.0, 21.0, 22.0, 23.0, 24.0]
    assert len(service.session.acknowledged) == 5
    first = service.session.order.index("acknowledge")
    assert service.session.order[:first] == ["publish stepahead/v1/forecast/sensors/a"] * 5


def test_while_the_broker_is_away_the_loop_waits_and_no_status_piles_up() -> None:
    service = Service()
    service.session.connected = False
    before = service.clock.now_s
    for _ in range(8):
        service.loop.turn()
    assert service.clock.now_s - before == pytest.approx(7 * IDLE_S)  # the first turn looks at the status only
    assert service.statuses == []


def test_a_payload_without_readings_is_acknowledged_too() -> None:
    service = Service()
    service.session.deliver("sensors/a", b"{oops", b'"text"', b"\xff\xfe")
    service.loop.turn()
    assert service.forecasts == []
    assert len(service.session.acknowledged) == 3


def test_a_reading_delivered_again_gets_the_same_forecast_and_is_learnt_once() -> None:
    service = Service()
    for minute in range(6):
        service.send(minute, 20.0 + minute % 3)
    service.loop.turn()
    first = service.forecasts
    for minute in range(2, 6):
        service.send(minute, 20.0 + minute % 3)
    service.send(6, 30.0)
    service.loop.turn()
    again = service.forecasts[6:]
    assert [forecast["id"] for forecast in again if forecast["observed"] != 30.0] == [f["id"] for f in first[2:]]
    assert [forecast for forecast in again if forecast["observed"] != 30.0] == first[2:]
    other = Service()
    for minute in range(6):
        other.send(minute, 20.0 + minute % 3)
    other.send(6, 30.0)
    other.loop.turn()
    assert [f for f in again if f["observed"] == 30.0] == other.forecasts[6:]


def test_a_late_reading_that_was_never_seen_gets_no_forecast() -> None:
    service = Service()
    service.send(5, 1.0)
    service.send(4, 2.0)
    service.loop.turn()
    assert [forecast["observed"] for forecast in service.forecasts] == [1.0]
    assert service.loop.drops == {"late": 1}


def test_the_readings_of_a_message_stay_together_and_batches_are_bounded() -> None:
    settings = small_settings(
        service=ServiceSettings(max_batch=10, max_batch_delay_s=0), durability=DurabilitySettings(mode="off")
    )
    service = Service(settings)
    sizes: list[int] = []
    step = service.engine.step

    def spy(batch: Readings) -> object:
        sizes.append(len(batch))
        return step(batch)

    service.engine.step = spy  # type: ignore[method-assign, assignment]
    for second in range(5):
        fields = {f"f{i}": float(i) for i in range(4)} | {"ts": START_NS // 10**6 + second * 1000}
        service.session.deliver("sensors/m", json.dumps(fields).encode())
    service.loop.turn()
    assert sizes == [8, 8, 4]
    assert len(service.forecasts) == 20


@pytest.mark.parametrize("seed", range(20))
def test_cuts_fall_between_messages_only(seed: int) -> None:
    rng = np.random.default_rng(seed)
    message = np.repeat(np.arange(50), rng.integers(1, 12, 50)).astype(np.int32)
    parts = list(cut_batches(message, most=8))
    assert np.concatenate([message[part] for part in parts]).tolist() == message.tolist()
    for part, following in itertools.pairwise(parts):
        assert message[part.stop - 1] != message[following.start]
    for part in parts:
        assert part.stop - part.start <= 8 or len(set(message[part].tolist())) == 1


def test_the_status_comes_about_once_a_second_and_says_what_goes_on() -> None:
    service = Service()
    service.session.deliver("sensors/a", b"nan", b"{")
    for minute in range(40):
        service.send(minute, float(minute % 5))
    for _ in range(12):
        service.loop.turn()
    assert 3 <= len(service.statuses) <= 5
    topic, _, qos, retain = next(row for row in service.session.published if row[0].endswith(b"/status"))
    assert (topic, qos, retain) == (b"stepahead/v1/status", 1, True)
    last = service.statuses[-1]
    assert last["status"] == "online"
    assert last["version"] == "1.2.3"
    assert (last["series"], last["readings"], last["forecasts"]) == (1, 40, 40)
    assert last["drops"] == {"not_decodable": 1, "value_not_finite": 1}
    assert last["fine_tunes"] == {"adopted": 0, "rejected": 0, "failed": 0}
    assert set(last) >= {"uptime_s", "readings_per_second", "lag_s", "model", "drifts"}


def test_lag_is_the_age_of_a_believable_reading_when_its_forecast_goes_out() -> None:
    service = Service()
    service.session.deliver(
        "sensors/a", json.dumps({"ts": service.clock.wall_ns() // 10**6 - 7000, "value": 1}).encode()
    )
    service.loop.turn()
    assert service.loop.lag_s == pytest.approx(7.0, abs=0.01)
    service.session.deliver("sensors/b", b'{"ts": 1500000000000, "value": 1}')
    service.clock.now_s += 0.5
    service.loop.turn()
    assert service.loop.lag_s == pytest.approx(0.5, abs=0.01)


def test_an_outcome_enters_between_batches_and_a_failed_one_frees_the_way() -> None:
    service = Service()
    minute = 0

    def feed(count: int) -> None:
        nonlocal minute
        for _ in range(count):
            service.send(minute, float(np.sin(minute / 3)))
            minute += 1
        service.loop.turn()

    while not service.trainer.materials:
        feed(16)
    service.trainer.result = better_result(service.trainer.materials[0])
    assert service.loop.model == 0
    feed(1)
    assert service.loop.model == 1
    while len(service.trainer.materials) < 2:
        feed(16)
    feed(64)
    assert len(service.trainer.materials) == 2
    service.trainer.busy = False  # the second never comes back
    feed(64)
    assert len(service.trainer.materials) >= 3
    assert service.loop.model == 1


def test_bad_messages_are_told_at_once_and_then_at_a_bounded_rate() -> None:
    service = Service()
    for _ in range(120):
        service.session.deliver("sensors/a", b"{", b"{")
        service.loop.turn()
        service.loop.turn()
    lines = [line for line in service.log.getvalue().splitlines() if "dropped reason=not_decodable" in line]
    told = [int(line.rsplit("count=", 1)[1]) for line in lines]
    assert told[0] <= 20
    assert len(lines) <= 2 + (service.clock.now_s - 100) / 10
    assert sum(told) >= 200


def test_finish_answers_acknowledges_and_leaves_offline_behind() -> None:
    service = Service()
    service.send(0, 5.0)
    asked = iter([True])
    service.loop.run(lambda: next(asked))
    assert len(service.forecasts) == 1
    assert len(service.session.acknowledged) == 1
    assert service.session.published[-1] == (b"stepahead/v1/status", b'{"status":"offline"}', 1, True)
    assert service.session.closed


def test_finish_with_the_broker_away_does_not_wait_for_it() -> None:
    service = Service()
    service.session.connected = False
    before = service.clock.now_s
    service.loop.finish()
    assert service.clock.now_s == before
    assert service.session.closed


def test_a_turn_takes_as_many_messages_as_it_can_answer_in_time() -> None:
    service = Service()
    cost_s = 0.02
    step = service.engine.step
    taken: list[int] = []

    def slow(batch: Readings) -> object:
        taken.append(len(batch))
        service.clock.now_s += cost_s * len(batch)
        return step(batch)

    service.engine.step = slow  # type: ignore[method-assign, assignment]
    for minute in range(400):
        service.send(minute, float(minute))
    for _ in range(8):
        service.loop.turn()
    assert all(count * cost_s <= 0.5 for count in taken[1:])
    cost_s = 0.0001
    for _ in range(8):
        service.loop.turn()
    assert taken[-1] > 2 * taken[7]
    assert sum(taken) == len(service.forecasts) == 400


def test_a_starved_machine_does_not_end_with_one_message_a_turn() -> None:
    service = Service()
    step = service.engine.step
    taken: list[int] = []

    def starved(batch: Readings) -> object:
        taken.append(len(batch))
        service.clock.now_s += 1.0  # however little there is to do
        return step(batch)

    service.engine.step = starved  # type: ignore[method-assign, assignment]
    for minute in range(100):
        service.send(minute, float(minute))
    for _ in range(10):
        service.loop.turn()
    assert taken == [8] * 10


def test_once_a_minute_a_line_tells_the_vital_figures() -> None:
    service = Service()
    service.send(0, 1.0)
    service.session.deliver("sensors/a", b"nan")
    while service.clock.now_s < 100 + 130:
        service.loop.turn()
    lines = [line for line in service.log.getvalue().splitlines() if " info vitals " in line]
    assert len(lines) == 2
    for figure in ("series=1", "readings=1", "forecasts=1", "model=0", "adopted=0", "dropped=1", "drifts=0"):
        assert f" {figure}" in lines[0]


def test_one_message_out_per_message_in_and_the_same_forecasts_when_it_comes_again() -> None:
    settings = small_settings(publish=PublishSettings(mode="batch"), durability=DurabilitySettings(mode="off"))
    service = Service(settings)
    ms = START_NS // 10**6

    def message(minutes: range) -> bytes:
        return json.dumps([{"ts": ms + 60_000 * minute, "value": float(minute % 5)} for minute in minutes]).encode()

    service.session.deliver("sensors/a", message(range(6)), message(range(6, 10)))
    service.session.deliver("sensors/b", b"{oops", message(range(3)))
    service.loop.turn()
    sent = [(topic.decode(), json.loads(payload)) for topic, payload, _, _ in service.session.published]
    sent = [(topic, forecasts) for topic, forecasts in sent if "/batch/" in topic]
    assert [(topic, len(forecasts)) for topic, forecasts in sent] == [
        ("stepahead/v1/batch/sensors/a", 6),
        ("stepahead/v1/batch/sensors/a", 4),
        ("stepahead/v1/batch/sensors/b", 3),
    ]
    assert service.loop.forecasts == 13
    service.session.published.clear()
    service.session.deliver("sensors/a", message(range(8, 12)))  # two of it are known
    service.loop.turn()
    [(_, payload, _, _)] = [row for row in service.session.published if b"/batch/" in row[0]]
    again = json.loads(payload)
    assert [forecast["issued_at"] for forecast in again] == [ms + 60_000 * minute for minute in range(8, 12)]
    assert again[:2] == sent[1][1][2:]
