"""The tests of a cluster share what those of whole faults do: a real mosquitto, sessions to it, a topic root each."""

from tests.crash.conftest import broker, broker_url, client, make_peer, mosquitto_broker, protocol, topic

__all__ = ["broker", "broker_url", "client", "make_peer", "mosquitto_broker", "protocol", "topic"]
