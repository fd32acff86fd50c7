"""Payloads of anybody's making: every decoder survives them, gives finite numbers only, and says why it rejects.

Mutations of examples, seeded. A format is fuzzed when `SubscriptionSettings.format` knows it; one without examples
here fails the test.
"""

import random
import struct
import time
from collections import Counter
from typing import get_args

import numpy as np
import pytest

from stepahead.contract.reasons import DropCounter
from stepahead.contract.records import REFUSED
from stepahead.contract.settings import PublishSettings, SubscriptionSettings
from stepahead.forecasting.engine import Engine
from stepahead.learning.trainer import InlineTrainer
from stepahead.wire.decoder import Decoder
from stepahead.wire.delivery import Delivery
from stepahead.wire.encoder import ForecastEncoder
from tests.service.engine_double import START_NS, small_settings

NOW_NS = START_NS
JSON = (
    b'{"ts": 1760000000000, "value": 21.5}',
    b'{"temperature": 21.5, "air": {"humidity": 40, "deep": {"er": -1e3}}, "name": "hall"}',
    b'[{"ts": "2025-10-09T08:53:20Z", "value": 1}, {"ts": "2025-10-09T08:53:21+02:00", "v": 2e-3}]',
    b"[[1759999999, 1.5], [1759999999500, 2]]",
    b'{"value": null, "t": true, "x": "12.5", "list": [1, 2, {"y": 3}]}',
    b"[1, 2.5, -3]",
    b'{"ts": 1760000000000, "a\\"b": 1.5, "c\\n\\u0000\\\\d": "x"}',
)
EXAMPLES: dict[str, tuple[bytes, ...]] = {
    "auto": (b"21.5", b" -1e-3 ", b"ON", b'"21.5"', *JSON),
    "number": (b"21.5", b"-1e300", b"0x10", b"1_000", b"NaN", b"+5", b"  7\n"),
    "json": JSON,
    "senml": (
        b'[{"bn":"a:","bt":1.76e9,"bu":"Cel","n":"t","v":23.1},{"n":"u","t":-5,"v":1,"s":2}]',
        b'[{"bn":"b","bv":2,"bs":1},{"n":"x","v":1.5},{"n":"y","vb":true},{"n":"z","vs":"x"}]',
        bytes.fromhex("82a4216161 22fb41da3a2f00000000 0061 74 02fb4037199999999999a3006175 0624 0201"),
    ),
    "line": (
        b"weather,location=us-midwest temperature=82,humidity=71.2,pressure=1013i 1760000000000000000",
        b'm\\ a,b\\=c=d\\,e f\\ g="a \\" b",x=t,y=5u\ncpu,host=a usage=1.5 1760000000000',
    ),
}
"""One line for each format: valid payloads and near misses, from which the mutations start."""
SPICE = (
    b"NaN", b"Infinity", b"-inf", b"1e999", b"-1e308", b"1e-400", b"9" * 400, b"null", b"true", b'"', b"\\u0000", b"\0",
    b"\xff\xfe", b"\xef\xbb\xbf", b"{" * 40, b"[" * 2000, b"]", b"}", b",", b":", b"1760000000000", b"0", b"-0", b"ts",
    b"value", b"18446744073709551616", b"9223372036854775807", b'{"value":', b"\xed\xa0\x80", b"e", b".", b"-",
    b'\\"', b"\\n", b"\\\\",
)  # fmt: skip
OPTIONS: tuple[dict[str, object], ...] = (
    {},
    {"booleans": True},
    {"value": "/air/deep/er", "time": "ts", "key": "{topic}/{field}"},
    {"readings": "/list", "key": "{topic}"},
    {"time_unit": "s"},
    {"only": ("temperature", "x"), "ignore": ("ts",)},
)
BATCH = 50


def formats() -> list[str]:
    """All but Sparkplug: its births and deaths are no rejects and hold no reading; `tests/wire/test_fuzz.py` has it."""
    return [name for name in get_args(SubscriptionSettings.model_fields["format"].annotation) if name != "sparkplug"]


def test_every_format_has_examples() -> None:
    assert set(EXAMPLES) >= set(formats())


class Mutator:
    """Cuts, flips, repeats and spices examples, and makes new ones from parts of two."""

    def __init__(self, examples: tuple[bytes, ...], seed: int) -> None:
        self.examples, self.random = examples, random.Random(seed)

    def payload(self) -> bytes:
        rng = self.random
        data = bytearray(rng.choice(self.examples))
        for _ in range(rng.choice((1, 1, 2, 3, 8))):
            at = rng.randrange(len(data) + 1)
            kind = rng.randrange(8)
            if kind == 0 and data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            elif kind == 1:
                data[at:at] = rng.choice(SPICE)
            elif kind == 2:
                data[at : at + rng.randrange(1, 8)] = rng.choice(SPICE)
            elif kind == 3:
                del data[at : at + rng.randrange(1, 12)]
            elif kind == 4:
                other = rng.choice(self.examples)
                data[at:] = other[rng.randrange(len(other) + 1) :]
            elif kind == 5:
                end = min(len(data), at + rng.randrange(1, 20))
                data[at:at] = data[at:end] * rng.choice((1, 2, 50))
            elif kind == 6:
                data[at:at] = repr(struct.unpack("<d", rng.randbytes(8))[0]).encode()
            else:
                data[at : at + 1] = rng.randbytes(rng.randrange(1, 9))
        return bytes(data[:4096])


@pytest.mark.timeout(3600)
def test_no_payload_crashes_and_nothing_that_is_not_finite_comes_of_any(long_form: bool) -> None:
    inputs = 1_000_000 if long_form else 20_000
    each = -(-inputs // (len(formats()) * len(OPTIONS)))
    read, rejected, reasons, began = 0, 0, Counter[str](), time.monotonic()
    for number, name in enumerate(formats()):
        for variant, options in enumerate(OPTIONS):
            drops = DropCounter()
            slots: dict[str, int] = {}

            def intern(key: str, slots: dict[str, int] = slots) -> int:
                key.encode()  # a key is text that can be published
                return slots.setdefault(key, len(slots)) if len(slots) < 500 or key in slots else REFUSED

            settings = SubscriptionSettings.model_validate({"filter": "a/#", "format": name, **options})
            decoder = Decoder([settings], intern, drops, "stepahead/v1", 2048)
            mutator = Mutator(EXAMPLES[name], 1000 * number + variant)
            for start in range(0, each, BATCH):
                count = min(BATCH, each - start)
                # Often a known topic, whose shapes the decoder has learnt, and now and then a spoilt one.
                topics = [b"a/%d" % mutator.random.randrange(8) for _ in range(count)]
                if start % 1000 == 0:
                    topics[0] = mutator.random.choice((b"a/\xff", b"b", b"a/" + b"x" * 300, b"stepahead/v1/status"))
                deliveries = [Delivery(topic, mutator.payload(), 2, 1, NOW_NS) for topic in topics]
                before = drops.total()
                decoded = decoder.decode(deliveries)
                values, times = decoded.readings.value, decoded.readings.time_ns
                assert np.isfinite(values).all(), deliveries
                assert ((times > 0) & (times < 2**62)).all(), deliveries
                assert len(decoded.message) == len(values)
                # A message without a reading is one with a reason.
                silent = count - len(np.unique(decoded.message))
                assert drops.total() - before >= silent, deliveries
                read, rejected = read + count - silent, rejected + silent
            reasons.update(drops.as_dict())
    assert read > inputs // 20
    assert rejected > inputs // 20
    took_s = time.monotonic() - began
    print(f"{read + rejected} inputs in {took_s:.0f} s: {read} read, {rejected} rejected; drops {dict(reasons)}")


def test_whatever_is_read_what_is_published_is_finite() -> None:
    """Through the engine and the encoder: the widest numbers that decoders let pass, with fine-tunes on them."""
    settings = small_settings()
    engine = Engine(settings, InlineTrainer(settings.learning))
    encoder = ForecastEncoder(PublishSettings(prefix="out"), [0.9], engine.table.keys.__getitem__)
    decoder = Decoder([SubscriptionSettings(filter="a/#")], engine.intern, DropCounter(), "out")
    rng = random.Random(5)
    extremes = ("1.7976931348623157e308", "-1e101", "1e100", "-1e100", "5e-324", "0", "-0.0", "1e54", "-1e37", "3")
    published = refused = 0
    for second in range(400):
        payloads = [
            b'{"ts": %d, "value": %s}' % (1_700_000_000_000 + 1000 * second, rng.choice(extremes).encode())
            for _ in range(4)
        ]
        refused += sum(b"e308" in payload or b"e101" in payload for payload in payloads)
        deliveries = [Delivery(b"a/%d" % i, payload, 2, 1, NOW_NS) for i, payload in enumerate(payloads)]
        forecasts = engine.step(decoder.decode(deliveries).readings)
        for column in (forecasts.value, forecasts.lower, forecasts.upper):
            assert np.isfinite(column).all(), second
        for _, payload in encoder.encode(forecasts):
            assert b"NaN" not in payload
            assert b"Infinity" not in payload
            published += 1
    assert engine.drops.as_dict() == {"value_too_large": refused}
    assert published == 1600 - refused
