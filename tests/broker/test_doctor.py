"""`stepahead doctor` at real brokers: as they come, as we want them, closed to us, and not there."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stepahead.contract.settings import BrokerSettings, Settings, SubscriptionSettings
from stepahead.doctor import probing
from stepahead.doctor.command import DoctorOptions, run_doctor
from stepahead.wire.formats.sparkplug_schema import DataType, Payload
from stepahead.wire.session import Session
from tests.broker.brokers import Broker, find_mosquitto, free_port, mosquitto
from tests.broker.conftest import NUMBER, MakePeer
from tests.broker.running import Ear, Running
from tests.broker.test_login import Authority


def sparkplug() -> bytes:
    """A birth; it comes again and again, as of a node that starts anew each time."""
    now_ms = time.time_ns() // 10**6
    payload = Payload(timestamp=now_ms, seq=0)
    payload.metrics.add(name="bdSeq", datatype=int(DataType.INT64), long_value=0)
    payload.metrics.add(name="flow", alias=1, timestamp=now_ms, datatype=int(DataType.DOUBLE), double_value=21.5)
    return bytes(payload.SerializeToString())


PLANT = [
    (b"plant/number", lambda: b"21.5"),
    (b"plant/flat", lambda: b'{"ts": %d, "temperature": 20.5, "humidity": 40}' % (time.time_ns() // 10**6)),
    (b"plant/nested", lambda: b'{"Time": %d, "AM2301": {"Temperature": 19.5}}' % (time.time_ns() // 10**9)),
    (b"home/pairs", lambda: b"[[%d, 1.5]]" % (time.time_ns() // 10**6)),
    (b"home/objects", lambda: b'[{"ts": %d, "value": 3}]' % (time.time_ns() // 10**6)),
    (b"home/name", lambda: b"kitchen"),
    (b"home/switch", lambda: b"ON"),
    (b"home/unit", lambda: "21.5 °C".encode()),
    (b"senml/json", lambda: b'[{"bn":"ow1:","n":"temp","bt":%d,"u":"Cel","v":23.1}]' % (time.time_ns() // 10**9)),
    (b"senml/cbor", lambda: b"\x81\xa3\x21cow1\x00at\x02\xf9\x4d\xc0"),
    (b"influx/lines", lambda: b"cpu,host=edge idle=91.5,user=5i %d" % time.time_ns()),
    (
        b"telegraf/x",
        lambda: (
            b'{"fields":{"used":7.5},"name":"mem","tags":{"host":"edge"},"timestamp":%d}' % (time.time_ns() // 10**9)
        ),
    ),
    (b"nodered/x", lambda: b'{"topic":"boiler/flow","payload":21.5}'),
    (b"spBv1.0/plant/NBIRTH/gw", sparkplug),
]
SERIES = {
    "plant/number", "plant/flat/temperature", "plant/flat/humidity", "plant/nested/AM2301/Temperature", "home/pairs",
    "home/objects", "home/switch", "home/unit", "senml/json/ow1:temp", "senml/cbor/ow1t",
    "influx/lines/cpu,host=edge/idle", "influx/lines/cpu,host=edge/user", "telegraf/x/mem,host=edge/used",
    "boiler/flow", "spBv1.0/plant/gw/flow",
}  # fmt: skip

FORMATS = {
    "plant/number": "number", "plant/flat": "json", "plant/nested": "json", "home/pairs": "json",
    "home/objects": "json", "home/switch": "number", "home/unit": "number", "senml/json": "senml",
    "senml/cbor": "senml", "influx/lines": "line", "telegraf/x": "json", "nodered/x": "json",
    "spBv1.0/plant/NBIRTH/gw": "sparkplug",
}  # fmt: skip


class Plant(threading.Thread):
    """Publishes every message of the plant ten times a second until left."""

    def __init__(self, url: str, qos: int = 1) -> None:
        super().__init__()
        self._session = Session(BrokerSettings(url=url, client_id=f"plant{next(NUMBER)}"), [], None, lambda event: None)
        self._qos = qos
        self._left = threading.Event()

    def run(self) -> None:
        while not self._left.is_set():
            self._session.publish_many([(topic, payload()) for topic, payload in PLANT], self._qos, False)
            self._session.receive(0.1, 1)
        self._session.close(2)

    def __enter__(self) -> "Plant":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._left.set()
        self.join(60)


Doctor = Callable[..., tuple[int, dict[str, Any], list[str]]]


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """One visit: exit code, the report as JSON, and what was whispered.

    On a busy machine an answer may take as long as the doctor waits where it takes silence for an answer.
    """
    for name, limit_s in (("CONNECT_S", 60.0), ("LOST_S", 5.0), ("PUBLISH_S", 60.0), ("QUIET_S", 3.0)):
        monkeypatch.setattr(probing, name, limit_s)

    def visit(url: str, *filters: str, seconds: float = 4.0, write: Path | None = None, **broker: object) -> Any:
        subscriptions = tuple(SubscriptionSettings(filter=f) for f in filters) or (SubscriptionSettings(),)
        settings = Settings(broker=BrokerSettings.model_validate({"url": url} | broker), subscriptions=subscriptions)
        said: list[str] = []
        whispered: list[str] = []
        options = DoctorOptions(bool(filters), seconds, True, write)
        code = run_doctor(settings, options, said.append, whispered.append)
        return code, json.loads(said[0]) if said else {}, whispered

    return visit


def checks(report: dict[str, Any]) -> set[str]:
    return {finding["check"] for finding in report["findings"]}


def as_it_comes(folder: Path) -> Broker:
    """A mosquitto with nothing set but where it listens."""
    port, config = free_port(), folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n")
    return Broker([find_mosquitto(), "-c", str(config)], {"3.1.1": port, "5": port}, folder / "log", "mosquitto")


def test_a_broker_as_it_comes(doctor: Doctor, tmp_path: Path) -> None:
    broker = as_it_comes(tmp_path).start()
    try:
        with Plant(broker.url("5"), qos=0):
            code, report, _ = doctor(broker.url("3.1.1"))
            assert code == 1
            assert checks(report) == {"queue", "in_flight", "nagle", "qos0", "no_readings"}
            probes = report["probes"]
            assert (probes["kept_while_away"], probes["in_flight"]) == (1000, 20)
            code, report, _ = doctor(broker.url("5"), protocol="5")
            assert code == 1
            assert checks(report) == {"queue", "in_flight", "nagle", "qos0", "no_readings"}
            assert "takes 20 of our forecasts" in next(
                f["what"] for f in report["findings"] if f["check"] == "in_flight"
            )
    finally:
        broker.stop()


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    broker = mosquitto(tmp_path, extra="sys_interval 1").start()
    yield broker
    broker.stop()


@pytest.fixture(params=["3.1.1"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["fast"])
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_all_well_and_the_written_mapping_forecasts_all_of_it(
    doctor: Doctor, own_broker: Broker, make_peer: MakePeer, tmp_path: Path
) -> None:
    file = tmp_path / "written.toml"
    with Plant(own_broker.url("5")):
        code, report, whispered = doctor(own_broker.url("5"), write=file)
        assert (code, checks(report)) == (0, {"no_readings"})
        assert report["series"] == len(SERIES)
        assert report["formats"] == FORMATS
        assert "# json: plant/flat/temperature, plant/flat/humidity" in file.read_text()
        assert whispered[-1] == f"written: stepahead run --config {file}"
        ear = Ear(make_peer, "stepahead/v1")
        with Running(tmp_path, None, config=file, filters=()):
            ear.listen(lambda: {forecast["series"] for forecast in ear.forecasts} >= SERIES)
    assert {forecast["series"] for forecast in ear.forecasts} == SERIES


def test_nothing_is_left_behind(doctor: Doctor, own_broker: Broker, make_peer: MakePeer) -> None:
    for protocol in ("3.1.1", "5"):
        _, report, _ = doctor(own_broker.url(protocol), "$share/g/{site}/#", seconds=0.1, protocol=protocol)
        assert report["filters"] == ["+/#"]  # as one of a group it would take messages away from a service
    peer = make_peer(["$SYS/broker/clients/disconnected", "$SYS/broker/messages/stored", "stepahead/#"]).subscribed()
    latest: dict[bytes, bytes] = {}

    def heard() -> bool:
        latest.update({message.topic: message.payload for message in peer.kept})
        return latest.get(b"$SYS/broker/clients/disconnected") == b"0"

    peer.until(heard)
    assert not any(topic.startswith(b"stepahead/") for topic in latest)


def test_rules_that_deny_our_output_are_found(doctor: Doctor, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text("topic read #\n")
    broker = mosquitto(tmp_path, f"acl_file {rules}").start()
    try:
        for protocol, words in (("3.1.1", "in silence"), ("5", "not authorised")):
            code, report, _ = doctor(broker.url(protocol), "quiet/#", seconds=0.1, protocol=protocol)
            (finding,) = [f for f in report["findings"] if f["check"] == "output"]
            assert code == 1
            assert words in finding["what"]
            assert report["probes"]["session_kept"] is True
    finally:
        broker.stop()


def test_no_connection_exits_2_with_the_reason(doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "CONNECT_S", 2.0)
    file = tmp_path / "written.toml"
    code, report, whispered = doctor(f"mqtt://127.0.0.1:{free_port()}", write=file)
    assert (code, report, file.exists()) == (2, {}, False)
    assert "cannot reach the broker at 127.0.0.1" in whispered[-1]
    monkeypatch.setattr(probing, "CONNECT_S", 60.0)
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    broker = mosquitto(tmp_path, f"allow_anonymous false\npassword_file {passwords}").start()
    try:
        code, _, whispered = doctor(broker.url("5"), username="plant", password="hush")
        assert code == 2
        assert "user name or password is wrong" in whispered[-1]
        assert "hush" not in "".join(whispered)
    finally:
        broker.stop()


def test_a_certificate_that_ends_soon_is_found(doctor: Doctor, tmp_path: Path) -> None:
    with Authority(tmp_path, "127.0.0.1", hours=50) as authority:
        url = authority.broker.url("5").replace("mqtt:", "mqtts:")
        code, report, _ = doctor(url, "quiet/#", seconds=0.1, ca_file=authority.ca_file)
    assert code == 1
    assert "expires in 2 days" in next(f["what"] for f in report["findings"] if f["check"] == "certificate")
