"""MQTT over WebSockets, plain and with TLS: what a session promises holds there too."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from stepahead.contract.settings import BrokerSettings
from stepahead.wire.event import EventKind
from tests.broker.brokers import Broker, free_port, mosquitto
from tests.broker.conftest import NUMBER, Peer


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(params=["ws", "wss"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def own_broker(scheme: str, authority: trustme.CA, tmp_path: Path) -> Iterator[Broker]:
    port = free_port()
    # mosquitto 2.0 does not start without a plain listener beside, and keeps to the address with socket_domain only.
    listener = f"listener {port} 127.0.0.1\nprotocol websockets\nsocket_domain ipv4"
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    if scheme == "wss":
        issued = authority.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(str(tmp_path / "key"))
        (tmp_path / "chain").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        listener += f"\ncertfile {tmp_path}/chain\nkeyfile {tmp_path}/key"
    broker = mosquitto(tmp_path, listener)
    broker.ports["ws"] = port
    broker.start()
    yield broker
    broker.stop()


def settings(url: str, folder: Path, **more: object) -> BrokerSettings:
    defaults = {"url": url, "client_id": f"ws{next(NUMBER)}", "reconnect_min_s": 0.05, "reconnect_max_s": 0.2}
    ca = {"ca_file": folder / "ca.pem"} if url.startswith("wss") else {}
    return BrokerSettings.model_validate(defaults | ca | more)


def test_nothing_is_lost_over_a_websocket(own_broker: Broker, scheme: str, protocol: str, tmp_path: Path) -> None:
    """Many small messages, large ones, and a broker that goes away in between."""
    url = f"{scheme}://127.0.0.1:{own_broker.ports['ws']}"
    peer = Peer(settings(url, tmp_path, protocol=protocol, queue_messages=500), ["w/#"]).subscribed()
    assert peer.events[0].kind is EventKind.CLIENT  # the fast client was asked for, and it is said that it is not used
    rows = [(b"w/%d" % (i % 3), b"%d" % i) for i in range(300)] + [(b"w/big", b"x" * 200_000)]
    peer.session.publish_many(rows, 1, False)
    assert [(m.topic, m.payload) for m in peer.take(301)] == rows
    own_broker.kill()
    peer.until(lambda: not peer.session.connected)
    peer.session.publish("w/later", b"kept", 1, False)
    own_broker.start()
    peer.until(lambda: peer.kinds().count(EventKind.SUBSCRIBED) == 2)
    peer.session.publish("w/later", b"new", 1, False)
    peer.until(lambda: any(m.payload == b"new" for m in peer.kept))
    assert peer.session.close(60)
    assert peer.events[-1].kind is EventKind.DISCONNECTED


def test_a_broker_that_speaks_no_websockets_is_named(tmp_path: Path) -> None:
    broker = mosquitto(tmp_path).start()
    try:
        peer = Peer(settings(f"ws://127.0.0.1:{broker.ports['5']}/mqtt", tmp_path), [])
        peer.until(lambda: any("does it speak WebSockets?" in event.text for event in peer.events))
        peer.session.close(0)
    finally:
        broker.stop()


def test_a_broker_that_is_away_is_waited_for(tmp_path: Path) -> None:
    peer = Peer(settings(f"ws://127.0.0.1:{free_port()}", tmp_path), [])
    peer.until(lambda: any("cannot reach the broker" in event.text for event in peer.events))
    peer.session.close(0)
