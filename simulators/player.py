"""Plays sensors and recordings in time: at their own pace, faster, or as fast as the broker takes them."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from simulators.faults import NAN, TEXT, Track
from simulators.playback import Message
from simulators.publisher import Publisher
from simulators.scenarios import Sensor
from simulators.stop import Stop
from stepahead.contract.errors import UsageError

__all__ = ["messages_of", "play"]

CHUNK = 256
"""Readings per sensor that are made at once."""


def messages_of(
    sensors: Sequence[Sensor], rate_hz: float, start_ns: int, readings: int | None = None
) -> Iterator[Message]:
    """What the sensors send, in the order of sending.

    All sensors are read at the same instants, as a controller scans its inputs. Late readings are sent at the time
    of the newest reading before them, repeated ones at once.

    Args:
        sensors: at least one.
        rate_hz: readings per second of each, 1e-6 to 1e5.
        start_ns: time of the first reading, UTC nanoseconds.
        readings: how many each sensor takes; none = without end.
    """
    if not 1e-6 <= rate_hz <= 1e5:
        raise UsageError(f"rate is {rate_hz} Hz, allowed are 1e-6 to 1e5")
    step_ns = round(1e9 / rate_hz)
    # Milliseconds where they are exact, else microseconds: both are told apart by their size.
    unit_ns = 1_000_000 if step_ns % 1_000_000 == 0 else 1_000
    row = 0
    while readings is None or row < readings:
        n = CHUNK if readings is None else min(CHUNK, readings - row)
        time_ns = start_ns + np.arange(row, row + n, dtype=np.int64) * step_ns
        tracks = [sensor.track(time_ns) for sensor in sensors]
        send_ns = np.concatenate([np.maximum.accumulate(t.time_ns) if len(t) else t.time_ns for t in tracks])
        owner = np.repeat(np.arange(len(tracks)), [len(t) for t in tracks])
        within = np.concatenate([np.arange(len(t)) for t in tracks])
        for k in np.argsort(send_ns, kind="stable"):
            yield Message(send_ns[k] / 1e9, sensors[owner[k]].topic, payload(tracks[owner[k]], int(within[k]), unit_ns))
        row += n


def payload(track: Track, row: int, unit_ns: int) -> bytes:
    """One reading as JSON `{"ts": …, "value": …}`; NaN is written as many devices do, though JSON has no such word."""
    kind = track.kind[row]
    value = '"offline"' if kind == TEXT else "NaN" if kind == NAN else repr(float(track.value[row]))
    return f'{{"ts":{track.time_ns[row] // unit_ns},"value":{value}}}'.encode()


def play(
    messages: Iterable[Message],
    publisher: Publisher,
    speed: float = 1.0,
    stop: Stop | None = None,
    published: Callable[[int], None] | None = None,
) -> int:
    """Publish messages at their times and wait until the broker has them all.

    Args:
        messages: in the order of sending.
        publisher: where to.
        speed: how many seconds of theirs pass in one second; 0 = as fast as possible.
        stop: ends the play when asked.
        published: told the number of messages so far, about ten times a second.

    Returns:
        How many messages were published.
    """
    if not 0 <= speed < float("inf"):
        raise UsageError(f"speed is {speed}, allowed are 0 (as fast as possible) and more")
    stop = stop or Stop()
    began = told = time.monotonic()
    first_s: float | None = None
    count = 0
    for message in messages:
        if first_s is None:
            first_s = message.time_s
        if speed > 0:
            ahead_s = (message.time_s - first_s) / speed - (time.monotonic() - began)
            if ahead_s > 0.001:
                stop.wait(ahead_s)
        if stop.asked:
            break
        publisher.publish(message.topic, message.payload)
        count += 1
        if published is not None and time.monotonic() - told >= 0.1:
            told = time.monotonic()
            published(count)
    publisher.drain()
    if published is not None:
        published(count)
    return count
