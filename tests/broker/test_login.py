"""Who we are and whom we trust: passwords, ACL, TLS, and in which words it fails."""

import datetime
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from stepahead.contract.errors import BrokerError
from stepahead.contract.settings import BrokerSettings
from stepahead.wire.event import EventKind
from tests.broker.brokers import Broker, find_mosquitto, free_port, mosquitto
from tests.broker.conftest import NUMBER, MakePeer, Peer


def add_user(passwords: Path, name: str, password: str) -> None:
    """Write a user into a password file of mosquitto."""
    passwords.touch(mode=0o600)
    tool = str(Path(find_mosquitto().replace("/sbin/", "/bin/")).with_name("mosquitto_passwd"))
    subprocess.run([tool, "-b", str(passwords), name, password], check=True)


@pytest.fixture
def locked_broker(tmp_path: Path) -> Iterator[Broker]:
    """Knows user `plant`, who may read `open/#` and nothing else."""
    passwords, rules = tmp_path / "passwords", tmp_path / "rules"
    add_user(passwords, "plant", "secret")
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


def test_a_user_revoked_while_connected_is_shut_out_at_once(
    make_peer: MakePeer, locked_broker: Broker, tmp_path: Path
) -> None:
    peer = make_peer(username="plant", password="secret").connected()
    (tmp_path / "passwords").write_text("")
    assert locked_broker.process is not None
    locked_broker.process.send_signal(signal.SIGHUP)  # mosquitto reads its files anew
    peer.until(lambda: "user name or password is wrong" in peer.events[-1].text)
    assert not peer.session.connected
    assert EventKind.DISCONNECTED in peer.kinds()
    assert not any("secret" in event.text for event in peer.events)


def test_a_refused_publish_is_counted_and_said_once(make_peer: MakePeer, locked_broker: Broker, protocol: str) -> None:
    peer = make_peer(username="plant", password="secret").connected()
    for _ in range(3):
        peer.session.publish("closed/a", b"1", 1, False)
    assert peer.session.flush(60)
    peer.session.receive(0.05, 1)
    assert peer.session.refused_out == (3 if protocol == "5" else 0)  # MQTT 3.1.1 has no way to say it
    told = [event.text for event in peer.events if event.kind is EventKind.PUBLISH_REFUSED]
    assert len(told) == (protocol == "5")
    assert all("refuses what we publish: not authorised" in text for text in told)


class Authority:
    """A certificate authority and a broker that uses a certificate of it."""

    def __init__(self, folder: Path, host: str, hours: float = 1.0, mutual: bool = False, extra: str = "") -> None:
        self.ca = trustme.CA()
        self.folder = folder
        self.ca_file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.ca_file))
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours)
        issued = self.ca.issue_cert(host, not_after=until)
        chain, key = folder / "server.pem", folder / "server.key"
        issued.private_key_pem.write_to_path(str(key))
        chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        listener = f"cafile {self.ca_file}\ncertfile {chain}\nkeyfile {key}\n{extra}"
        self.broker = mosquitto(folder, listener=f"{listener}\nrequire_certificate {str(mutual).lower()}")

    def __enter__(self) -> "Authority":
        self.broker.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.broker.stop()

    def client(self, name: str, ca: trustme.CA | None = None, hours: float = 1.0) -> dict[str, object]:
        """Settings of a client with a certificate of this authority, or of another."""
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours)
        issued = (ca or self.ca).issue_cert(f"{name}@plant.example", not_after=until)
        chain, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        issued.private_key_pem.write_to_path(str(key))
        issued.cert_chain_pems[0].write_to_path(str(chain))
        return {"cert_file": chain, "key_file": key}

    def revoke(self, chain: Path, revoked: Path) -> None:
        """Write the list of revoked certificates, with this one on it."""
        now = datetime.datetime.now(datetime.UTC)
        certificate = x509.load_pem_x509_certificate(chain.read_bytes())
        entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(now).build()
        builder = x509.CertificateRevocationListBuilder().add_revoked_certificate(entry)
        issuer = x509.load_pem_x509_certificate(self.ca.cert_pem.bytes()).subject
        builder = builder.issuer_name(issuer).last_update(now).next_update(now + datetime.timedelta(hours=1))
        key = load_pem_private_key(self.ca.private_key_pem.bytes(), None)
        assert isinstance(key, CertificateIssuerPrivateKeyTypes)
        revoked.write_bytes(builder.sign(key, SHA256()).public_bytes(Encoding.PEM))

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
    assert peer.session.flush(60)
    assert peer.session.close(60)


def test_tls_carries_everything(tmp_path: Path, protocol: str, client: str) -> None:
    with Authority(tmp_path, "127.0.0.1") as authority:
        round_trip(authority.settings(protocol, client))


def test_the_systems_authorities_are_trusted_without_a_file(
    tmp_path: Path, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Authority(tmp_path, "127.0.0.1") as authority:
        settings = authority.settings("5", client, ca_file=None)
        assert "not trusted" in refused_for_good(settings)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))  # OpenSSL's own name for the system's file
        round_trip(settings)


def refused_for_good(settings: BrokerSettings) -> str:
    """In which words the first attempt ends; that it ends is asserted."""
    peer = Peer(settings, [])
    with pytest.raises(BrokerError) as error:
        peer.until(lambda: False, seconds=60)
    peer.session.close(0)
    return str(error.value)


def test_mutual_tls(tmp_path: Path, protocol: str, client: str) -> None:
    revoked = tmp_path / "revoked.pem"
    with_list = f"crlfile {revoked}"
    authority = Authority(tmp_path, "127.0.0.1", mutual=True, extra=with_list)
    ours, lost = authority.client("ours"), authority.client("lost")
    late, foreign = authority.client("late", hours=-1.0), authority.client("foreign", trustme.CA())
    authority.revoke(tmp_path / "lost.pem", revoked)
    with authority:
        round_trip(authority.settings(protocol, client, **ours))
        for certificate, words in (
            ({}, "it asks for a client certificate; set broker.cert_file and broker.key_file"),
            (lost, "our client certificate is revoked"),
            (late, "our client certificate has expired"),
            (foreign, "it does not know the authority that issued our client certificate"),
        ):
            text = refused_for_good(authority.settings(protocol, client, **certificate))
            assert text.endswith(f"refused the connection: {words}"), text


def test_a_certificate_revoked_later_is_tried_again(tmp_path: Path, client: str) -> None:
    revoked = tmp_path / "revoked.pem"
    authority = Authority(tmp_path, "127.0.0.1", mutual=True, extra=f"crlfile {revoked}")
    ours = authority.client("ours")
    authority.client("other")
    authority.revoke(tmp_path / "other.pem", revoked)
    with authority:
        settings = authority.settings("5", client, reconnect_min_s=0.05, reconnect_max_s=0.1, **ours)
        peer = Peer(settings, []).connected()
        authority.broker.stop()
        authority.revoke(tmp_path / "ours.pem", revoked)
        authority.broker.start()
        peer.until(lambda: "our client certificate is revoked" in peer.events[-1].text)
        assert peer.events[-1].retry_in_s is not None
        peer.session.close(0)


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
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    with Authority(tmp_path, host, hours) as authority:
        peer = Peer(authority.settings(protocol, client, ca_file=authority.ca_file if own_ca else other), [])
        with pytest.raises(BrokerError, match=words):
            peer.session.receive(60.0, 1)
        peer.session.close(0)


def test_tls_is_never_dropped_for_plain_text(mosquitto_broker: Broker, protocol: str, client: str) -> None:
    url = mosquitto_broker.url(protocol).replace("mqtt://", "mqtts://")
    settings = BrokerSettings.model_validate({"url": url, "protocol": protocol, "client": client})
    peer = Peer(settings, [])
    peer.until(lambda: any("TLS" in event.text for event in peer.events))
    assert not peer.session.connected
    assert set(peer.kinds()) == {EventKind.REFUSED}
    peer.session.close(0)


def test_nobody_there_is_said_and_waited_for(protocol: str, client: str) -> None:
    url = f"mqtt://127.0.0.1:{free_port()}"
    settings = BrokerSettings.model_validate(
        {"url": url, "protocol": protocol, "client": client, "reconnect_min_s": 0.2, "reconnect_max_s": 0.2}
    )
    peer = Peer(settings, [])
    began = time.monotonic()
    while len(peer.events) < 3:
        assert peer.session.receive(1.0, 1) == []
        assert time.monotonic() - began < 60
    assert len(peer.events) <= 1 + (time.monotonic() - began) / 0.1
    assert all(event.text.startswith("cannot reach the broker at 127.0.0.1") for event in peer.events)
    peer.session.close(0)
