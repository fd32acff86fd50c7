"""Every example of RFC 8428 that is JSON (§5) or CBOR (§6), and what it leaves to the reader."""

import json

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepahead.wire.formats.senml import LABELS
from tests.wire.desk import NOW_NS, Desk

DEV = "urn:dev:ow:10e2073a01080063"
MOBILE = [
    {"bn": DEV, "bt": 1.320067464e9, "bu": "%RH", "v": 20}, {"u": "lon", "v": 24.30621}, {"u": "lat", "v": 60.07965},
    {"t": 60, "v": 20.3}, {"u": "lon", "t": 60, "v": 24.30622}, {"u": "lat", "t": 60, "v": 60.07965},
    {"t": 120, "v": 20.7}, {"u": "lon", "t": 120, "v": 24.30623}, {"u": "lat", "t": 120, "v": 60.07966},
    {"u": "%EL", "t": 150, "v": 98}, {"t": 180, "v": 21.2}, {"u": "lon", "t": 180, "v": 24.30628},
    {"u": "lat", "t": 180, "v": 60.07967},
]  # fmt: skip
RESOLVED = [
    {"n": DEV, "u": r.get("u", "%RH"), "t": 1.320067464e9 + r.get("t", 0), "v": r["v"]}  # type: ignore[operator]
    for r in MOBILE
]
MOBILE_ROWS = [
    (DEV + ("" if r.get("u", "%RH") == "%RH" else f"/{r['u']}"), 1_320_067_464 + r.get("t", 0), r["v"])  # type: ignore[operator]
    for r in MOBILE
]
CURRENT = [
    {"bn": "urn:dev:ow:10e2073a0108006:", "bt": 1.276020076001e9, "bu": "A", "bver": 5, "n": "voltage", "u": "V",
     "v": 120.1},
    *({"n": "current", "t": t, "v": v} for t, v in ((-5, 1.2), (-4, 1.3), (-3, 1.4), (-2, 1.5), (-1, 1.6))),
    {"n": "current", "v": 1.7},
]  # fmt: skip
CURRENT_ROWS = [("urn:dev:ow:10e2073a0108006:voltage", 1276020076.001, 120.1)] + [
    ("urn:dev:ow:10e2073a0108006:current", 1276020071.001 + i, 1.2 + i / 10) for i in range(6)
]
NOW = 1_760_000_000
EXAMPLES: dict[str, tuple[list[dict[str, object]], list[tuple[str, float, float]], dict[str, int]]] = {
    "5.1.1": ([{"n": DEV, "u": "Cel", "v": 23.1}], [(DEV, NOW, 23.1)], {}),
    "5.1.2, now": (
        [{"bn": DEV + ":", "n": "voltage", "u": "V", "v": 120.1}, {"n": "current", "u": "A", "v": 1.2}],
        [(DEV + ":voltage", NOW, 120.1), (DEV + ":current", NOW, 1.2)], {}),
    "5.1.2, times": (CURRENT, CURRENT_ROWS, {}),
    "5.1.3, stream": (
        [{"bn": DEV, "bt": 1.320067464e9, "bu": "%RH", "v": 21.2},
         *({"t": 10 * (i + 1), "v": v} for i, v in enumerate((21.3, 21.4, 21.4, 21.5, 21.5, 21.5, 21.6, 21.7)))],
        [(DEV, 1_320_067_464 + 10 * i, v)
         for i, v in enumerate((21.2, 21.3, 21.4, 21.4, 21.5, 21.5, 21.5, 21.6, 21.7))], {}),
    "5.1.3, mobile": (MOBILE, MOBILE_ROWS, {}),
    "5.1.4": (RESOLVED, MOBILE_ROWS, {}),
    "5.1.5": (
        [{"bn": DEV + ":", "n": "temp", "u": "Cel", "v": 23.1}, {"n": "label", "vs": "Machine Room"},
         {"n": "open", "vb": False}, {"n": "nfc-reader", "vd": "aGkgCg"}],
        [(DEV + ":temp", NOW, 23.1)], {"value_not_number": 3}),
    "5.1.6": (
        [{"bn": "2001:db8::2/", "bt": 1.320078429e9, "n": "temperature", "u": "Cel", "v": 25.2},
         {"n": "humidity", "u": "%RH", "v": 30}, {"bn": "2001:db8::1/", "n": "temperature", "u": "Cel", "v": 12.3},
         {"n": "humidity", "u": "%RH", "v": 67}],
        [("2001:db8::2/temperature", 1_320_078_429, 25.2), ("2001:db8::2/humidity", 1_320_078_429, 30.0),
         ("2001:db8::1/temperature", 1_320_078_429, 12.3), ("2001:db8::1/humidity", 1_320_078_429, 67.0)], {}),
    "5.1.7, thermostat": (
        [{"bn": DEV + ":"}, {"n": "temp", "u": "Cel", "v": 23.1}, {"n": "heat", "u": "/", "v": 1},
         {"n": "fan", "u": "/", "v": 0}],
        [(DEV + ":temp", NOW, 23.1), (DEV + ":heat", NOW, 1.0), (DEV + ":fan", NOW, 0.0)], {}),
    "5.1.7, lights": (
        [{"bt": 1.320078429e9, "bu": "/", "n": "2001:db8::3", "v": 1}, {"n": "2001:db8::4", "v": 1}],
        [("2001:db8::3", 1_320_078_429, 1.0), ("2001:db8::4", 1_320_078_429, 1.0)], {}),
    "5.1.7, lights off": (
        [{"bt": 1.320078429e9, "bu": "/", "n": "2001:db8::3", "v": 0.5}, {"n": "2001:db8::4", "v": 0.5},
         {"n": "2001:db8::3", "t": 0.1, "v": 0}, {"n": "2001:db8::4", "t": 0.1, "v": 0}],
        [("2001:db8::3", 1_320_078_429, 0.5), ("2001:db8::4", 1_320_078_429, 0.5),
         ("2001:db8::3", 1_320_078_429.1, 0.0), ("2001:db8::4", 1_320_078_429.1, 0.0)], {}),
    "4.2, sums": (
        [{"bn": "m/", "bs": 100, "bv": 20, "n": "a", "v": 1.5, "s": 3}, {"n": "b", "v": -1}, {"n": "c"}],
        [("m/a", NOW, 21.5), ("m/a/sum", NOW, 103.0), ("m/b", NOW, 19.0), ("m/b/sum", NOW, 100.0), ("m/c", NOW, 20.0),
         ("m/c/sum", NOW, 100.0)], {}),
    "4.5.3, relative": ([{"n": "a", "t": -30, "v": 1}, {"n": "a", "t": 2**28 - 1e9, "v": 2}],
                        [("a", NOW - 30, 1.0), ("a", NOW + 2**28 - 1e9, 2.0)], {}),
}  # fmt: skip
NUMBERS = {name: number for number, name in LABELS.items()}
SECTION_6 = bytes.fromhex(
    "87a721781b75726e3a6465763a6f773a3130653230373361303130383030363a22fb41d303a15b00106223614120050067766f6c7461676501"
    "615602fb405e066666666666a3006763757272656e74062402fb3ff3333333333333a3006763757272656e74062302fb3ff4cccccccccccda3"
    "006763757272656e74062202fb3ff6666666666666a3006763757272656e74062102f93e00a3006763757272656e74062002fb3ff999999999"
    "999aa3006763757272656e74060002fb3ffb333333333333"
)


def as_cbor(pack: list[dict[str, object]]) -> bytes:
    return cbor2.dumps([{NUMBERS[label]: value for label, value in record.items()} for record in pack])


def check(payload: bytes, expected: list[tuple[str, float, float]], drops: dict[str, int]) -> None:
    for given_settings in ({}, {"format": "senml"}):
        desk = Desk(given_settings)
        for _ in range(3):  # by the book, then by what was learnt
            desk.drops.clear()
            rows = desk.rows(payload)
            assert [(key, value) for key, _, value in rows] == [
                (f"s/a/{name}", pytest.approx(value, abs=1e-12)) for name, _, value in expected
            ]
            assert [t for _, t, _ in rows] == [pytest.approx(s * 1e9, abs=1000) for _, s, _ in expected]
            assert desk.drops.as_dict() == drops


@pytest.mark.parametrize("section", EXAMPLES)
def test_every_example_of_the_rfc_as_json_and_as_cbor(section: str) -> None:
    pack, expected, drops = EXAMPLES[section]
    check(json.dumps(pack).encode(), expected, drops)
    check(as_cbor(pack), expected, drops)


def test_the_cbor_of_section_6() -> None:
    assert len(cbor2.loads(SECTION_6)) == 7
    check(SECTION_6, CURRENT_ROWS, {})


def test_a_boolean_is_a_number_by_option() -> None:
    desk = Desk({"booleans": True})
    assert desk.rows(b'[{"n":"a","v":1},{"n":"open","vb":true}]')[1] == ("s/a/open", NOW_NS, 1.0)


def test_a_decimal_fraction_of_cbor_is_a_number() -> None:
    assert Desk().rows(bytes.fromhex("81a2006161 02c48221196ab3"))[0][2] == 273.15


BAD = [
    (b"", "not_decodable", 1),
    (b"[", "not_decodable", 1),
    (b'{"n":"a","v":1}', "not_decodable", 1),
    (b"[1]", "not_decodable", 1),
    (b'[{"n":"\xff","v":1}]', "not_utf8", 1),
    (b'[{"n":"a","v":1,"x_":2}]', "not_decodable", 1),
    (b'[{"n":"a","v":1,"bver":11}]', "not_decodable", 1),
    (b'[{"n":"a","v":1,"bver":"x"}]', "not_decodable", 1),
    (b'[{"n":7,"v":1}]', "value_not_number", 1),
    (b'[{"n":"a","v":"1"}]', "value_not_number", 1),
    (b'[{"n":"a","v":true}]', "value_not_number", 1),
    (b'[{"n":"a","v":null}]', "value_not_number", 1),
    (b'[{"n":"a","t":"noon","v":1}]', "value_not_number", 1),
    (b'[{"n":"a","v":1,"u":null}]', "value_not_number", 1),
    (b'[{"n":"a","v":1,"bt":null},{"n":"b","v":2}]', "not_decodable", 1),
    (b'[{"bn":7,"n":"a","v":1},{"n":"b","v":2}]', "not_decodable", 1),
    (b'[{"n":"a","vs":"x"}]', "value_not_number", 1),
    (b'[{"n":"a","vb":true}]', "value_not_number", 1),
    (b'[{"n":"a"}]', "value_missing", 1),
    (b'[{"n":"a","v":1e999}]', "value_too_large", 1),
    (b'[{"n":"a","v":1e308,"bv":1e308}]', "value_too_large", 1),
    (b'[{"n":"a","v":NaN}]', "value_not_finite", 1),
    (b'[{"n":"a","t":1e300,"v":1}]', "time_not_decodable", 1),
    (b'[{"n":"a","t":2e9,"v":1}]', "time_absurd", 1),
    (b'[{"n":"a","t":-1.8e9,"v":1}]', "time_absurd", 1),
    (b"[]", "no_reading", 1),
    (b'[{"bn":"a"}]', "no_reading", 1),
    (b'[{"n":"%s","v":1}]' % (b"x" * 1025), "key_invalid", 1),
    (b"\x81\xa2\x00\x61", "not_decodable", 1),
    (b"\x81\xa1\x00\x61\xff", "not_utf8", 1),
    (bytes.fromhex("a2006161 0201"), "not_decodable", 1),
    (bytes.fromhex("81a2006161 02fb7ff8000000000000"), "value_not_finite", 1),
    (bytes.fromhex("81a2006161 02fb7ff0000000000000"), "value_too_large", 1),
    (bytes.fromhex("81") * 3000, "too_deep", 1),
]


@pytest.mark.parametrize(("payload", "reason", "count"), BAD, ids=[repr(p[:40]) for p, _, _ in BAD])
def test_what_is_malformed_is_counted(payload: bytes, reason: str, count: int) -> None:
    desk = Desk({"format": "senml"})
    for _ in range(2):
        desk.drops.clear()
        assert desk.rows(payload) == []
        assert desk.drops.as_dict() == {reason: count}
        desk.rows(b'[{"n":"a","v":1}]')


LIKE = '[{"bn":"d/","bt":%s,"n":"a","u":"Cel","v":%s},{"n":"b","v":2,"t":%s},{"n":"b","v":%s}]'
ALIKE: list[tuple[str, list[tuple[str, float, float]], dict[str, int]]] = [
    (LIKE % (1.7e9, 1.5, 7, 3), [("a", 1.7e9, 1.5), ("b", 1.7e9 + 7, 2), ("b", 1.7e9, 3)], {}),
    (LIKE % (1.7e9, "1e999", 7, 3), [("b", 1.7e9 + 7, 2), ("b", 1.7e9, 3)], {"value_too_large": 1}),
    (LIKE % (1.7e9, '"1"', 7, 3), [("b", 1.7e9 + 7, 2), ("b", 1.7e9, 3)], {"value_not_number": 1}),
    (LIKE % (1.7e9, 1, 1e9, 3), [("a", 1.7e9, 1), ("b", 1.7e9, 3)], {"time_absurd": 1}),
    (LIKE % (1.7e9, 1, 1e300, 3), [("a", 1.7e9, 1), ("b", 1.7e9, 3)], {"time_not_decodable": 1}),
    (LIKE % (-5, 1, 7, 3), [("a", NOW - 5, 1), ("b", NOW + 2, 2), ("b", NOW - 5, 3)], {}),
    (LIKE.replace('"bt":%s,', "") % (1, 7, 3), [("a", NOW, 1), ("b", NOW + 7, 2), ("b", NOW, 3)], {}),
    (LIKE.replace('"u":"Cel",', "") % (1.7e9, 1, 7, 3), [("a", 1.7e9, 1), ("b", 1.7e9 + 7, 2), ("b", 1.7e9, 3)], {}),
    (LIKE.replace('{"n":"b","v":2', '{"n":"c","v":2') % (1.7e9, 1, 7, 3),
     [("a", 1.7e9, 1), ("c", 1.7e9 + 7, 2), ("b", 1.7e9, 3)], {}),
]  # fmt: skip


@pytest.mark.parametrize(("payload", "expected", "drops"), ALIKE, ids=[text for text, _, _ in ALIKE])
def test_a_pack_like_the_one_before_is_read_as_any_other(
    payload: str, expected: list[tuple[str, float, float]], drops: dict[str, int]
) -> None:
    desk = Desk()
    for value in range(4):
        assert [v for _, _, v in desk.rows((LIKE % (1.7e9, value, 7, 3)).encode())] == [value, 2, 3]
    assert desk.decoder._others[b"s/a"].pack is not None
    rows = desk.rows(payload.encode())
    assert rows == [(f"s/a/d/{name}", pytest.approx(s * 1e9, abs=1000), value) for name, s, value in expected]
    assert desk.drops.as_dict() == drops
    assert len(desk.rows((LIKE % (1.7e9, 9, 7, 3)).encode())) == 3


NAMES = st.sampled_from(["", "a", "b", "c/d"])
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "bn": NAMES, "n": NAMES, "u": st.sampled_from(["Cel", "m"]), "bu": st.sampled_from(["Cel", "m"]),
        "bt": st.sampled_from([0, 1.7e9, -5]), "t": st.sampled_from([0, 1, -1.5, 1.6e9]),
        "v": st.floats(-1e6, 1e6), "bv": st.sampled_from([1, 2.5]), "s": st.integers(0, 9), "vb": st.booleans(),
    },
)  # fmt: skip


@given(st.lists(st.lists(RECORDS, min_size=1, max_size=5), min_size=1, max_size=6), st.booleans())
@settings(max_examples=150, deadline=None)
def test_what_was_learnt_changes_nothing(packs: list[list[dict[str, object]]], cbor: bool) -> None:
    payloads = [as_cbor(pack) if cbor else json.dumps(pack).encode() for pack in packs]
    warm, cold = Desk({"format": "senml"}), Desk({"format": "senml"})
    warm.rows(*payloads)
    warm.drops.clear()
    expected = []
    for payload in payloads:
        route = cold.decoder._others.get(b"s/a")
        if route is not None:  # the owners of names stay: they are no short cut
            route.entries.clear()
            route.bases.clear()
        expected += cold.rows(payload)
    if len(warm.keys) == len(cold.keys):  # a first pass may give a name to another unit than a second
        assert sorted(warm.rows(*payloads)) == sorted(expected)
        assert warm.drops == cold.drops
