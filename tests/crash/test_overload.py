"""Ten times what the service can do: memory has a bound, the status says how late it is, and nothing is lost.

The service is made slow, so that ten times as much is no feat: it takes one message at a time and syncs it. What the
broker holds in the end is answered by another run that may take many at once. In the long form a quick run comes
before, until as many forecasts are remembered as ever are, and snapshots are frequent, so that each part of the time
has some: what grows then is owed to the overload.
"""

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.broker.brokers import Broker
from tests.broker.conftest import MakePeer
from tests.broker.running import Running
from tests.crash.feed import NumberedFeed
from tests.crash.memory import resident_bytes

SERIES = 50
REMEMBERED = 140_000
"""More than the forecasts that are kept for readings which come again."""
SLOW = ("service.max_batch=1", "service.max_batch_delay_s=0", "durability.commit_interval_s=0")
MIB = 2**20


@pytest.mark.timeout(1800)
def test_ten_times_too_much_is_late_and_not_lost(
    make_peer: MakePeer, broker: Broker, topic: str, tmp_path: Path, long_form: bool
) -> None:
    seconds = 120 if long_form else 4
    feed = NumberedFeed(make_peer, topic, series=SERIES)
    ear = feed.ear
    ours = (f"publish.prefix={topic}/out", f"broker.client_id=service-{topic}")
    filters = (f"{topic}/in/#",)
    if long_form:
        ours += ("durability.snapshot_every_s=10",)
        with Running(tmp_path, broker.url("3.1.1"), *ours, filters=filters) as service:
            ear.until_online()
            while feed.sent < REMEMBERED:
                feed.say(2000)
                feed.until_answered()
            service.end(signal.SIGTERM)
        ear.until_status(lambda status: status["status"] == "offline")
    with Running(tmp_path, broker.url("3.1.1"), *ours, *SLOW, filters=filters) as service:
        ear.until_online()
        feed.say(100)
        feed.until_answered()
        sustainable = 0.0
        for _ in range(4):  # the best: the machine may stand still in one of them
            began = time.monotonic()
            feed.say(200)
            feed.until_answered()
            sustainable = max(sustainable, 200 / (time.monotonic() - began))
        samples = [resident_bytes(service.pid)]
        began, sent_before, told_before = time.monotonic(), feed.sent, len(ear.statuses)
        passed_s, answered, sent = 0.0, 0, 0
        # Ten times what it could do before, and what it does now: the machine may have others to serve at either time.
        while passed_s < seconds or sent < 8 * answered:
            due = sent_before + 10 * max(int(sustainable * min(passed_s, seconds)), answered)
            feed.say(min(max(due - feed.sent, 1), 2000))
            ear.listen_for(0.02)
            samples.append(resident_bytes(service.pid))
            passed_s = time.monotonic() - began
            sent, answered = feed.sent - sent_before, ear.distinct() - sent_before
        rate, able = sent / passed_s, answered / passed_s

        def late() -> dict[str, Any] | None:
            """The newest status that says so; on a machine that is starved it may be some time until it comes."""
            told = (status for status in reversed(ear.statuses[told_before:]) if "waiting" in status)
            return next((one for one in told if one["waiting"] > 5 * able and one["lag_s"] > 0.3 * seconds), None)

        ear.listen(late)
        status = late()
        assert status is not None
        service.process.kill()
    print(
        f"{rate:.0f} readings/s for {passed_s:.0f} s, {rate / sustainable:.1f} times {sustainable:.0f}/s; "
        f"{status['waiting']} waiting, lag {status['lag_s']:.1f} s; {samples[0] / MIB:.0f} MiB before, at most "
        f"{max(samples) / MIB:.0f} MiB"
    )
    assert rate > 5 * able
    if long_form:  # the queue is full soon; from then on nothing grows, however much the broker holds
        late_half = samples[len(samples) // 2 :]
        third, last = late_half[: len(late_half) // 2], late_half[len(late_half) // 2 :]
        print(f"{max(third) / MIB:.0f} MiB at most in the third quarter of the time, {max(last) / MIB:.0f} in the last")
        assert max(last) < 1.02 * max(third)
    assert max(samples) < samples[0] + (256 if long_form else 150) * MIB
    with Running(tmp_path, broker.url("3.1.1"), *ours, filters=filters):
        feed.until_answered(900)
    print(f"all {feed.sent} answered")
    feed.check()
