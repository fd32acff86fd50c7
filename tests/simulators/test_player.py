"""What is played arrives at the broker: all of it, once, in order, and at its time."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from simulators.broker import EmbeddedBroker
from simulators.faults import Dropouts, Duplicates, Garbage, Late
from simulators.playback import Message, Recording
from simulators.player import messages_of, play
from simulators.publisher import Publisher
from simulators.scenarios import scenario
from simulators.stop import Stop
from stepahead.contract.errors import UsageError
from tests.simulators.listener import Listener


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


def test_at_full_speed_every_message_arrives_once_in_order(broker: EmbeddedBroker) -> None:
    sensors = scenario("plant", seed=1, count=5, prefix="full")
    listener = Listener(broker.url, "full/#")
    told: list[int] = []
    with Publisher(broker.url, window=200) as publisher:
        count = play(messages_of(sensors, 50.0, 10**18, 1000), publisher, speed=0, published=told.append)
    listener.wait_for(5000)
    listener.close()
    assert count == len(listener.messages) == 5000
    assert told[-1] == 5000
    expected = scenario("plant", seed=1, count=5, prefix="full")
    time_ns = 10**18 + np.arange(1000) * 20_000_000
    for sensor in expected:
        got = [json.loads(payload) for topic, payload in listener.messages if topic == sensor.topic]
        # The plant's sensors make their values in pieces of 256, and so do their faults.
        parts = [sensor.track(time_ns[i : i + 256]).value for i in range(0, 1000, 256)]
        assert [m["ts"] for m in got] == (time_ns // 1_000_000).tolist()
        assert [m["value"] for m in got] == np.concatenate(parts).tolist()


def test_qos_0_is_published_too(broker: EmbeddedBroker) -> None:
    listener = Listener(broker.url, "zero/#")
    with Publisher(broker.url, qos=0) as publisher:
        play(messages_of(scenario("sine", prefix="zero"), 10.0, 10**18, 300), publisher, speed=0)
    listener.wait_for(300)
    listener.close()
    assert len(listener.messages) == 300
    assert publisher.lost == 0


def test_a_recording_arrives_cell_by_cell(broker: EmbeddedBroker, tmp_path: Path) -> None:
    path = tmp_path / "tank.csv"
    rows = [(i, float(np.sin(i)), float(np.cos(i))) for i in range(700)]
    path.write_text("t,a,b\n" + "".join(f"{t},{a!r},{b!r}\n" for t, a, b in rows))
    listener = Listener(broker.url, "sensors/tank")
    with Publisher(broker.url) as publisher:
        assert play(Recording(path, "t"), publisher, speed=0) == 700
    listener.wait_for(700)
    listener.close()
    assert [tuple(json.loads(p).values()) for _, p in listener.messages] == rows


def test_faults_reach_the_wire_as_counted() -> None:
    sensor = scenario("sine")[0]
    late, lost, twice, garbage = Late(0.05, 4, 1), Dropouts(0.01, 5, 2), Duplicates(0.05, 3), Garbage(0.05, 4)
    sensor.faults = [lost, garbage, late, twice]
    messages = list(messages_of([sensor], 10.0, 10**18, 3000))
    assert len(messages) == 3000 - lost.count + twice.count
    values = Counter("text" if b"offline" in m.payload else "nan" if b"NaN" in m.payload else "" for m in messages)
    doubled = sum(a.payload == b.payload for a, b in pairwise(messages))
    assert doubled == twice.count
    assert garbage.count <= values["text"] + values["nan"] <= garbage.count + twice.count
    stamps = [json.loads(m.payload)["ts"] for m in messages]
    behind = np.array(stamps) < np.maximum.accumulate(stamps)
    assert late.count <= behind.sum() <= late.count + twice.count
    assert np.all(np.diff([m.time_s for m in messages]) >= 0)


def test_two_sensors_are_merged_in_time_order() -> None:
    messages = list(messages_of(scenario("white", count=2), 1000.0, 10**18, 600))
    assert [m.topic for m in messages[:4]] == ["sensors/white1", "sensors/white2"] * 2
    assert np.all(np.diff([m.time_s for m in messages]) >= 0)


@pytest.mark.parametrize(("rate_hz", "unit_ns"), [(20.0, 10**6), (1000.0, 10**6), (3.0, 10**3), (4000.0, 10**3)])
def test_times_are_milliseconds_where_exact_else_microseconds(rate_hz: float, unit_ns: int) -> None:
    messages = list(messages_of(scenario("white"), rate_hz, 10**18, 3))
    stamps = [json.loads(m.payload)["ts"] for m in messages]
    assert stamps == [(10**18 + i * round(1e9 / rate_hz)) // unit_ns for i in range(3)]


class Recorder(Publisher):
    """A publisher without a broker that notes when it was called."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self.times_s: list[float] = []
        self.now_s = now_s

    def publish(self, topic: str, payload: bytes) -> None:
        self.times_s.append(self.now_s())

    def drain(self) -> None:
        self.times_s.append(self.now_s())


class Clock(Stop):
    """A time of its own, which passes when somebody waits and at no other moment."""

    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def wait(self, seconds: float) -> bool:
        self.now_s += seconds
        return self.asked


def test_speed_is_a_factor_on_the_times_of_the_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("simulators.player.time", clock)
    recorder = Recorder(clock.monotonic)
    play([Message(1e9 + t, "a", b"") for t in (0.0, 10.0, 30.0)], recorder, speed=100.0, stop=clock)
    assert recorder.times_s[:3] == pytest.approx([0.0, 0.1, 0.3])


class Asking(Recorder):
    """Asks to stop a moment after it was handed a message."""

    def __init__(self, stop: Stop) -> None:
        super().__init__()
        self.stop = stop

    def publish(self, topic: str, payload: bytes) -> None:
        super().publish(topic, payload)
        threading.Timer(0.2, self.stop.ask).start()


def test_stop_ends_a_play_at_once_and_speed_is_checked() -> None:
    stop = Stop()
    began = time.monotonic()
    assert play([Message(0.0, "a", b""), Message(3600.0, "a", b"")], Asking(stop), stop=stop) == 1
    assert time.monotonic() - began < 60
    for speed in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="speed"):
            play([], Recorder(), speed=speed)
    with pytest.raises(UsageError, match="rate"):
        next(messages_of(scenario("white"), 0.0, 0))
