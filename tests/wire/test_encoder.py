import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepahead.contract.errors import BrokenLawError
from stepahead.contract.records import STATUS_NAMES
from stepahead.contract.settings import PublishSettings
from stepahead.wire.delivery import Delivery
from stepahead.wire.encoder import ForecastEncoder, encode_status, offline_status, status_topic
from stepahead.wire.topics import forecast_topic
from tests.wire.forecasts_double import KEYS, MS, forecasts

OUT = PublishSettings(prefix="out")
FINITE = st.floats(-1e300, 1e300)


@given(st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=7))
def test_every_number_reads_back_equal(pairs: list[tuple[float, float]]) -> None:
    batch = forecasts([[value] for value, _ in pairs], [error for _, error in pairs])
    rows = ForecastEncoder(OUT, [0.9], KEYS.__getitem__).encode(batch)
    for i, (topic, payload) in enumerate(rows):
        key = KEYS[i % 3]
        assert topic.decode() == forecast_topic("out", key)
        assert json.loads(payload) == {
            "series": key,
            "issued_at": MS + i,
            "valid_at": MS + 1000 + i,
            "value": pairs[i][0],
            "mean": batch.mean[i],
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
    read = [json.loads(payload) for _, payload in ForecastEncoder(OUT, [0.9], KEYS.__getitem__).encode(batch)]
    assert ["error" in row for row in read] == [False, True, False]
    assert all("path" not in row and "intervals" not in row for row in read)


def test_horizon_and_levels_add_path_and_intervals() -> None:
    batch = forecasts([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [0.0, 0.0], levels=2)
    read = [json.loads(payload) for _, payload in ForecastEncoder(OUT, [0.8, 0.95], KEYS.__getitem__).encode(batch)]
    assert [row["path"] for row in read] == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    assert [row["value"] for row in read] == [1.0, 4.0]
    assert read[1]["intervals"] == [
        {"level": 0.8, "lower": 3.0, "upper": 5.0},
        {"level": 0.95, "lower": 2.0, "upper": 6.0},
    ]
    assert (read[1]["level"], read[1]["lower"], read[1]["upper"]) == (0.8, 3.0, 5.0)


def test_nothing_that_is_not_finite_leaves() -> None:
    encoder = ForecastEncoder(OUT, [0.9], KEYS.__getitem__)
    for bad in (math.nan, math.inf):
        with pytest.raises(BrokenLawError):
            encoder.encode(forecasts([[1.0], [bad]], [0.0, 0.0]))


def test_none_gives_none_and_keys_are_asked_once() -> None:
    asked: list[int] = []

    def key_of(slot: int) -> str:
        asked.append(slot)
        return KEYS[slot]

    encoder = ForecastEncoder(OUT, [0.9], key_of)
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
    rows = ForecastEncoder(OUT, [0.9], KEYS.__getitem__).encode(forecasts(values, [0.0] * 2000))
    assert [[json.loads(payload)["value"]] for _, payload in rows] == values


def test_status() -> None:
    assert json.loads(encode_status("online", series=3, text="ä")) == {"status": "online", "series": 3, "text": "ä"}
    assert offline_status() == b'{"status":"offline"}'
    assert status_topic("stepahead/v1") == "stepahead/v1/status"


def test_a_template_names_the_topics() -> None:
    encoder = ForecastEncoder(PublishSettings(prefix="out", topic="{prefix}/x-{series}/next"), [0.9], KEYS.__getitem__)
    topics = [topic.decode() for topic, _ in encoder.encode(forecasts([[1.0]] * 3, [0.0] * 3))]
    assert topics == ["out/x-plant/pump/next", 'out/x-quo"te/ü%0A/next', "out/x-%2Flead%2B%23/next"]


def test_only_anomalies_leave_when_only_they_are_asked_for() -> None:
    encoder = ForecastEncoder(PublishSettings(mode="anomaly"), [0.9], KEYS.__getitem__)
    rows = encoder.encode(forecasts([[float(i)] for i in range(5)], [0.0] * 5))
    assert [json.loads(payload)["value"] for _, payload in rows] == [1.0, 3.0]


RUNS = st.lists(st.integers(1, 40), min_size=1, max_size=60)


@pytest.mark.parametrize("layout", ["objects", "columns"])
@pytest.mark.parametrize("levels", [[0.9], [0.8, 0.95]])
@settings(max_examples=25, deadline=None)
@given(RUNS)
def test_one_message_leaves_for_each_that_came(layout: str, levels: list[float], runs: list[int]) -> None:
    """What stands in the messages is what single messages would tell, in the same order."""
    n = sum(runs)
    batch = forecasts([[float(i), 0.0] for i in range(n)], [math.nan if i % 3 else 0.5 for i in range(n)], len(levels))
    message = np.repeat(2 * np.arange(len(runs)), runs)  # some messages have no reading
    deliveries = [Delivery(b"in/%d" % i, b"", 0, 0, 0) for i in range(2 * len(runs))]
    publish = PublishSettings.model_validate({"prefix": "out", "mode": "batch", "layout": layout})
    rows = ForecastEncoder(publish, levels, KEYS.__getitem__).encode(batch, message, deliveries)
    assert [topic.decode() for topic, _ in rows] == [f"out/batch/in/{2 * i}" for i in range(len(runs))]
    single = [json.loads(payload) for _, payload in ForecastEncoder(OUT, levels, KEYS.__getitem__).encode(batch)]
    told = [entry for _, payload in rows for entry in entries(json.loads(payload))]
    assert told == single
    assert [len(entries(json.loads(payload))) for _, payload in rows] == runs


def test_forecasts_whose_message_is_not_known_are_batches_of_one() -> None:
    encoder = ForecastEncoder(PublishSettings(prefix="out", mode="batch"), [0.9], KEYS.__getitem__)
    rows = encoder.encode(forecasts([[1.0], [2.0]], [0.0, 0.0]))
    assert [row[0].decode() for row in rows] == ["out/batch/plant/pump", 'out/batch/quo"te/ü%0A']
    assert [[one["value"] for one in json.loads(row[1])] for row in rows] == [[1.0], [2.0]]


def entries(content: list[dict[str, object]] | dict[str, list[object]]) -> list[dict[str, object]]:
    """Forecasts of a message, from columns as if they were objects."""
    if isinstance(content, list):
        return content
    level = content.pop("level")
    rows = [dict(zip(content, row, strict=True)) for row in zip(*content.values(), strict=True)]
    for row in rows:
        lower, upper = row.pop("lower"), row.pop("upper")
        if isinstance(level, list):
            row["intervals"] = [
                {"level": each, "lower": low, "upper": high}
                for each, low, high in zip(level, lower, upper, strict=True)  # type: ignore[call-overload]
            ]
            row |= {"level": level[0], "lower": lower[0], "upper": upper[0]}  # type: ignore[index]
        else:
            row |= {"level": level, "lower": lower, "upper": upper}
        if row["error"] is None:
            del row["error"]
    return rows


def test_columns_without_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="layout = columns needs mode = batch"):
        PublishSettings(layout="columns")
