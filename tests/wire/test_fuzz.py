"""No payload raises, whatever it is: 200,000 mutants of sound payloads for every format."""

import random

import numpy as np
import pytest

from stepahead.wire.formats.sparkplug_schema import DataType, Payload
from stepahead.wire.formats.timestamp import DAY_NS, EARLIEST_NS
from tests.wire.desk import NOW_MS, NOW_NS, Desk

INPUTS = {"json": 100_000, "json, quick": 100_000}
USUAL = 200_000
BATCH = 2_000


def sparkplug(seq: int, *, birth: bool) -> bytes:
    payload = Payload(timestamp=NOW_MS, seq=seq)
    for k, kind in enumerate(("double_value", "float_value", "int_value", "long_value", "boolean_value")):
        metric = payload.metrics.add(alias=k, timestamp=NOW_MS)
        setattr(metric, kind, k % 2)
        if birth:
            metric.name, metric.datatype = f"m{k}", (10, 9, 3, 8, 11)[k]
    quality = payload.metrics.add(name="q", datatype=int(DataType.DOUBLE), double_value=1.5)
    quality.properties.keys.append("Quality")
    quality.properties.values.add(type=3, int_value=192)
    return bytes(payload.SerializeToString())


CORPORA: dict[str, tuple[dict[str, object], list[tuple[bytes, bytes]]]] = {
    "number": ({"booleans": True, "units": True}, [(b"s/a", p) for p in (b"21.5", b"-3e2", b"ON", b"21.5 \xc2\xb0C")]),
    "json": (
        {"booleans": True, "units": True, "unit": "Cel", "unit_at": "unit", "quality": "q"},
        [
            (b"s/a", b'{"ts": 1760000000000, "value": 21.5, "q": 192, "unit": "Cel"}'),
            (b"s/b", b'{"Time":"2025-10-09T08:53:20","AM2301":{"Temperature":-21.5,"Humidity":"40 %"}}'),
            (b"s/c", b'[{"ts": 1760000000000, "value": 1}, {"ts": 1759999999000, "value": 2.5e3}]'),
            (b"s/d", b"[[1760000000000, 1.5], [1759999999000, 2.5]]"),
        ],
    ),
    "json, quick": (
        {},
        [
            (b"s/a", b'{"ts": 1760000000000, "value": 21.5, "seq": 7}'),
            (b"s/b", b'{"temperature": 21.5, "humidity": 40, "name": "x"}'),
            (b"s/c", b'[{"ts": 1760000000000, "value": 1}, {"ts": 1759999999000, "value": 2.5e3}]'),
        ],
    ),
    "senml json": (
        {},
        [
            (b"s/a", b'[{"bn":"a:","bt":1.76e9,"bu":"Cel","n":"t","v":23.1},{"n":"u","t":-5,"v":1,"s":2}]'),
            (b"s/b", b'[{"bn":"b","bv":2,"bs":1},{"n":"x","v":1.5},{"n":"y","vb":true},{"n":"z","vs":"x"}]'),
            (b"s/c", b'[{"bn":"b","bt":1.76e9,"n":"x","v":1.5},{"n":"y","u":"Cel","v":2,"t":-1}]'),
        ],
    ),
    "senml cbor": (
        {},
        [
            (b"s/a", bytes.fromhex("82a4216161 22fb41da3a2f00000000 0061 74 02fb4037199999999999a3006175 0624 0201")),
            (b"s/b", bytes.fromhex("81a2006161 02c4822119 6ab3")),
        ],
    ),
    "line": (
        {"booleans": True},
        [
            (b"s/a", b"weather,location=us-midwest temperature=82,humidity=71.2,pressure=1013i 1760000000000000000"),
            (b"s/c", b"a,b=1 x=1,y=2 1760000000000000000\na,b=2 x=3,y=4 1760000000000000000"),
            (b"s/b", b'm\\ a,b\\=c=d\\,e f\\ g="a \\" b",x=t,y=5u\ncpu,host=a usage=1.5 1760000000000'),
        ],
    ),
    "sparkplug": (
        {"booleans": True},
        [
            (b"spBv1.0/g/NBIRTH/n", sparkplug(0, birth=True)),
            (b"spBv1.0/g/NDATA/n", sparkplug(1, birth=False)),
            (b"spBv1.0/g/DBIRTH/n/d", sparkplug(2, birth=True)),
            (b"spBv1.0/g/DDATA/n/d", sparkplug(3, birth=False)),
            (b"spBv1.0/g/DDEATH/n/d", sparkplug(4, birth=False)),
            (b"spBv1.0/g/NDEATH/n", sparkplug(5, birth=True)),
            (b"spBv1.0/STATE/scada", b'{"online":true,"timestamp":1760000000000}'),
        ],
    ),
}
PIECES = [
    b"\x00", b"\xff", b"\x80", b'"', b"{", b"}", b"[", b"]", b",", b":", b"=", b" ", b"\n", b"\\", b"-", b".", b"_",
    b"e", b"1e999", b"nan", b"null", b"true", b"9" * 25, b"\xed\xa0\x80", b"\xc2\xb0", b"\x1b", b"i", b"u", b"0", b"00",
]  # fmt: skip


def mutant(rng: random.Random, payload: bytes) -> bytes:
    draw = rng.random
    for _ in range(1 + int(draw() * 3)):
        at, kind = int(draw() * (len(payload) + 1)), draw()
        if kind < 0.35:
            payload = payload[:at] + PIECES[int(draw() * len(PIECES))] + payload[at:]
        elif kind < 0.6:
            payload = payload[:at] + payload[at + 1 + int(draw() * 4) :]
        elif kind < 0.9 and payload:
            at = min(at, len(payload) - 1)
            payload = payload[:at] + bytes([int(draw() * 256)]) + payload[at + 1 :]
        else:
            payload = payload[: at + 1] + payload[at // 2 :]
    return payload


@pytest.mark.parametrize("name", CORPORA)
def test_no_payload_raises_and_every_row_is_sound(name: str) -> None:
    settings, corpus = CORPORA[name]
    rng = random.Random(name)
    desk = Desk(settings)
    unheard = name != "sparkplug"
    desk.decode(*corpus, *corpus, *corpus)  # so that the short ways are known
    rows, inputs = 0, INPUTS.get(name, USUAL)
    for start in range(0, inputs, BATCH):
        chosen = [corpus[int(rng.random() * len(corpus))] for _ in range(BATCH)]
        messages = [(topic, mutant(rng, payload)) for topic, payload in chosen]
        before = desk.drops.total()
        decoded = desk.decode(*messages, now_ns=NOW_NS + start * 10_000)
        readings = decoded.readings
        assert np.isfinite(readings.value).all()
        assert ((readings.time_ns >= EARLIEST_NS) & (readings.time_ns <= NOW_NS + 2 * DAY_NS)).all()
        assert (np.diff(decoded.message) >= 0).all()
        rows += len(readings)
        if unheard:  # a message is read or counted, never passed over
            assert desk.drops.total() - before >= BATCH - len(np.unique(decoded.message))
        desk.decoder.sparkplug.take_commands()
    assert rows > inputs / 100
    assert desk.drops.total() > inputs / 10
