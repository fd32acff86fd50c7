from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from stepahead.contract.settings import BrokerSettings
from tests.broker.brokers import Broker, free_port, mosquitto
from tests.broker.conftest import Peer
from tests.broker.running import Running


@dataclass
class Plant:
    """A broker with a service that hears `plant/#` and publishes below `out`."""

    broker: Broker
    service: Running

    @property
    def port(self) -> int:
        return self.broker.ports["5"]


@pytest.fixture(scope="session")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    folder, port = tmp_path_factory.mktemp("plant"), free_port()
    websockets = f"listener {port} 127.0.0.1\nprotocol websockets\nsocket_domain ipv4"
    broker = mosquitto(folder, websockets)
    broker.ports["ws"] = port
    broker.start()
    more = ('broker.protocol="5"', "publish.prefix=out", "publish.expiry_s=600", "publish.user_properties=true")
    more += ("publish.homeassistant=true", "publish.retain=true")
    yield from plants(folder, broker, 1, *more)


@pytest.fixture
def edge_plant(tmp_path: Path) -> Iterator[tuple[Plant, Peer]]:
    """The same, but as a Sparkplug edge node, and a host that has heard the node from the beginning."""
    broker = mosquitto(tmp_path).start()
    # While the service starts nobody turns the host's session; births come with QoS 0, and would not be kept for it.
    settings = BrokerSettings(
        url=broker.url("5"), protocol="5", client_id="host", reconnect_min_s=0.05, keepalive_s=600
    )
    host = Peer(settings, ["spBv1.0/g/#"]).subscribed()
    more = ("publish.prefix=out", "publish.format=sparkplug", "publish.sparkplug_group=g")
    for plant in plants(tmp_path, broker, 2, *more):
        yield plant, host


def plants(folder: Path, broker: Broker, sessions: int, *assignments: str) -> Iterator[Plant]:
    try:
        ours = (*assignments, "learning.enabled=false")
        with Running(folder, broker.url("5"), *ours, filters=("plant/#",)) as service:
            service.until_said("subscribed", times=sessions)
            yield Plant(broker, service)
    finally:
        broker.stop()
