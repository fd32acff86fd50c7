"""`kill -9` of the service at seeded random moments: nothing acknowledged is lost, and no forecast differs by a bit."""

import random
import signal
import time
from pathlib import Path

import pytest

from simulators.playback import Recording
from tests.broker.brokers import Broker
from tests.broker.conftest import MakePeer
from tests.broker.recorded import expected_forecasts, write_recording
from tests.broker.running import Ear, Running
from tests.broker.test_run_recording import LEARN_OFTEN, settings_of

KILLS = 15
ROWS = 800
SMALL_BATCHES = ("service.max_batch=6", "service.max_batch_delay_s=0")
"""So that there are many moments: between journal and step, step and fsync, fsync and forecast, snapshot and both."""


@pytest.fixture
def protocol() -> str:
    return "3.1.1"


@pytest.fixture
def client() -> str:
    return "fast"


@pytest.fixture
def broker(mosquitto_broker: Broker) -> Broker:
    """Only of mosquitto is it known that it keeps a session for a killed client as MQTT asks it to."""
    return mosquitto_broker


@pytest.mark.timeout(600)
def test_the_union_of_forecasts_is_that_of_a_run_never_killed(
    make_peer: MakePeer, broker: Broker, topic: str, tmp_path: Path
) -> None:
    rng = random.Random(7)
    path = tmp_path / "recording.csv"
    write_recording(path, rows=ROWS)
    feed = f"{topic}/in/plant"
    expected = expected_forecasts(path, "time", feed, settings_of(LEARN_OFTEN))
    messages = [(message.topic.encode(), message.payload) for message in Recording(path, "time", topic=feed)]
    ours = (f"publish.prefix={topic}/out", f"broker.client_id=service-{topic}", *LEARN_OFTEN, *SMALL_BATCHES)
    ear = Ear(make_peer, f"{topic}/out")
    mouth = make_peer().connected()

    def start() -> Running:
        every_s = rng.choice([0.05, 0.3, 1000.0])
        return Running(
            tmp_path,
            broker.url("3.1.1"),
            *ours,
            f"durability.snapshot_every_s={every_s}",
            filters=(f"{topic}/in/#",),
        )

    sent = 0
    with start() as first:  # so that the broker keeps the subscription
        first.until_said("subscribed to")
        first.process.kill()
    for kill in range(1, KILLS + 1):
        until = len(messages) * (kill + 1) // (KILLS + 2)
        mouth.session.publish_many(messages[sent:until], 1, False)
        assert mouth.session.flush(20)
        sent = until
        with start() as service:
            service.until_said("connected to", times=kill + 1)
            # At a moment by progress, not by time: how fast it goes depends on the machine.
            heard = len({forecast["id"] for forecast in ear.forecasts}) + rng.randrange(3 * len(messages) // KILLS)
            ear.listen(lambda heard=heard: len({forecast["id"] for forecast in ear.forecasts}) >= heard)
            time.sleep(rng.uniform(0, 0.05))
            service.process.kill()
        ear.listen_for(0.2)
    with start() as last:
        mouth.session.publish_many(messages[sent:], 1, False)
        assert mouth.session.flush(20)
        ear.listen(lambda: len({forecast["id"] for forecast in ear.forecasts}) >= len(expected), 120)
        assert last.end(signal.SIGTERM)[0] == 0
        ear.listen_for(0.5)
    got: dict[str, dict[str, object]] = {}
    for forecast in ear.forecasts:
        assert got.setdefault(forecast["id"], forecast) == forecast, "a forecast published again differs"
    assert got == expected
    assert last.said("resumed ") == KILLS + 2
    # The kills did fall into the work: some starts had readings to repeat.
    assert last.said("resumed ") - last.said("repeated=0 ") >= 3
