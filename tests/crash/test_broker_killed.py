"""`kill -9` of a mosquitto with the settings that we ship: what it had queued is there when it comes back.

mosquitto acknowledges a message a moment before it writes it down, at about a thousand a second: what it acknowledged
in the moment of the kill is lost with any settings. So the kill waits here until its file is written.
"""

import random
import signal
import time
from pathlib import Path

import pytest

from tests.broker.brokers import shipped_mosquitto, until_written
from tests.broker.conftest import MakePeer
from tests.broker.running import Running
from tests.crash.doomed import ANY
from tests.crash.feed import NumberedFeed


@pytest.mark.timeout(1200)
def test_nothing_that_the_broker_had_queued_is_lost(
    make_peer: MakePeer, topic: str, tmp_path: Path, long_form: bool
) -> None:
    kills = 20 if long_form else 3
    rng = random.Random(11)
    broker = shipped_mosquitto(tmp_path).start()
    ours = (f"publish.prefix={topic}/out", f"broker.client_id=service-{topic}", "broker.reconnect_max_s=0.5")
    feed = NumberedFeed(make_peer, topic, url=broker.url("3.1.1"))
    queued_most = 0

    def start() -> Running:
        doom = (ANY, "1", str(tmp_path / "struck"), "thread")
        return Running(tmp_path, broker.url("3.1.1"), *ours, filters=(f"{topic}/in/#",), doom=doom)

    service = start()
    try:
        service.until_said("subscribed")
        for kill in range(1, kills + 1):
            away = kill % 4 > 0
            if away:  # all that comes waits with the broker
                service.process.kill()
                service.process.wait(60)
            feed.say(rng.randrange(50, 300))
            queued_most = max(queued_most, feed.sent - feed.ear.distinct())
            until_written(broker, tmp_path / "mosquitto.db")
            broker.kill()
            time.sleep(rng.uniform(0, 0.5))
            broker.start()
            feed.mouth.until(lambda: feed.mouth.session.connected)
            if away:
                service = start()
            feed.until_answered(240)
            assert service.process.poll() is None
        assert service.end(signal.SIGTERM)[0] == 0
    finally:
        service.process.kill()
        broker.stop()
    print(f"{kills} kills, {feed.sent} readings, up to {queued_most} waiting: {feed.ear.distinct()} forecasts heard")
    feed.check()
