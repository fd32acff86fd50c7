"""Somebody invents keys without end: memory stands still, and the known series are served as before."""

import time
from pathlib import Path

import pytest

from stepahead.telemetry.log import EVERY_S
from tests.broker.brokers import Broker
from tests.broker.conftest import MakePeer
from tests.broker.running import Ear, Running
from tests.crash.memory import resident_bytes

BASE_MS = 1_760_000_000_000
FIELDS = 20


@pytest.mark.timeout(900)
def test_keys_without_end_cost_no_memory_and_no_service(
    make_peer: MakePeer, broker: Broker, topic: str, tmp_path: Path, long_form: bool
) -> None:
    keys, known, seconds = (1_000_000, 10_000, 60) if long_form else (40_000, 500, 3)
    ear = Ear(make_peer, f"{topic}/out")
    mouth = make_peer().connected()
    ours = (f"publish.prefix={topic}/out", f"broker.client_id=service-{topic}", f"engine.max_series={known}")
    rounds = 0

    def known_readings() -> None:
        """One reading of each known series."""
        nonlocal rounds
        rounds += 1
        fields = b", ".join(b'"f%d": %d' % (i, (rounds + i) % 9) for i in range(100))
        payload = b'{"ts": %d, %s}' % (BASE_MS + 1000 * rounds, fields)
        mouth.session.publish_many(
            [(b"%s/in/k%d" % (topic.encode(), i), payload) for i in range(known // 100)], 1, False
        )
        # Nobody turns this session while the ear listens: the broker may have cut it by now, or cut it next.
        assert mouth.session.flush(120)

    def answered() -> bool:
        return ear.distinct() >= known * rounds

    with Running(tmp_path, broker.url("3.1.1"), *ours, filters=(f"{topic}/in/#",)) as service:
        ear.until_online()
        for _ in range(15):
            known_readings()
            ear.listen(answered)
        before = resident_bytes(service.pid)
        began = time.monotonic()
        messages = keys // FIELDS
        for number in range(messages):
            fields = b", ".join(b'"x%d-%d": 1.5' % (number, i) for i in range(FIELDS))
            mouth.session.publish_many([(b"%s/in/bomb%d" % (topic.encode(), number), b"{%s}" % fields)], 1, False)
            if number % 100 == 99:
                assert mouth.session.flush(120)
                ear.listen_for(0.0)
                time.sleep(max(0.0, began + seconds * number / messages - time.monotonic()))
            if number % (messages // 5) == messages // 10:
                known_readings()
        took_s = time.monotonic() - began
        ear.until_status(lambda status: status.get("drops", {}).get("too_many_series", 0) >= keys, 300)
        ear.listen(answered)
        known_readings()
        ear.listen(answered)
        after = resident_bytes(service.pid)
        ear.until_status(lambda status: status.get("series") == known)
        said = service.said("reason=too_many_series")
        assert said <= 2 + (time.monotonic() - began) / EVERY_S
        lost = service.said("disconnected")
    print(
        f"{keys} keys in {took_s:.0f} s beside {known} series: {before / 2**20:.0f} MiB before, "
        f"{after / 2**20:.0f} MiB after, {100 * (after / before - 1):+.1f}%; "
        f"{rounds * known} readings of known series answered; connection lost {lost} times"
    )
    assert after < 1.1 * before
    assert ear.distinct() == known * rounds
