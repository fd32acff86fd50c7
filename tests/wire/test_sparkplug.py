"""Sparkplug B message by message: values of every type, what is skipped, and each malformed form."""

import struct
from typing import Any

import pytest

from stepahead.wire.formats.sparkplug import parse_topic
from stepahead.wire.formats.sparkplug_schema import DataType, Payload
from tests.wire.desk import NOW_MS, NOW_NS, Desk

BIRTH, DATA = b"spBv1.0/g/NBIRTH/n", b"spBv1.0/g/NDATA/n"


def message(seq: int | None, *metrics: dict[str, Any], stamp: int = NOW_MS) -> bytes:
    payload = Payload(timestamp=stamp)
    if seq is not None:
        payload.seq = seq
    for metric in metrics:
        quality = metric.pop("quality", None)
        made = payload.metrics.add(timestamp=NOW_MS)
        for name, value in metric.items():
            if isinstance(value, Payload.DataSet | Payload.Template):
                getattr(made, name).CopyFrom(value)
            else:
                setattr(made, name, value)
        if quality is not None:
            made.properties.keys.append("Quality")
            made.properties.values.add(type=3, int_value=quality)
    return bytes(payload.SerializeToString())


VALUES: list[tuple[DataType, dict[str, object], float]] = [
    (DataType.INT8, {"int_value": 2**32 - 5}, -5),
    (DataType.INT8, {"int_value": 251}, -5),
    (DataType.INT16, {"int_value": 2**16 - 30000}, -30000),
    (DataType.INT32, {"int_value": 2**32 - 1}, -1),
    (DataType.INT64, {"long_value": 2**64 - 7}, -7),
    (DataType.INT32, {"long_value": 2**64 - 7}, -7),
    (DataType.UINT8, {"int_value": 250}, 250),
    (DataType.UINT16, {"int_value": 52360}, 52360),
    (DataType.UINT32, {"int_value": 3293969225}, 3293969225),
    (DataType.UINT32, {"long_value": 3293969225}, 3293969225),
    (DataType.UINT64, {"long_value": 2**63}, 2**63),
    (DataType.FLOAT, {"float_value": 1.25}, 1.25),
    (DataType.DOUBLE, {"double_value": -12.5}, -12.5),
    (DataType.DOUBLE, {"double_value": 0.0}, 0),
    (DataType.UINT16, {"int_value": 0}, 0),
    (DataType.INT64, {"long_value": 0}, 0),
    (DataType.FLOAT, {"double_value": 2.5}, 2.5),
]


@pytest.mark.parametrize(("datatype", "value", "expected"), VALUES)
def test_values_of_every_type_by_name_and_by_alias(
    datatype: DataType, value: dict[str, object], expected: float
) -> None:
    for alias in (0, 1, 2**63):
        desk = Desk()
        births = message(0, {"name": "m", "alias": alias, "datatype": int(datatype), **value})
        for seq in range(1, 4):
            got = desk.rows((BIRTH, births), (DATA, message(seq, {"alias": alias, **value})))
            assert got[-1] == ("spBv1.0/g/n/m", NOW_NS, float(expected))
        assert desk.drops.as_dict() == {}


def test_a_type_that_stands_in_the_metric_itself_counts() -> None:
    """Birth: 32 bits with a sign; then the same alias with types of its own."""
    desk = Desk()
    desk.rows((BIRTH, message(0, {"name": "m", "alias": 1, "datatype": 3, "int_value": 7})))
    told: list[tuple[dict[str, object], float]] = [
        ({"datatype": int(DataType.UINT32), "int_value": 2**32 - 5}, 2**32 - 5),
        ({"datatype": int(DataType.INT32), "int_value": 2**32 - 5}, -5),
        ({"datatype": int(DataType.DOUBLE), "double_value": 2.5}, 2.5),
        ({"int_value": 2**32 - 5}, -5),
    ]
    for seq, (metric, value) in enumerate(told, start=1):
        assert [row[2] for row in desk.rows((DATA, message(seq, {"alias": 1} | metric)))] == [value]
    assert desk.drops.as_dict() == {}


def test_the_unit_of_a_metric_is_its_property() -> None:
    payload = Payload(timestamp=NOW_MS, seq=0)
    for name, unit in (("engUnit", "bar"), ("unit", "Cel"), ("note", "x")):
        metric = payload.metrics.add(name=name, datatype=int(DataType.DOUBLE), timestamp=NOW_MS, double_value=1.0)
        metric.properties.keys.append(name)
        metric.properties.values.add(type=int(DataType.STRING), string_value=unit)
    desk = Desk()
    desk.rows((BIRTH, payload.SerializeToString()))
    units = {key.rpartition("/")[2]: desk.decoder.units.of(slot) for key, slot in desk.keys.items()}
    assert units == {"engUnit": "bar", "unit": "Cel", "note": None}


def test_keys_by_template_captures_and_lists() -> None:
    desk = Desk({"filter": "spBv1.0/{group}/+/{node}/#", "key": "{group}.{node}.{device}/{field}", "ignore": ["b*"]})
    metrics = ({"name": "a/x", "datatype": 10, "double_value": 1.0}, {"name": "b", "datatype": 10, "double_value": 2.0})
    births = [(BIRTH, message(0)), (b"spBv1.0/g/DBIRTH/n/dev", message(1, *map(dict, metrics)))]
    assert desk.rows(*births) == [("g.n.dev/a/x", NOW_NS, 1.0)]
    assert desk.drops.as_dict() == {}


def test_booleans_scale_and_quality() -> None:
    desk = Desk({"booleans": True, "scale": 2.0})
    rows = desk.rows((BIRTH, message(0, {"name": "m", "datatype": 11, "boolean_value": True})))
    assert rows == [("spBv1.0/g/n/m", NOW_NS, 2.0)]
    desk = Desk()
    data = [{"alias": 1, "double_value": 1.0, "quality": quality} for quality in (192, 0, 500)]
    desk.rows((BIRTH, message(0, {"name": "m", "alias": 1, "datatype": 10, "double_value": 0.5})))
    assert [value for _, _, value in desk.rows((DATA, message(1, *data)))] == [1.0]
    assert desk.drops.as_dict() == {"quality_bad": 2}


BORN = message(0, {"name": "m", "alias": 1, "datatype": 10, "double_value": 0.5},
               {"name": "i", "alias": 2, "datatype": 5, "int_value": 1})  # fmt: skip
NAN, INF = float("nan"), float("inf")
ABSENT: dict[str, object] = {}
METRICS: list[tuple[dict[str, object], str]] = [
    ({"alias": 9, "double_value": 1.0}, "alias_unknown"),
    ({"double_value": 1.0}, "alias_unknown"),
    ({"alias": 1}, "value_missing"),
    ({"alias": 1, "is_null": True}, "value_missing"),
    ({"alias": 1, "is_null": True, "double_value": 1.0}, "value_missing"),
    ({"alias": 1, "double_value": NAN}, "value_not_finite"),
    ({"alias": 1, "double_value": INF}, "value_not_finite"),
    ({"alias": 1, "string_value": "1"}, "value_not_number"),
    ({"alias": 1, "int_value": 1}, "value_not_number"),
    ({"alias": 1, "boolean_value": True}, "value_not_number"),
    ({"alias": 2, "int_value": 256}, "value_too_large"),
    ({"alias": 2, "double_value": 1.0}, "value_not_number"),
    ({"name": "new", "int_value": 1}, "before_birth"),
    ({"name": "new", "datatype": 99, "int_value": 1}, "value_not_number"),
    ({"name": "new", "datatype": 11, "boolean_value": True}, "type_skipped"),
    ({"name": "new", "datatype": 12, "string_value": "x"}, "type_skipped"),
    ({"name": "new", "datatype": 13, "long_value": NOW_MS}, "type_skipped"),
    ({"name": "new", "datatype": 16, "dataset_value": Payload.DataSet(num_of_columns=1)}, "type_skipped"),
    ({"name": "new", "datatype": 17, "bytes_value": b"x"}, "type_skipped"),
    ({"name": "new", "datatype": 19, "template_value": Payload.Template(version="1")}, "type_skipped"),
    ({"name": "new", "datatype": 31, "bytes_value": struct.pack("<2d", 1, 2)}, "type_skipped"),
    ({"name": "x" * 1100, "datatype": 10, "double_value": 1.0}, "key_invalid"),
    ({"alias": 1, "double_value": 1.0, "timestamp": 5}, "time_absurd"),
    ({"alias": 1, "double_value": 1.0, "timestamp": NOW_MS + 2 * 86_400_000}, "time_absurd"),
    ({"alias": 1, "double_value": 1.0, "quality": 0}, "quality_bad"),
]


@pytest.mark.parametrize(("metric", "reason"), METRICS, ids=[f"{m}-{r}"[:60] for m, r in METRICS])
def test_each_malformed_metric_is_counted_and_leaves_the_others_alone(metric: dict[str, object], reason: str) -> None:
    desk = Desk()
    desk.rows((BIRTH, BORN))
    good = {"alias": 1, "double_value": 7.0}
    for seq in (1, 2):
        desk.drops.clear()
        rows = desk.rows((DATA, message(seq, dict(good), dict(metric), dict(good))))
        assert [value for _, _, value in rows] == [7.0, 7.0]
        assert desk.drops.as_dict() == {reason: 1}


WHOLE: list[tuple[bytes, bytes, str]] = [
    (DATA, b"\xff", "not_decodable"),
    (DATA, b"21.5", "not_decodable"),
    (DATA, b'{"value":1}', "not_decodable"),
    (DATA, message(None, {"alias": 1, "double_value": 1.0}), "not_decodable"),
    (DATA, message(256, {"alias": 1, "double_value": 1.0}), "not_decodable"),
    (BIRTH, message(None), "not_decodable"),
    (b"spBv1.0/g/DBIRTH/n/d", b"\x12\x05", "not_decodable"),
    (b"spBv1.0/g/NDEATH/n", b"\x12\x05", "not_decodable"),
    (b"spBv1.0/g/NDATA", message(1), "no_reading"),
    (b"spBv1.0/g/NDATA/n/d", message(1), "no_reading"),
    (b"spBv1.0/g/DDATA/n", message(1), "no_reading"),
    (b"spBv1.0/g/NOISE/n", message(1), "no_reading"),
    (b"spBv1.0/g//n", message(1), "no_reading"),
    (b"spBv1.0/g/NDATA/\xff", message(1), "not_utf8"),
    (DATA, b"\x00" * 200_000, "too_large"),
]


@pytest.mark.parametrize(("topic", "payload", "reason"), WHOLE, ids=[f"{t!r}-{p[:9]!r}" for t, p, _ in WHOLE])
def test_each_malformed_message_is_counted(topic: bytes, payload: bytes, reason: str) -> None:
    desk = Desk()
    desk.rows((BIRTH, BORN))
    for _ in range(2):
        desk.drops.clear()
        assert desk.rows((topic, payload)) == []
        assert desk.drops.as_dict() == {reason: 1}


def test_commands_and_host_states_are_no_readings_and_nothing_bad() -> None:
    desk = Desk()
    state = b'{"online":true,"timestamp":1760000000000}'
    topics = (b"spBv1.0/g/NCMD/n", b"spBv1.0/g/DCMD/n/d", b"spBv1.0/STATE/scada")
    assert desk.rows(*((topic, state) for topic in topics)) == []
    assert desk.drops.as_dict() == {}


def test_topics_of_a_flood_of_nodes_are_bounded_by_series() -> None:
    desk = Desk(limit=1)
    births = [(b"spBv1.0/g/NBIRTH/n%d" % i, BORN) for i in range(50)]
    assert len(desk.rows(*births)) == 1
    assert desk.drops.as_dict() == {"too_many_series": 99}


def test_another_format_on_a_sparkplug_topic_is_left_to_the_settings() -> None:
    assert Desk({"format": "number"}).rows((DATA, b"1")) == [(DATA.decode(), NOW_NS, 1.0)]


@pytest.mark.parametrize("text", ["", "spBv1.0", "spBv1.0/g/NDATA/", "spAv1.0/g/NDATA/n", "spBv1.0/STATE/a/b/c/d"])
def test_what_is_no_topic(text: str) -> None:
    assert parse_topic(text) is None
