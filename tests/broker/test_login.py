"""Who we are and whom we trust: passwords, ACL, TLS, and in which words it fails."""

import datetime
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from stepahead.contract.errors import BrokerError
from stepahead.contract.settings import BrokerSettings
from stepahead.wire.event import EventKind
from tests.broker.brokers import Broker, find_mosquitto, free_port, mosquitto
from tests.broker.conftest import NUMBER, MakePeer, Peer


@pytest.fixture
def locked_broker(tmp_path: Path) -> Iterator[Broker]:
    """Knows user `plant`, who may read `open/#` and nothing else."""
    passwords, rules = tmp_path / "passwords", tmp_path / "rules"
    passwords.touch(mode=0o600)
    tool = str(Path(find_mosquitto().replace("/sbin/", "/bin/")).with_name("mosquitto_passwd"))
    subprocess.run([tool, "-b", str(passwords), "plant", "secret"], check=True)
    rules.write_text("user plant\ntopic readwrite open/#\n")
    extra = f"allow_anonymous false\npassword_file {passwords}\nacl_file {rules}"
    broker = mosquitto(tmp_path, extra).start()
    yield broker
    broker.stop()


@pytest.fixture
def broker_url(request: pytest.FixtureRequest) -> Callable[[], str]:
    return lambda: request.getfixturevalue("locked_broker").url("5")


def test_the_right_password_from_a_file(make_peer: MakePeer, locked_broker: Broker, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    peer = make_peer(["open/#"], username="plant", password_file=file).subscribed()
    peer.session.publish("open/a", b"1", 1, False)
    assert [m.payload for m in peer.take(1)] == [b"1"]


def test_a_wrong_password_is_final_at_the_first_attempt(make_peer: MakePeer, locked_broker: Broker) -> None:
    peer = make_peer(username="plant", password="guess")
    with pytest.raises(BrokerError, match=r"refused the connection: user name or password is wrong") as error:
        peer.connected()
    assert "guess" not in str(error.value)


def test_a_user_revoked_later_is_tried_again(make_peer: MakePeer, locked_broker: Broker, tmp_path: Path) -> None:
    peer = make_peer(username="plant", password="secret").connected()
    passwords = (tmp_path / "passwords").read_text()
    locked_broker.stop()
    (tmp_path / "passwords").write_text("")
    locked_broker.start()
    peer.until(lambda: "user name or password is wrong" in peer.events[-1].text)
    assert peer.events[-1].retry_in_s is not None
    locked_broker.stop()
    (tmp_path / "passwords").write_text(passwords)
    locked_broker.start()
    peer.connected()


def test_a_refused_publish_is_counted(make_peer: MakePeer, locked_broker: Broker, protocol: str) -> None:
    peer = make_peer(username="plant", password="secret").connected()
    peer.session.publish("closed/a", b"1", 1, False)
    assert peer.session.flush(5)
    assert peer.session.refused_out == (1 if protocol == "5" else 0)  # MQTT 3.1.1 has no way to say it


class Authority:
    """A certificate authority and a broker that uses a certificate of it."""

    def __init__(self, folder: Path, host: str, hours: float = 1.0, mutual: bool = False) -> None:
        self.ca = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.ca_file))
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours)
        issued = self.ca.issue_cert(host, not_after=until)
        chain, key = folder / "server.pem", folder / "server.key"
        issued.private_key_pem.write_to_path(str(key))
        chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        listener = f"cafile {self.ca_file}\ncertfile {chain}\nkeyfile {key}"
        self.broker = mosquitto(folder, listener=f"{listener}\nrequire_certificate {str(mutual).lower()}").start()

    def settings(self, protocol: str, client: str, **more: object) -> BrokerSettings:
        defaults = {
            "url": f"mqtts://127.0.0.1:{self.broker.ports[protocol]}",
            "protocol": protocol,
            "client": client,
            "client_id": f"tls{next(NUMBER)}",
            "ca_file": self.ca_file,
        }
        return BrokerSettings.model_validate(defaults | more)


def round_trip(settings: BrokerSettings) -> None:
    peer = Peer(settings, ["tls/#"]).subscribed()
    rows = [(b"tls/a", bytes([i % 256]) * (i * 37 % 5000)) for i in range(400)]
    peer.session.publish_many(rows, 1, False)
    assert [(m.topic, m.payload) for m in peer.take(400)] == rows
    assert peer.session.flush(5)
    assert peer.session.close(5)


def test_tls_carries_everything(tmp_path: Path, protocol: str, client: str) -> None:
    authority = Authority(tmp_path, "127.0.0.1")
    try:
        round_trip(authority.settings(protocol, client))
    finally:
        authority.broker.stop()


def test_mutual_tls(tmp_path: Path, protocol: str, client: str) -> None:
    authority = Authority(tmp_path, "127.0.0.1", mutual=True)
    try:
        with pytest.raises(AssertionError, match=r"TLS|lost"):
            Peer(authority.settings(protocol, client), []).until(lambda: False, seconds=1)
        ours = authority.ca.issue_cert("client@plant.example")
        chain, key = tmp_path / "client.pem", tmp_path / "client.key"
        ours.private_key_pem.write_to_path(str(key))
        ours.cert_chain_pems[0].write_to_path(str(chain))
        round_trip(authority.settings(protocol, client, cert_file=chain, key_file=key))
    finally:
        authority.broker.stop()


@pytest.mark.parametrize(
    ("host", "hours", "own_ca", "words"),
    [
        ("127.0.0.1", 1.0, False, r"certificate of the broker at 127.0.0.1:\d+ is not trusted: .*certificate"),
        ("wrong.example", 1.0, True, r"is not trusted: IP address mismatch"),
        ("127.0.0.1", -1.0, True, r"is not trusted: certificate has expired"),
    ],
    ids=["wrong CA", "wrong host", "expired"],
)
def test_a_certificate_not_trusted_is_final(
    tmp_path: Path, protocol: str, client: str, host: str, hours: float, own_ca: bool, words: str
) -> None:
    authority = Authority(tmp_path, host, hours)
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    try:
        peer = Peer(authority.settings(protocol, client, ca_file=authority.ca_file if own_ca else other), [])
        with pytest.raises(BrokerError, match=words):
            peer.session.receive(5.0, 1)
        peer.session.close(0)
    finally:
        authority.broker.stop()


def test_tls_is_never_dropped_for_plain_text(mosquitto_broker: Broker, protocol: str, client: str) -> None:
    url = mosquitto_broker.url(protocol).replace("mqtt://", "mqtts://")
    settings = BrokerSettings.model_validate({"url": url, "protocol": protocol, "client": client})
    peer = Peer(settings, [])
    peer.session.receive(1.0, 1)
    assert not peer.session.connected
    assert peer.kinds()[0] == EventKind.REFUSED
    assert "TLS" in peer.events[0].text
    peer.session.close(0)


def test_nobody_there_is_said_and_waited_for(protocol: str, client: str) -> None:
    url = f"mqtt://127.0.0.1:{free_port()}"
    settings = BrokerSettings.model_validate(
        {"url": url, "protocol": protocol, "client": client, "reconnect_min_s": 0.2, "reconnect_max_s": 0.2}
    )
    peer = Peer(settings, [])
    assert peer.session.receive(1.0, 1) == []
    assert 3 <= len(peer.events) <= 11
    assert all(event.text.startswith("cannot reach the broker at 127.0.0.1") for event in peer.events)
    peer.session.close(0)
