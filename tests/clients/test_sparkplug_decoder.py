"""Our Sparkplug decoder reads what sparkplug-payload, another's library, writes."""

import base64
from typing import Any

import numpy as np

from stepahead.contract.reasons import DropCounter
from stepahead.contract.settings import SubscriptionSettings
from stepahead.wire.decoder import Decoder
from stepahead.wire.delivery import Delivery
from tests.clients.node import sparkplug

MS = 1_760_000_000_000


def test_births_and_data_of_another_library_are_read() -> None:
    """Every numeric type, by name in the birth and by alias alone in the data; text is no reading."""
    values: dict[str, tuple[str, Any, Any]] = {
        "i8": ("Int8", -7, -8),
        "i32": ("Int32", -70_000, 70_001),
        "i64": ("Int64", -5_000_000_000, 5_000_000_001),
        "u16": ("UInt16", 60_000, 60_001),
        "u64": ("UInt64", 9_000_000_000, 9_000_000_001),
        "f": ("Float", 1.5, 2.5),
        "d": ("Double", 0.1, -0.2),
        "s": ("String", "warm", "cold"),
    }
    born = [
        {"name": f"m/{name}", "alias": 10 + i, "type": kind, "value": first, "timestamp": MS}
        for i, (name, (kind, first, _)) in enumerate(values.items())
    ]
    bd_seq = {"name": "bdSeq", "type": "UInt64", "value": 3, "timestamp": MS}
    told = [
        {"alias": 10 + i, "type": kind, "value": then, "timestamp": MS + 1000}
        for i, (kind, _, then) in enumerate(values.values())
    ]
    payloads = [
        {"timestamp": MS, "seq": 0, "metrics": [bd_seq]},
        {"timestamp": MS, "seq": 1, "metrics": born},
        {"timestamp": MS + 1000, "seq": 2, "metrics": told},
    ]
    encoded = [base64.b64decode(text) for text in sparkplug([{"encode": payload} for payload in payloads])]
    topics = [b"spBv1.0/plant/NBIRTH/edge", b"spBv1.0/plant/DBIRTH/edge/pump", b"spBv1.0/plant/DDATA/edge/pump"]
    keys: list[str] = []

    def intern(key: str) -> int:
        if key not in keys:
            keys.append(key)
        return keys.index(key)

    drops = DropCounter()
    settings = SubscriptionSettings.model_validate({"filter": "spBv1.0/plant/#", "format": "sparkplug"})
    decoder = Decoder([settings], intern, drops, "stepahead/v1")
    now_ns = (MS + 2000) * 10**6
    deliveries = [Delivery(topic, payload, 0, 0, now_ns) for topic, payload in zip(topics, encoded, strict=True)]
    readings = decoder.decode(deliveries).readings
    found: dict[str, list[tuple[int, float]]] = {}
    for slot, time_ns, value in zip(readings.series, readings.time_ns, readings.value, strict=True):
        found.setdefault(keys[slot], []).append((int(time_ns) // 10**6, float(value)))
    numbers = {name: pair for name, pair in values.items() if name != "s"}
    by_metric = {key.rpartition("m/")[2]: rows for key, rows in found.items() if "m/" in key}
    assert by_metric.keys() == numbers.keys()
    for name, (_, first, then) in numbers.items():
        assert [time for time, _ in by_metric[name]] == [MS, MS + 1000]
        np.testing.assert_allclose([value for _, value in by_metric[name]], [first, then], rtol=0)
    assert drops.total() <= 2  # the text, once in the birth and once in the data, if it is counted
