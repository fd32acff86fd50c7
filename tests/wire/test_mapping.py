"""What a subscription's settings make of payloads: units, scales, qualities, zones, paths, and formats left open."""

import json

import pytest

from stepahead.contract.errors import SettingsError
from stepahead.contract.settings import SubscriptionSettings
from stepahead.service.configuration import load_settings
from stepahead.wire.units import Units
from tests.wire.desk import NOW_MS, NOW_NS, Desk

SHELLY = (
    b'{"src":"shellyplus1pm-a8","dst":"shelly/events","method":"NotifyStatus","params":{"ts":1759999990.5,'
    b'"switch:0":{"id":0,"apower":8.9,"aenergy":{"by_minute":[1.1,2.2],"minute_ts":1759999980,"total":11.5},'
    b'"temperature":{"tC":53.3,"tF":127.9}}}}'
)
TASMOTA = b'{"Time":"2025-07-01T12:00:00","AM2301":{"Temperature":24.6,"Humidity":58.2},"TempUnit":"C"}'
TELEGRAF = (
    b'{"metrics":[{"fields":{"usage_idle":91.5,"usage_user":5},"name":"cpu","tags":{"cpu":"cpu0","host":"edge"},'
    b'"timestamp":1759999990},{"fields":{"used":7340032},"name":"mem","tags":{"host":"edge"},"timestamp":1759999990}]}'
)
KURA = b'{"sentOn":1759999990000,"metrics":{"temperature.external":5,"boiler":{"pressure":1.5},"state":"on"}}'
NODE_RED = b'{"topic":"boiler/flow","payload":"21.5","_msgid":"3c1f"}'
S = 10**9
CASES: list[tuple[dict[str, object], bytes, list[tuple[str, int, float]]]] = [
    ({"units": True}, "21.5 °C".encode(), [("s/a", NOW_NS, 21.5)]),
    ({"units": True}, b"12.5kWh", [("s/a", NOW_NS, 12.5)]),
    ({"units": True, "unit": "%"}, b"40 %", [("s/a", NOW_NS, 40.0)]),
    ({"units": True}, b'{"t":"21.5 C","value":"3 bar"}', [("s/a", NOW_NS, 3.0)]),
    ({"scale": 0.1}, b"215", [("s/a", NOW_NS, 21.5)]),
    ({"scale": -2.0}, b'{"a":1,"b":2}', [("s/a/a", NOW_NS, -2.0), ("s/a/b", NOW_NS, -4.0)]),
    ({"unit_at": "unit", "unit": "C"}, b'{"value":1,"unit":"C"}', [("s/a", NOW_NS, 1.0)]),
    ({"unit_at": "/m/u", "unit": "C"}, b'{"t":1,"m":{"p":2}}', [("s/a/t", NOW_NS, 1.0), ("s/a/m/p", NOW_NS, 2.0)]),
    ({"quality": "q"}, b'{"t":1,"q":192}', [("s/a/t", NOW_NS, 1.0)]),
    ({"quality": "q"}, b'{"t":1,"q":"GOOD"}', [("s/a/t", NOW_NS, 1.0)]),
    ({"quality": "q"}, b'{"t":1}', [("s/a/t", NOW_NS, 1.0)]),
    ({"quality": "/meta/q", "good": ["0"]}, b'{"value":1,"meta":{"q":0}}', [("s/a", NOW_NS, 1.0)]),
    ({"zone": "Europe/Berlin"}, TASMOTA,
     [("s/a/AM2301/Temperature", 1_751_364_000 * S, 24.6), ("s/a/AM2301/Humidity", 1_751_364_000 * S, 58.2)]),
    ({"zone": "America/New_York"}, b'{"ts":"2025-01-01 00:00:00","value":1}', [("s/a", 1_735_707_600 * S, 1.0)]),
    ({"zone": "Europe/Berlin"}, b'{"ts":"2025-01-01T00:00:00Z","value":1}', [("s/a", 1_735_689_600 * S, 1.0)]),
    ({"value": "/params", "time": "/params/ts", "ignore": ["*/id", "*/minute_ts"]}, SHELLY,
     [(f"s/a/switch:0/{name}", 1_759_999_990_500_000_000, value) for name, value in
      (("apower", 8.9), ("aenergy/total", 11.5), ("temperature/tC", 53.3), ("temperature/tF", 127.9))]),
    ({"value": "/params", "time": "/params/ts", "only": ["*/tC"]}, SHELLY,
     [("s/a/switch:0/temperature/tC", 1_759_999_990_500_000_000, 53.3)]),
    ({"readings": "/metrics", "value": "/fields", "time": "timestamp", "key": "{/tags/host}/{name}/{field}"}, TELEGRAF,
     [("edge/cpu/usage_idle", 1_759_999_990 * S, 91.5), ("edge/cpu/usage_user", 1_759_999_990 * S, 5.0),
      ("edge/mem/used", 1_759_999_990 * S, 7_340_032.0)]),
    ({"value": "/metrics", "time": "sentOn"}, KURA,
     [("s/a/temperature.external", 1_759_999_990 * S, 5.0), ("s/a/boiler/pressure", 1_759_999_990 * S, 1.5)]),
    ({"value": "payload", "key": "{/topic}"}, NODE_RED, [("boiler/flow", NOW_NS, 21.5)]),
    ({"value": "/values"}, b'{"ts":1759999990000,"values":[1,2.5]}',
     [("s/a/0", 1_759_999_990 * S, 1.0), ("s/a/1", 1_759_999_990 * S, 2.5)]),
    ({"only": ["temp*"]}, b'{"temp1":1,"temp2":2,"hum":3}', [("s/a/temp1", NOW_NS, 1.0), ("s/a/temp2", NOW_NS, 2.0)]),
]  # fmt: skip


@pytest.mark.parametrize(("given", "payload", "expected"), CASES, ids=[f"{g}-{p[:30]!r}" for g, p, _ in CASES])
def test_what_is_read(given: dict[str, object], payload: bytes, expected: list[tuple[str, int, float]]) -> None:
    desk = Desk(given)
    for _ in range(3):
        assert desk.rows(payload) == [(key, time, pytest.approx(value)) for key, time, value in expected]
    assert desk.drops.as_dict() == {}


BAD: list[tuple[dict[str, object], bytes, str, int]] = [
    ({"units": True}, b"21.5 and more text than a unit has", "value_not_number", 1),
    ({"units": True}, b"C 21.5", "value_not_number", 1),
    ({"units": True}, b"1.2.3", "value_not_number", 1),
    ({"units": True, "unit": "C"}, b"70 F", "unit_other", 1),
    ({}, b"21.5 C", "value_not_number", 1),
    ({"unit_at": "unit", "unit": "C"}, b'{"value":1,"unit":"F"}', "unit_other", 1),
    ({"quality": "q"}, b'{"t":1,"h":2,"q":0}', "quality_bad", 2),
    ({"quality": "q"}, b'{"t":1,"q":"Bad"}', "quality_bad", 1),
    ({"quality": "q"}, b'{"t":1,"q":500}', "quality_bad", 1),
    ({"quality": "q"}, b'{"t":1,"q":null}', "quality_bad", 1),
    ({"quality": "q", "good": ["0"]}, b'{"t":1,"q":192}', "quality_bad", 1),
    ({"scale": 1e300}, b"1e300", "value_too_large", 1),
    ({"zone": "Europe/Berlin"}, b'{"ts":"2025-13-01T00:00:00","value":1}', "time_not_decodable", 1),
]


@pytest.mark.parametrize(("given", "payload", "reason", "count"), BAD, ids=[f"{g}-{p[:30]!r}" for g, p, _, _ in BAD])
def test_what_is_refused_is_counted(given: dict[str, object], payload: bytes, reason: str, count: int) -> None:
    desk = Desk(given)
    for _ in range(2):
        desk.drops.clear()
        assert desk.rows(payload) == []
        assert desk.drops.as_dict() == {reason: count}
        desk.rows(b'{"t":1,"h":2,"value":1}', b"1")


@pytest.mark.parametrize(
    "line", ['zone = "Europe/Atlantis"', 'zone = "../etc"', "scale = 0", "scale = inf", 'format = "xml"']
)
def test_settings_that_cannot_work_stop_the_start(tmp_path: object, line: str) -> None:
    file = tmp_path / "stepahead.toml"  # type: ignore[operator]
    file.write_text(f'[[subscriptions]]\nfilter = "a/#"\n{line}\n')
    with pytest.raises(SettingsError, match=line.split()[0]):
        load_settings(file, {}, {})


def test_two_scales_for_one_series_are_refused() -> None:
    desk = Desk({"filter": "a", "key": "k"}, {"filter": "b", "key": "k", "scale": 2.0})
    assert desk.rows((b"a", b"1"), (b"b", b"1")) == [("k", NOW_NS, 1.0)]
    assert desk.drops.as_dict() == {"key_invalid": 1}


PLAIN, PACK, LINE = b"21.5", b'[{"n":"a","v":1}]', b"cpu idle=1 %d" % NOW_NS


@pytest.mark.parametrize("first", [PLAIN, b'{"value":1}', PACK, LINE])
def test_a_format_left_open_is_decided_by_the_first_reading_and_never_changes(first: bytes) -> None:
    desk = Desk()
    desk.rows(b"garbage", first)
    keys = set(desk.keys)
    desk.drops.clear()
    others = [p for p in (PACK, LINE) if p != first]
    for _ in range(3):
        desk.rows(*others)
        assert len(desk.rows(first)) == 1
    assert {key for key in desk.keys if "cpu" in key} == {key for key in keys if "cpu" in key}
    assert desk.drops.total() + len(desk.keys) - len(keys) > 0


def test_formats_of_many_topics_are_told_apart() -> None:
    desk = Desk()
    topics = {b"n": PLAIN, b"p": PACK, b"l": LINE, b"j": b'{"ts":%d,"value":2}' % NOW_MS}
    for _ in range(3):
        assert [key for key, _, _ in desk.rows(*topics.items())] == ["n", "p/a", "l/cpu/idle", "j"]
    assert desk.drops.as_dict() == {}


UNITS: list[tuple[dict[str, object], bytes, dict[str, str | None]]] = [
    ({}, b"21.5", {"s/a": None}),
    ({"units": True}, "21.5 °C".encode(), {"s/a": "°C"}),
    ({"unit": "bar"}, b"3", {"s/a": "bar"}),
    ({"unit": "bar", "scale": 100.0}, b"3", {"s/a": None}),
    ({"unit_at": "u"}, b'{"value":1,"u":"kW"}', {"s/a": "kW"}),
    ({"unit_at": "u"}, b'{"value":1,"u":7}', {"s/a": None}),
    ({"unit_at": "u"}, b'{"value":1,"u":"%s"}' % (b"x" * 33), {"s/a": None}),
    ({}, b'[{"bn":"d/","bu":"Cel","n":"a","v":1},{"n":"b","u":"m","v":2}]', {"s/a/d/a": "Cel", "s/a/d/b": "m"}),
]


@pytest.mark.parametrize(("given", "payload", "units"), UNITS, ids=[f"{g}-{p[:30]!r}" for g, p, _ in UNITS])
def test_the_unit_of_a_series_is_what_its_first_reading_told(
    given: dict[str, object], payload: bytes, units: dict[str, str | None]
) -> None:
    desk = Desk(given)
    desk.rows(payload, payload)
    assert {key: desk.decoder.units.of(slot) for key, slot in desk.keys.items()} == units
    desk.decoder.forget()
    assert {desk.decoder.units.of(slot) for slot in desk.keys.values()} == {None}


def test_units_without_end_are_not_remembered() -> None:
    units = Units()
    for slot in range(2000):
        units.note(slot, f"u{slot}")
    assert [units.of(slot) for slot in (0, 1023, 1024)] == ["u0", "u1023", None]


def test_the_defaults_are_those_of_a_subscription() -> None:
    assert json.loads(SubscriptionSettings().model_dump_json())["format"] == "auto"
