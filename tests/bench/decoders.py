"""What decoding costs, format by format: µs of CPU time a reading from delivery to column, without the engine.

Every format is measured in turn, over and over, and the median of the turns is reported: so that noise of the machine
falls on all alike. Bars: JSON with one reading 1.5 µs, arrays, SenML JSON and line protocol 1 µs, Sparkplug 3 µs.

Run: `python tests/bench/decoders.py [--json FILE] [--turns N]`
"""

import argparse
import gc
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cbor2

from stepahead.contract.reasons import DropCounter
from stepahead.contract.settings import SubscriptionSettings
from stepahead.wire.decoder import Decoder
from stepahead.wire.delivery import Delivery
from stepahead.wire.formats.sparkplug_schema import DataType, Payload

NOW_NS = 1_760_000_000 * 10**9
NOW_MS = NOW_NS // 10**6
READINGS = 5_000
"""Readings in one turn."""


def single(make: Callable[[int], bytes], topic: bytes = b"plant/pump7/temperature") -> list[tuple[bytes, bytes]]:
    return [(topic, make(i)) for i in range(READINGS)]


def packed(make: Callable[[range], bytes], size: int = 100) -> list[tuple[bytes, bytes]]:
    return [(b"plant/pump7", make(range(i, i + size))) for i in range(0, READINGS, size)]


def senml(rows: range) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = [{"n": "temperature", "t": float(i % 100), "v": 20 + i % 7 + 0.5} for i in rows]
    records[0] |= {"bn": "urn:dev:ow:10e2073a0108006:", "bt": 1.759e9, "bu": "Cel"}
    return records


def lines(rows: range) -> bytes:
    stamp = NOW_NS - 10**12
    return b"\n".join(
        b"weather,location=us-midwest,season=summer temperature=%d.5,humidity=%d.25 %d" % (i % 7, i % 9, stamp + i)
        for i in rows[::2]
    )


def lines_of_many(rows: range) -> bytes:
    stamp = NOW_NS - 10**12
    return b"\n".join(
        b"cpu,cpu=cpu%d,host=gateway usage_idle=%d.5,usage_user=%d.25 %d" % (i // 2 % 5, i % 7, i % 9, stamp + i)
        for i in rows[::2]
    )


def sparkplug(
    metrics: int, datatype: DataType = DataType.DOUBLE, field: str = "double_value"
) -> list[tuple[bytes, bytes]]:
    birth = Payload(timestamp=NOW_MS, seq=0)
    for k in range(metrics):
        birth.metrics.add(name=f"m{k}", alias=k + 1, datatype=int(datatype), timestamp=NOW_MS, **{field: 1})
    messages = [(b"spBv1.0/plant/NBIRTH/gateway", birth.SerializeToString())]
    for i in range(READINGS // metrics):
        data = Payload(timestamp=NOW_MS + i, seq=(i + 1) % 256)
        for k in range(metrics):
            value = 20.5 + i % 7 if datatype == DataType.DOUBLE else 20 + i % 7
            data.metrics.add(alias=k + 1, timestamp=NOW_MS + i, **{field: value})
        messages.append((b"spBv1.0/plant/NDATA/gateway", data.SerializeToString()))
    return messages


def stamp(i: int) -> int:
    return NOW_MS - 10**6 + i


CASES: dict[str, tuple[float | None, Callable[[], list[tuple[bytes, bytes]]]]] = {
    "bare number": (None, lambda: single(lambda i: b"%d.5" % (i % 50))),
    "JSON, one reading": (1.5, lambda: single(lambda i: b'{"value": %d.5}' % (i % 50))),
    "JSON, one reading and its time": (
        1.5,
        lambda: single(lambda i: b'{"ts": %d, "value": %d.5}' % (stamp(i), i % 50)),
    ),
    "array of 100 objects": (
        1.0,
        lambda: packed(lambda rows: json.dumps([{"ts": stamp(i), "value": i % 50 + 0.5} for i in rows]).encode()),
    ),
    "array of 100 pairs": (
        1.0,
        lambda: packed(lambda rows: json.dumps([[stamp(i), i % 50 + 0.5] for i in rows]).encode()),
    ),
    "SenML JSON, 100 records": (1.0, lambda: packed(lambda rows: json.dumps(senml(rows)).encode())),
    "SenML CBOR, 100 records": (
        None,
        lambda: packed(
            lambda rows: cbor2.dumps(
                [
                    {{"n": 0, "t": 6, "v": 2, "bn": -2, "bt": -3, "bu": -4}[k]: v for k, v in r.items()}
                    for r in senml(rows)
                ]
            )
        ),
    ),
    "line protocol, 50 lines of 2 fields": (1.0, lambda: packed(lines)),
    "line protocol, 50 lines of 5 series": (1.0, lambda: packed(lines_of_many)),
    "line protocol, one line of 2 fields": (None, lambda: packed(lines, 2)),
    "Sparkplug, 1 metric": (3.0, lambda: sparkplug(1)),
    "Sparkplug, 10 metrics": (3.0, lambda: sparkplug(10)),
    "Sparkplug, 10 metrics of 32 bits": (3.0, lambda: sparkplug(10, DataType.INT32, "int_value")),
}


class Case:
    """A decoder that knows its topics, and its deliveries."""

    def __init__(self, messages: list[tuple[bytes, bytes]]) -> None:
        keys: dict[str, int] = {}
        self.drops = DropCounter()
        self.decoder = Decoder(
            [SubscriptionSettings(filter="#")], lambda key: keys.setdefault(key, len(keys)), self.drops, "stepahead/v1"
        )
        self.deliveries = [Delivery(topic, payload, 0, 0, NOW_NS) for topic, payload in messages]
        self.births = [d for d in self.deliveries if b"BIRTH" in d.topic]
        self.turn(warm=True)
        self.times_us: list[float] = []

    def turn(self, warm: bool = False) -> None:
        if self.births:  # a birth that is not the same as the last one, so that the sequence begins anew
            birth = Payload.FromString(self.births[0].payload)
            birth.uuid = str(time.perf_counter_ns())
            self.decoder.decode([self.births[0]._replace(payload=birth.SerializeToString())])
        data = self.deliveries[len(self.births) :]
        gc.disable()
        began = time.process_time()
        for i in range(0, len(data), 500):
            self.rows = self.decoder.decode(data[i : i + 500])
        took = time.process_time() - began
        gc.enable()
        assert not self.drops, self.drops.as_dict()
        if not warm:
            self.times_us.append(took / READINGS * 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--turns", type=int, default=15, help="how often each format is measured")
    arguments = parser.parse_args()
    cases = {name: (bar, Case(make())) for name, (bar, make) in CASES.items()}
    for _ in range(arguments.turns):
        for _, case in cases.values():
            case.turn()
    results = []
    print(f"{'µs a reading':40} median    best     bar")
    for name, (bar, case) in cases.items():
        median, best = statistics.median(case.times_us), min(case.times_us)
        verdict = "" if bar is None else f"{bar:7.2f}  {'met' if median <= bar else 'MISSED'}"
        print(f"{name:40} {median:6.3f}  {best:6.3f}  {verdict}")
        results.append({"format": name, "median_us": median, "best_us": best, "bar_us": bar})
    if arguments.json:
        machine = {"machine": platform.machine(), "python": platform.python_version(), "turns": arguments.turns}
        arguments.json.write_text(json.dumps({**machine, "results": results}, indent=1))


if __name__ == "__main__":
    main()
