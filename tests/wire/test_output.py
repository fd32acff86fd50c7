"""SenML, line protocol, templates and Sparkplug B: what stands in them is what the JSON message tells."""

import json
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from line_protocol_parser import parse_line

from stepahead.contract.errors import SettingsError
from stepahead.contract.settings import PublishSettings
from stepahead.wire.delivery import Delivery
from stepahead.wire.encoder import ForecastEncoder
from stepahead.wire.formats.sparkplug_schema import DataType, Payload
from stepahead.wire.output.senml import senml_name
from stepahead.wire.output.sparkplug import device_id, node_birth, stamped
from tests.wire.desk import Desk
from tests.wire.forecasts_double import KEYS, MS, forecasts

FINITE = st.floats(-1e300, 1e300, allow_subnormal=False)  # which the parser of lines does not read
ROWS = st.lists(st.tuples(FINITE, FINITE | st.sampled_from([math.nan, math.inf])), min_size=1, max_size=7)
KEY = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


def written(rows: list[tuple[float, float]], keys: list[str] = KEYS, **publish: Any) -> list[tuple[str, bytes]]:
    batch = forecasts([[value] for value, _ in rows], [error for _, error in rows], keys=len(keys))
    encoder = ForecastEncoder(PublishSettings.model_validate(publish), [0.9], keys.__getitem__)
    return [(row[0].decode(), row[1]) for row in encoder.encode(batch)]


def told(rows: list[tuple[float, float]], keys: list[str] = KEYS) -> list[dict[str, Any]]:
    """The same forecasts as JSON messages."""
    return [json.loads(payload) for _, payload in written(rows, keys)]


def resolved(pack: list[dict[str, Any]]) -> dict[tuple[str, float], Any]:
    """A pack's records by name and absolute time (RFC 8428 §4.6)."""
    base, base_time, found = "", 0.0, {}
    for record in pack:
        assert set(record) <= {"bn", "bt", "n", "t", "v", "vs", "vb"}
        assert len({"v", "vs", "vb"} & set(record)) == 1
        base, base_time = record.get("bn", base), record.get("bt", base_time)
        found[base + record["n"], round(base_time + record.get("t", 0.0), 3)] = record.get(
            "v", record.get("vs", record.get("vb"))
        )
    return found


@settings(max_examples=40, deadline=None)
@given(ROWS)
def test_senml_packs_resolve_to_what_is_told(rows: list[tuple[float, float]]) -> None:
    for (_, payload), message in zip(written(rows, format="senml"), told(rows), strict=True):
        name = senml_name(message["series"])
        now, then = round(message["issued_at"] / 1000, 3), round(message["valid_at"] / 1000, 3)
        fields = {"observed", "error", "anomaly", "status", "model", "id"} & set(message)
        expected = {(f"{name}/{field}", now): message[field] for field in fields}
        expected |= {(f"{name}/{field}", then): message[field] for field in ("mean", "lower", "upper")}
        assert resolved(json.loads(payload)) == expected | {(f"{name}/forecast", then): message["value"]}


@settings(max_examples=40, deadline=None)
@given(KEY, KEY)
def test_senml_names_are_legal_and_do_not_meet(one: str, other: str) -> None:
    name = senml_name(one)
    assert set(name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-:./_")
    assert name[0].isalnum()  # RFC 8428 §4.5.1
    assert (name == senml_name(other)) == (one == other)


@settings(max_examples=40, deadline=None)
@given(ROWS, KEY)
def test_a_line_is_read_back_by_a_parser_that_is_not_ours(rows: list[tuple[float, float]], key: str) -> None:
    keys = [*KEYS, key]
    for (_, payload), message in zip(written(rows, keys, format="line"), told(rows, keys), strict=True):
        assert b"\n" not in payload
        point = parse_line(payload.decode())
        assert (point["measurement"], point["time"]) == ("forecast", message["valid_at"] * 10**6)
        fields = {
            "value",
            "mean",
            "lower",
            "upper",
            "observed",
            "error",
            "anomaly",
            "status",
            "model",
            "id",
            "issued_at",
        }
        assert point["fields"] == {name: message[name] for name in fields & set(message)}
        assert list(point["tags"]) == ["series"]


def test_a_plain_key_stands_in_the_tag_as_it_is() -> None:
    [(_, payload)] = written([(1.0, math.nan)], ["plant/line 1,a=b"], format="line")
    assert parse_line(payload.decode())["tags"] == {"series": "plant/line 1,a=b"}


@pytest.mark.parametrize("form", ["senml", "line"])
def test_a_run_holds_what_single_messages_hold(form: str) -> None:
    rows = [(float(i), 0.5) for i in range(7)]
    single = [payload for _, payload in written(rows, format=form)]
    batch = forecasts([[value] for value, _ in rows], [error for _, error in rows])
    publish = PublishSettings.model_validate({"mode": "batch", "format": form})
    message = np.array([0, 0, 0, 1, 1, 2, 2], np.int32)
    encoder = ForecastEncoder(publish, [0.9], KEYS.__getitem__)
    runs = [row[1] for row in encoder.encode(batch, message, [Delivery(b"a", b"", 0, 0, 0)] * 3)]
    for run, (start, end) in zip(runs, [(0, 3), (3, 5), (5, 7)], strict=True):
        if form == "line":
            assert run.split(b"\n") == single[start:end]
        else:
            assert json.loads(run) == [record for pack in single[start:end] for record in json.loads(pack)]


def test_a_template_puts_fields_where_it_says() -> None:
    template = '{"k":{series:json},"v":{value:.2f},"e":{error:.1f},"a":{anomaly},"x":{"t":{valid_at}}}'
    rows = written([(1.25, math.nan), (2.0, 0.25)], payload=template, topic="out/{series}")
    assert [topic for topic, _ in rows] == ["out/plant/pump", 'out/quo"te/ü%0A']
    assert [json.loads(payload) for _, payload in rows] == [
        {"k": "plant/pump", "v": 1.25, "e": None, "a": False, "x": {"t": MS + 1000}},
        {"k": 'quo"te/ü\n', "v": 2.0, "e": 0.2, "a": True, "x": {"t": MS + 1001}},
    ]
    assert [payload for _, payload in written([(1.5, 0.0)], payload="{value}")] == [b"1.5"]


TEMPLATES = [("{valu}", "no field 'valu'"), ("none", "no {field}"), ("{status:.2f}", "status"), ("{value:d}", "value")]


@pytest.mark.parametrize(("template", "words"), TEMPLATES)
def test_a_template_that_cannot_be_filled_is_refused(template: str, words: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(words)):
        written([(1.0, 0.0)], payload=template)


@settings(max_examples=40, deadline=None)
@given(ROWS)
def test_sparkplug_metrics_tell_the_same(rows: list[tuple[float, float]]) -> None:
    for (topic, payload), message in zip(written(rows, format="sparkplug"), told(rows), strict=True):
        assert topic == f"spBv1.0/stepahead/DDATA/stepahead/{device_id(message['series'])}"
        metrics = {metric.name: metric for metric in Payload.FromString(payload).metrics}
        assert {metric.timestamp for metric in metrics.values()} == {message["issued_at"]}
        read: dict[str, Any] = {}
        for name, metric in metrics.items():
            kind = metric.WhichOneof("value")
            assert (kind is None) == metric.is_null
            if kind is not None:
                read[name] = getattr(metric, kind)
        assert read == {name: value for name, value in message.items() if name not in ("series", "level")}
        assert metrics["value"].datatype == DataType.DOUBLE


NUMBERS = ("value", "mean", "lower", "upper", "observed")


@pytest.mark.parametrize("form", ["senml", "line", "sparkplug"])
@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.tuples(FINITE, st.just(0.5)), min_size=1, max_size=7))
def test_our_own_decoder_reads_what_we_write(form: str, rows: list[tuple[float, float]]) -> None:
    """Round trip: every number, at its time, under names that tell the series apart."""
    desk = Desk({"format": form})
    messages = written(rows, format=form)
    if form == "sparkplug":
        bodies = [stamped(payload, MS + 10, seq + 1) for seq, (_, payload) in enumerate(messages)]
        births = [(b"spBv1.0/stepahead/NBIRTH/stepahead", stamped(node_birth(7, MS), MS, 0))]
        data = births + [(topic.encode(), body) for (topic, _), body in zip(messages, bodies, strict=True)]
    else:
        data = [(b"in/x", payload) for _, payload in messages]
    found = {(key, round(time_ns, -4)): value for key, time_ns, value in desk.rows(*data)}  # SenML has microseconds
    for (_, payload), message in zip(messages, told(rows), strict=True):
        key, issued_ns, valid_ns = message["series"], message["issued_at"] * 10**6, message["valid_at"] * 10**6
        for name in NUMBERS:
            if form == "senml":
                place = f"in/x/{senml_name(key)}/{'forecast' if name == 'value' else name}"
                assert found[place, issued_ns if name == "observed" else valid_ns] == message[name]
            elif form == "line":
                tag = parse_line(payload.decode())["tags"]["series"]
                assert found[f"in/x/forecast,series={tag}/{name}", valid_ns] == message[name]
            else:
                place = f"spBv1.0/stepahead/stepahead/{device_id(key)}/{name}"
                assert found[place, issued_ns] == message[name]


@settings(max_examples=40, deadline=None)
@given(KEY, KEY)
def test_device_ids_are_legal_and_do_not_meet(one: str, other: str) -> None:
    assert not set("/+#\0") & set(device_id(one))
    assert (device_id(one) == device_id(other)) == (one == other)


@pytest.mark.parametrize(
    "publish",
    [
        {"format": "sparkplug", "mode": "batch"},
        {"format": "sparkplug", "topic": "a/{series}"},
        {"format": "sparkplug", "retain": True},
        {"format": "senml", "payload": "{value}"},
        {"format": "senml", "layout": "columns", "mode": "batch"},
        {"sparkplug_group": "a/b"},
        {"sparkplug_node": "+"},
    ],
)
def test_what_does_not_fit_together_is_refused(publish: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"publish|format|payload|layout|sparkplug"):
        PublishSettings.model_validate(publish)
