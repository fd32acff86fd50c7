"""`stepahead run` as its users run it: a process, a real broker, signals."""

import signal
import time
from pathlib import Path

import pytest

from tests.broker.brokers import Broker, free_port, mosquitto
from tests.broker.conftest import MakePeer
from tests.broker.running import Ear, Running
from tests.service.manager_double import Manager

BASE_MS = 1_760_000_000_000


@pytest.fixture(params=["3.1.1"])
def protocol(request: pytest.FixtureRequest) -> str:
    """What the ears speak; the sessions' own tests are over both versions."""
    return str(request.param)


@pytest.fixture(params=["fast"])
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def start(folder: Path, broker: Broker, topic: str, *assignments: str) -> Running:
    ours = (f"publish.prefix={topic}/out", f"broker.client_id=service-{topic}", *assignments)
    return Running(folder, broker.url("3.1.1"), *ours, filters=(f"{topic}/in/#",))


def reading(second: int, value: float) -> bytes:
    return b'{"ts": %d, "value": %r}' % (BASE_MS + 1000 * second, value)


def cpu_share(service: Running, seconds: float) -> float:
    """What part of a CPU the service uses in so many seconds."""
    began, before = time.monotonic(), service.cpu_s()
    time.sleep(seconds)
    return (service.cpu_s() - before) / (time.monotonic() - began)


def ended(service: Running, signal_number: int) -> tuple[int, float]:
    """Send a signal; the exit code and how long it took, seconds, without those in which it waited for a CPU."""
    waits = Path(f"/proc/{service.pid}/schedstat")  # nanoseconds on a CPU, and waiting for one
    began, before = time.monotonic(), int(waits.read_text().split()[1])
    service.process.send_signal(signal_number)
    while True:
        starved_s = (int(waits.read_text().split()[1]) - before) / 1e9
        code, took_s = service.process.poll(), time.monotonic() - began
        if code is not None:
            return code, took_s - starved_s
        assert took_s < 120, service.log.read_text()
        time.sleep(0.02)


BAD: dict[str, list[bytes]] = {
    "not_decodable": [b"{oops", b"\xff\xfe\x00"],
    "value_not_number": [b'{"value": "warm"}'],
    "value_missing": [b"", b'{"value": null}'],
    "value_not_finite": [b"NaN", b"-inf", b'"Infinity"'],
    "value_too_large": [b"1e999"],
    "too_large": [b"1" * 1_000_000],
    "too_deep": [b"[" * 1000 + b"1" + b"]" * 1000],
    "time_absurd": [b'{"ts": 1000, "value": 1}', b'{"ts": 99999999999999, "value": 1}'],
}


def test_readings_in_forecasts_out_whatever_else_comes(
    make_peer: MakePeer, broker: Broker, topic: str, tmp_path: Path
) -> None:
    ear = Ear(make_peer, f"{topic}/out")
    with start(tmp_path, broker, topic, "engine.max_series=5", "broker.max_payload_bytes=100000") as service:
        ear.until_online()
        mouth = make_peer().connected()
        bad = [payload for payloads in BAD.values() for payload in payloads]
        rows = []
        for second in range(60):
            rows += [(f"{topic}/in/s{i}".encode(), reading(second, 20.0 + i + second % 7)) for i in range(5)]
            if second % 4 == 0 and bad:
                rows.append((f"{topic}/in/s0".encode(), bad.pop()))
        rows.append((f"{topic}/in/one-too-many".encode(), reading(0, 1.0)))
        rows.append((f"{topic}/in/s0".encode(), reading(59, 20.0 + 59 % 7)))
        rows.append((f"{topic}/in/s0".encode(), reading(10, -1.0)))
        mouth.session.publish_many(rows, 1, False)
        assert mouth.session.flush(60)
        # A reading is counted at once, its forecast when it goes out.
        status = ear.until_status(lambda status: status.get("drops", {}).get("late") and status["forecasts"] >= 301)
        ear.until_forecasts(301)

        code, took_s = ended(service, signal.SIGTERM)
        assert code == 0, service.log.read_text()
        assert took_s < 5
        ear.listen(lambda: ear.statuses[-1]["status"] == "offline")

    expected = {reason: len(payloads) for reason, payloads in BAD.items()}
    assert status["drops"] == expected | {"too_many_series": 1, "duplicate": 1, "late": 1}
    assert (status["series"], status["readings"], status["forecasts"]) == (5, 302, 301)
    # One for each reading and none twice, but the one that was sent twice: it gets the same forecast again.
    assert len(ear.forecasts) == 301
    assert ear.forecasts[-1] == next(f for f in ear.forecasts if f["id"] == ear.forecasts[-1]["id"])
    heard = {(f["series"], f["issued_at"]): f["observed"] for f in ear.forecasts}
    assert heard == {
        (f"{topic}/in/s{i}", BASE_MS + 1000 * second): 20.0 + i + second % 7 for i in range(5) for second in range(60)
    }
    late_ear = Ear(make_peer, f"{topic}/out")
    late_ear.listen(lambda: late_ear.statuses)
    assert late_ear.statuses[0]["status"] == "offline"
    for reason in expected:  # one line at once, and then one in ten seconds
        assert 1 <= service.said(f"reason={reason}") <= 2 + status["uptime_s"] // 10, service.log.read_text()


def test_a_restarted_broker_is_found_again_and_nothing_is_lost(
    make_peer: MakePeer, own_broker: Broker, topic: str, tmp_path: Path
) -> None:
    with start(tmp_path, own_broker, topic, "broker.reconnect_max_s=0.6") as service:
        ear = Ear(make_peer, f"{topic}/out")
        ear.until_online()
        mouth = make_peer().connected()
        mouth.session.publish_many([(f"{topic}/in/a".encode(), reading(i, i % 5)) for i in range(50)], 1, False)
        assert mouth.session.flush(60)
        ear.until_forecasts(50)
        own_broker.kill()
        service.until_said("disconnected")
        assert any(cpu_share(service, 3) < 0.1 for _ in range(30))
        ear.peer.until(lambda: not ear.peer.session.connected)
        ear.listen(lambda: True)  # what was on its way before the kill, an "online" too
        ear.statuses.clear()
        own_broker.start()
        ear.peer.until(lambda: ear.peer.session.connected)
        ear.until_online()
        mouth.until(lambda: mouth.session.connected)
        mouth.session.publish_many([(f"{topic}/in/a".encode(), reading(i, i % 5)) for i in range(50, 90)], 1, False)
        assert mouth.session.flush(60)
        ear.until_forecasts(90)
        code, _ = service.end(signal.SIGINT)
        assert code == 0
    # What the broker had not acknowledged before it was killed is published again: once more, with the same id.
    by_id: dict[str, dict[str, object]] = {}
    for forecast in ear.forecasts:
        assert by_id.setdefault(forecast["id"], forecast) == forecast
    assert [f["issued_at"] for f in by_id.values()] == [BASE_MS + 1000 * i for i in range(90)]
    # While it was away, however many attempts failed, one line told that it was.
    assert service.said(" refused ") <= 2
    assert service.said("disconnected") == 4  # each of the two connections was lost once, and in the end given up


def test_a_broker_that_is_away_at_the_start_is_waited_for(
    topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = mosquitto(tmp_path)
    manager = Manager(f"\0{tmp_path}")
    monkeypatch.setenv("NOTIFY_SOCKET", manager.name)
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    with start(tmp_path, broker, topic, "broker.reconnect_max_s=0.5") as service:
        monkeypatch.undo()  # mosquitto too would speak to the manager
        service.until_said("cannot reach the broker")
        # Packages are still imported beside the loop at first, which takes a while; a busy loop would never end.
        assert any(cpu_share(service, 3) < 0.1 for _ in range(30))
        assert service.said("cannot reach the broker") == 1
        # systemd starts what comes after us whether or not the broker is there, and its watchdog is fed meanwhile.
        told, deadline = manager.heard(), time.monotonic() + 60
        while len(told) < 5:
            assert time.monotonic() < deadline, told
            time.sleep(0.1)
            told += manager.heard()
        ready, *feeds = told
        assert ready == "READY=1"
        assert set(feeds) == {"WATCHDOG=1"}
        broker.start()
        try:
            service.until_said("subscribed")
        finally:
            broker.stop()
        service.until_said("disconnected")
        manager.heard()
        code, took_s = ended(service, signal.SIGTERM)
        assert code == 0
        assert took_s < 5
    assert manager.heard()[-1] == "STOPPING=1"
    manager.close()


def test_a_second_signal_ends_at_once(topic: str, tmp_path: Path) -> None:
    with Running(tmp_path, f"mqtt://127.0.0.1:{free_port()}", "broker.reconnect_max_s=0.5") as service:
        service.until_said("cannot reach the broker")
        service.process.send_signal(signal.SIGSTOP)
        service.process.send_signal(signal.SIGTERM)
        service.process.send_signal(signal.SIGINT)
        service.process.send_signal(signal.SIGCONT)
        assert service.process.wait(60) in (128 + signal.SIGTERM, 128 + signal.SIGINT)


def test_hearing_our_own_output_is_refused_at_the_start(tmp_path: Path) -> None:
    with Running(tmp_path, f"mqtt://127.0.0.1:{free_port()}", filters=("sensors/#", "+/v1/#")) as service:
        assert service.process.wait(180) == 2
    assert "topic filter '+/v1/#' also matches our own output 'stepahead/v1/#'" in service.log.read_text()


def test_no_secret_is_logged(topic: str, tmp_path: Path) -> None:
    secret = "hush-hush-7"
    with Running(
        tmp_path,
        f"mqtt://127.0.0.1:{free_port()}",
        "broker.username=plant",
        "service.log_level=debug",
        STEPAHEAD_BROKER__PASSWORD=secret,
    ) as service:
        service.until_said("cannot reach the broker")
        service.end(signal.SIGTERM)
    text = service.log.read_text()
    assert "starting" in text
    assert secret not in text


@pytest.mark.timeout(900)
def test_an_engine_slower_than_the_feed_does_not_lose_the_connection(
    make_peer: MakePeer, broker: Broker, topic: str, tmp_path: Path
) -> None:
    slow = ("engine.deterministic=true", "broker.keepalive_s=6", "learning.every=12", "learning.windows=256")
    ear = Ear(make_peer, f"{topic}/out")
    with start(tmp_path, broker, topic, *slow) as service:
        ear.until_online()
        mouth = make_peer().connected()
        rows = [(f"{topic}/in/a".encode(), reading(i, float(i % 11))) for i in range(700)]
        mouth.session.publish_many(rows, 1, False)
        assert mouth.session.flush(60)
        ear.until_forecasts(700, seconds=600)
        assert max(status.get("waiting", 0) for status in ear.statuses) > 20, "the engine was not slow enough"
        assert service.said("disconnected") == 0, service.log.read_text()
        code, took_s = ended(service, signal.SIGTERM)
        assert code == 0
        assert took_s < 5
    assert [forecast["issued_at"] for forecast in ear.forecasts] == [BASE_MS + 1000 * i for i in range(700)]
