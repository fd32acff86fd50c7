"""What the tests of whole faults share: a real mosquitto, sessions to it, and a topic root of each test's own."""

import pytest

from tests.broker.brokers import Broker
from tests.broker.conftest import broker_url, make_peer, mosquitto_broker, topic

__all__ = ["broker", "broker_url", "client", "make_peer", "mosquitto_broker", "protocol", "topic"]


@pytest.fixture
def protocol() -> str:
    return "3.1.1"


@pytest.fixture
def client() -> str:
    return "fast"


@pytest.fixture
def broker(mosquitto_broker: Broker) -> Broker:  # the fixture of that name
    """Only of mosquitto is it known that it keeps a session for a killed client as MQTT asks it to."""
    return mosquitto_broker
