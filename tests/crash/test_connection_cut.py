"""The connection is cut, or goes dead without a word: soon after it heals all is answered, and nothing is lost."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker.brokers import Broker
from tests.broker.conftest import MakePeer
from tests.broker.running import Running
from tests.crash.feed import NumberedFeed
from tests.crash.proxy import Proxy

BACK_WITHIN_S, BUSY_S = 5.0, 20.0
"""The former is promised, and measured in the long form, on a quiet machine. The latter is for one that others slow
down: still less than the MQTT keep-alive takes to find a dead connection, half a minute."""
SHORT = (("cut", 1.0), ("dead", 1.0), ("dead", 5.0))
LONG = tuple((how, seconds) for seconds in (1.0, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0) for how in ("cut", "dead"))


@pytest.fixture
def proxy(broker: Broker) -> Iterator[Proxy]:
    proxy = Proxy(broker.ports["3.1.1"])
    yield proxy
    proxy.close()


@pytest.mark.timeout(900)
def test_back_within_five_seconds_and_nothing_lost(
    make_peer: MakePeer, proxy: Proxy, topic: str, tmp_path: Path, long_form: bool
) -> None:
    feed = NumberedFeed(make_peer, topic, series=10)  # each a reading a second
    ours = (f"publish.prefix={topic}/out", f"broker.client_id=service-{topic}")
    filters = (f"{topic}/in/#",)
    took_s: dict[str, list[float]] = {"cut": [], "dead": []}
    within_s = BACK_WITHIN_S if long_form else BUSY_S
    with Running(tmp_path, proxy.url, *ours, filters=filters, PYTHONWARNINGS="always::ResourceWarning") as service:
        feed.ear.until_online()
        feed.say(50)
        feed.until_answered(180)  # where nothing was compiled before, the first takes its time
        for how, seconds in LONG if long_form else SHORT:
            proxy.cut() if how == "cut" else proxy.go_dead()
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                feed.say(3)
                feed.ear.listen_for(min(0.3, max(0.0, until - time.monotonic())))
            proxy.heal()
            healed = time.monotonic()
            feed.until_answered()
            took_s[how].append(time.monotonic() - healed)
            assert took_s[how][-1] < within_s, (how, seconds, took_s, service.log.read_text()[-2000:])
            feed.say(20)
            feed.until_answered(within_s)
        assert service.said("answers nothing any more") >= len(took_s["dead"])
    told = {how: ", ".join(f"{seconds:.1f}" for seconds in every) + " s" for how, every in took_s.items()}
    print(f"{feed.sent} readings; back after", told)
    feed.check()
    assert service.said("ResourceWarning") == 0  # an attempt that failed leaves no socket open
