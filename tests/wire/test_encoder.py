import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepahead.contract.errors import BrokenLawError
from stepahead.contract.records import STATUS_NAMES, Forecasts
from stepahead.wire.encoder import ForecastEncoder, encode_status, offline_status, status_topic
from stepahead.wire.topics import forecast_topic

KEYS = ["plant/pump", 'quo"te/ü\n', "/lead+#"]
MS = 1_760_000_000_000


def forecasts(values: list[list[float]], errors: list[float], levels: int = 1) -> Forecasts:
    n = len(values)
    value = np.array(values, dtype=np.float64)
    return Forecasts(
        reading=np.arange(n),
        series=(np.arange(n) % len(KEYS)).astype(np.int32),
        issued_at_ns=(MS + np.arange(n)) * 10**6 + 999,
        valid_at_ns=(MS + 1000 + np.arange(n)) * 10**6,
        value=value,
        lower=value[:, :1] - np.arange(1, levels + 1),
        upper=value[:, :1] + np.arange(1, levels + 1),
        observed=value[:, 0] + 0.5,
        error=np.array(errors),
        anomaly=np.arange(n) % 2 == 1,
        score=np.full(n, math.nan),
        status=(np.arange(n) % 3).astype(np.int8),
        model=np.arange(n) + 12,
        id=np.array([2**64 - 1 - i for i in range(n)], dtype=np.uint64),
    )


FINITE = st.floats(-1e300, 1e300)


@given(st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=7))
def test_every_number_reads_back_equal(pairs: list[tuple[float, float]]) -> None:
    batch = forecasts([[value] for value, _ in pairs], [error for _, error in pairs])
    rows = ForecastEncoder("out", [0.9], KEYS.__getitem__).encode(batch)
    for i, (topic, payload) in enumerate(rows):
        key = KEYS[i % 3]
        assert topic.decode() == forecast_topic("out", key)
        assert json.loads(payload) == {
            "series": key,
            "issued_at": MS + i,
            "valid_at": MS + 1000 + i,
            "value": pairs[i][0],
            "lower": batch.lower[i, 0],
            "upper": batch.upper[i, 0],
            "level": 0.9,
            "observed": batch.observed[i],
            "error": pairs[i][1],
            "anomaly": i % 2 == 1,
            "status": STATUS_NAMES[i % 3],
            "model": 12 + i,
            "id": f"{2**64 - 1 - i:016x}",
        }


def test_an_unknown_error_is_left_out() -> None:
    batch = forecasts([[1.0], [2.0], [3.0]], [math.nan, 0.25, math.inf])
    read = [json.loads(payload) for _, payload in ForecastEncoder("out", [0.9], KEYS.__getitem__).encode(batch)]
    assert ["error" in row for row in read] == [False, True, False]
    assert all("path" not in row and "intervals" not in row for row in read)


def test_horizon_and_levels_add_path_and_intervals() -> None:
    batch = forecasts([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [0.0, 0.0], levels=2)
    read = [json.loads(payload) for _, payload in ForecastEncoder("out", [0.8, 0.95], KEYS.__getitem__).encode(batch)]
    assert [row["path"] for row in read] == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    assert [row["value"] for row in read] == [1.0, 4.0]
    assert read[1]["intervals"] == [
        {"level": 0.8, "lower": 3.0, "upper": 5.0},
        {"level": 0.95, "lower": 2.0, "upper": 6.0},
    ]
    assert (read[1]["level"], read[1]["lower"], read[1]["upper"]) == (0.8, 3.0, 5.0)


def test_nothing_that_is_not_finite_leaves() -> None:
    encoder = ForecastEncoder("out", [0.9], KEYS.__getitem__)
    for bad in (math.nan, math.inf):
        with pytest.raises(BrokenLawError):
            encoder.encode(forecasts([[1.0], [bad]], [0.0, 0.0]))


def test_none_gives_none_and_keys_are_asked_once() -> None:
    asked: list[int] = []

    def key_of(slot: int) -> str:
        asked.append(slot)
        return KEYS[slot]

    encoder = ForecastEncoder("out", [0.9], key_of)
    batch = forecasts([[1.0]] * 6, [0.0] * 6)
    assert encoder.encode(batch[:0]) == []
    encoder.encode(batch)
    encoder.encode(batch)
    assert sorted(asked) == [0, 1, 2]
    encoder.forget()
    encoder.encode(batch[:1])
    assert len(asked) == 4


def test_many_come_in_order() -> None:
    values = [[float(i)] for i in range(2000)]
    rows = ForecastEncoder("out", [0.9], KEYS.__getitem__).encode(forecasts(values, [0.0] * 2000))
    assert [[json.loads(payload)["value"]] for _, payload in rows] == values


def test_status() -> None:
    assert json.loads(encode_status("online", series=3, text="ä")) == {"status": "online", "series": 3, "text": "ä"}
    assert offline_status() == b'{"status":"offline"}'
    assert status_topic("stepahead/v1") == "stepahead/v1/status"
