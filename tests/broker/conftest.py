import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stepahead.contract.settings import BrokerSettings
from stepahead.wire.delivery import Delivery, Will
from stepahead.wire.event import EventKind, SessionEvent
from stepahead.wire.session import Session
from tests.broker.brokers import Broker, iotcore, mosquitto

NUMBER = itertools.count(1)


@pytest.fixture(scope="session")
def mosquitto_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = mosquitto(tmp_path_factory.mktemp("mosquitto")).start()
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def iotcore_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = iotcore(tmp_path_factory.mktemp("iotcore")).start()
    yield broker
    broker.stop()


@pytest.fixture(params=["mosquitto", "iotcore"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Both brokers; shared by all tests, so every test uses topics and client ids of its own."""
    return request.getfixturevalue(f"{request.param}_broker")


@pytest.fixture(params=["mosquitto", "iotcore"])
def own_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """Both brokers, one for this test alone, so that it may be stopped."""
    broker = (mosquitto if request.param == "mosquitto" else iotcore)(tmp_path).start()
    yield broker
    broker.stop()


@pytest.fixture(params=["3.1.1", "5"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["paho", "fast"])
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def topic() -> str:
    """A topic root that no other test uses."""
    return f"t{next(NUMBER)}"


class Peer:
    """A session with its events, and loops that wait for something to become true."""

    def __init__(self, settings: BrokerSettings, filters: list[str], will: Will | None = None) -> None:
        self.settings = settings
        self.events: list[SessionEvent] = []
        self.session = Session(settings, filters, will, self.events.append)
        self.kept: list[Delivery] = []

    def kinds(self) -> list[EventKind]:
        return [event.kind for event in self.events]

    def until(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        """Turn the session until the condition holds; what comes meanwhile is kept for `take`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            batch = self.session.receive(0.02, 1000)
            self.session.acknowledge(batch)
            self.kept += batch
            if condition():
                return
        raise AssertionError(f"not reached in {seconds} s; events: {self.events}")

    def subscribed(self) -> "Peer":
        self.until(lambda: EventKind.SUBSCRIBED in self.kinds())
        return self

    def connected(self) -> "Peer":
        self.until(lambda: self.session.connected)
        return self

    def take(self, count: int, seconds: float = 60.0, acknowledge: bool = True) -> list[Delivery]:
        """Receive exactly so many messages; a broker stops after its in-flight limit when nothing is acknowledged."""
        taken, self.kept = self.kept[:count], self.kept[count:]
        if len(taken) == count:
            return taken
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            batch = self.session.receive(0.02, count - len(taken))
            taken += batch
            if acknowledge:
                self.session.acknowledge(batch)
            if len(taken) >= count:
                return taken
        raise AssertionError(f"{len(taken)} of {count} messages in {seconds} s; events: {self.events}")

    def nothing(self, seconds: float = 0.3) -> None:
        assert self.session.receive(seconds, 10) == []

    def vanish(self) -> None:
        """End as a killed process ends: the kernel closes the socket, no DISCONNECT."""
        self.session.socket.close()
        self.session.close(0)


MakePeer = Callable[..., Peer]


@pytest.fixture
def make_peer(broker_url: Callable[[], str], protocol: str, client: str) -> Iterator[MakePeer]:
    """Makes sessions to the test's broker, of the test's client and protocol, and closes them."""
    peers: list[Peer] = []

    def make(filters: list[str] | None = None, will: Will | None = None, **settings: object) -> Peer:
        defaults: dict[str, object] = {
            "url": broker_url(),
            "protocol": protocol,
            "client": client,
            "client_id": f"c{next(NUMBER)}",
            "reconnect_min_s": 0.05,
            "reconnect_max_s": 0.2,
        }
        peer = Peer(BrokerSettings.model_validate(defaults | settings), filters or [], will)
        peers.append(peer)
        return peer

    yield make
    for peer in peers:
        peer.session.close(0.5)


@pytest.fixture
def broker_url(request: pytest.FixtureRequest, protocol: str) -> Callable[[], str]:
    """The address of `own_broker` when the test has one, else of the shared `broker`."""
    name = "own_broker" if "own_broker" in request.fixturenames else "broker"
    return lambda: request.getfixturevalue(name).url(protocol)
