"""The tests of a cluster share what those of whole faults do: a real mosquitto, sessions to it, a topic root each."""

from zlib import crc32

import pytest

from tests.crash.conftest import broker, broker_url, client, make_peer, mosquitto_broker, protocol

__all__ = ["broker", "broker_url", "client", "make_peer", "mosquitto_broker", "protocol", "topic"]


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic root that no other test uses, the same in each run: which shard has which series follows from it."""
    return f"c{crc32(request.node.nodeid.encode()):08x}"
