"""The broker settings that we ship hold what their comments say."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stepahead.contract.settings import BrokerSettings
from tests.broker.brokers import Broker, shipped_mosquitto, until_written
from tests.broker.conftest import NUMBER, Peer


@pytest.fixture
def shipped(tmp_path: Path) -> Iterator[Broker]:
    broker = shipped_mosquitto(tmp_path).start()
    yield broker
    broker.stop()


def make(broker: Broker, client_id: str, *filters: str) -> Peer:
    settings = BrokerSettings(url=broker.url("5"), client_id=client_id, reconnect_min_s=0.05, reconnect_max_s=0.2)
    return Peer(settings, list(filters))


def test_a_killed_broker_loses_nothing_that_waited(shipped: Broker, tmp_path: Path) -> None:
    count, topic, client_id = 1_500, f"kept{next(NUMBER)}", f"kept{next(NUMBER)}"
    assert make(shipped, client_id, topic).subscribed().session.close(5)
    mouth = make(shipped, f"mouth{next(NUMBER)}").connected()
    mouth.session.publish_many([(topic.encode(), b"%d" % i) for i in range(count)], 1, False)
    assert mouth.session.flush(60)
    mouth.session.close(5)
    until_written(shipped, tmp_path / "mosquitto.db")
    shipped.kill()
    shipped.start()
    again = make(shipped, client_id, topic)
    assert [m.payload for m in again.take(count)] == [b"%d" % i for i in range(count)]
    again.nothing()
    again.session.close(1)
