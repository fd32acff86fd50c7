import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepahead.contract.errors import BrokenLawError, SettingsError
from stepahead.contract.reasons import DropCounter, Reason
from stepahead.contract.records import REFUSED
from stepahead.contract.settings import SubscriptionSettings
from stepahead.wire.decoder import Decoded, Decoder
from stepahead.wire.delivery import Delivery

NOW_NS = 1_760_000_000 * 10**9
MS = 1_760_000_000_000


class Desk:
    """A decoder with a table of series and a drop counter."""

    def __init__(self, *subscriptions: dict[str, object], limit: int = 1000) -> None:
        self.keys: dict[str, int] = {}
        self.limit = limit
        self.asked = 0
        self.drops = DropCounter()
        table = [SubscriptionSettings.model_validate({"filter": "s/#"} | given) for given in subscriptions or ({},)]
        self.decoder = Decoder(table, self.intern, self.drops, "stepahead/v1", max_payload_bytes=100_000)

    def intern(self, key: str) -> int:
        self.asked += 1
        if key not in self.keys and len(self.keys) >= self.limit:
            return REFUSED
        return self.keys.setdefault(key, len(self.keys))

    def decode(self, *messages: bytes | tuple[bytes, bytes]) -> Decoded:
        pairs = [m if isinstance(m, tuple) else (b"s/a", m) for m in messages]
        return self.decoder.decode([Delivery(t, p, 2, i, NOW_NS) for i, (t, p) in enumerate(pairs)])

    def rows(self, *messages: bytes | tuple[bytes, bytes]) -> list[tuple[str, int, float]]:
        """(key, seconds after NOW, value) of each reading."""
        decoded = self.decode(*messages)
        names = list(self.keys)
        readings = decoded.readings
        return [
            (names[s], (t - NOW_NS) / 10**9, v)
            for s, t, v in zip(
                readings.series.tolist(), readings.time_ns.tolist(), readings.value.tolist(), strict=True
            )
        ]


READ: list[tuple[dict[str, object], bytes, list[tuple[str, float, float]]]] = [
    ({}, b"21.5", [("s/a", 0, 21.5)]),
    ({}, b" -3e2\n", [("s/a", 0, -300.0)]),
    ({}, b'"21.5"', [("s/a", 0, 21.5)]),
    ({}, b'{"value": 1}', [("s/a", 0, 1.0)]),
    ({}, b'{"value": "21.5", "seq": 4}', [("s/a", 0, 21.5)]),
    ({}, b'{"v": 1.5, "ts": %d}' % (MS - 2000), [("s/a", -2, 1.5)]),
    ({}, b'{"time": "2025-10-09T08:53:19Z", "value": 2}', [("s/a", -1, 2.0)]),
    ({}, b'{"timestamp": 1759999990, "value": 2}', [("s/a", -10, 2.0)]),
    ({}, b'{"temperature": 21.5, "humidity": 40, "name": "x", "ok": true, "last_seen": %d}' % MS,
     [("s/a/temperature", 0, 21.5), ("s/a/humidity", 0, 40.0)]),
    ({}, b'{"Time": "2025-10-09T08:53:20", "AM2301": {"Temperature": 21.5, "Dew": {"Point": 3}}}',
     [("s/a/AM2301/Temperature", 0, 21.5), ("s/a/AM2301/Dew/Point", 0, 3.0)]),
    ({}, b'{"t": 21.5, "h": 40}', [("s/a/t", 0, 21.5), ("s/a/h", 0, 40.0)]),
    ({}, b'{"t": 1759999999, "h": 40}', [("s/a/h", -1, 40.0)]),
    ({}, b'{"value": {"x": 1, "y": 2}, "ts": %d}' % MS, [("s/a/value/x", 0, 1.0), ("s/a/value/y", 0, 2.0)]),
    ({}, b'[{"ts": %d, "value": 1}, {"ts": %d, "value": 2}]' % (MS - 1000, MS), [("s/a", -1, 1.0), ("s/a", 0, 2.0)]),
    ({}, b"[[%d, 1.5], [%d, 2.5]]" % (MS - 1000, MS), [("s/a", -1, 1.5), ("s/a", 0, 2.5)]),
    ({}, b"[[%d, 1.5, 2.5]]" % MS, [("s/a/1", 0, 1.5), ("s/a/2", 0, 2.5)]),
    ({}, b"[1, 2]", [("s/a/0", 0, 1.0), ("s/a/1", 0, 2.0)]),
    ({}, b'\xef\xbb\xbf{"value": 1}', [("s/a", 0, 1.0)]),
    ({}, b'{"a": 1, "b": 12345678901234567890123}', [("s/a/a", 0, 1.0), ("s/a/b", 0, 1.2345678901234568e22)]),
    ({"value": "temp"}, b'{"temp": 1, "value": 2}', [("s/a", 0, 1.0)]),
    ({"value": "/d/t", "time": "/d/at"}, b'{"d": {"t": 1, "at": %d}}' % (MS - 3000), [("s/a", -3, 1.0)]),
    ({"value": "/values"}, b'{"ts": %d, "values": [1, 2]}' % MS, [("s/a/0", 0, 1.0), ("s/a/1", 0, 2.0)]),
    ({"readings": "/values"}, b'{"ts": %d, "values": [1, 2]}' % (MS - 1000), [("s/a/0", -1, 1.0), ("s/a/1", -1, 2.0)]),
    ({"readings": "/r"}, b'{"ts": %d, "r": [{"value": 1}, {"value": 2, "ts": %d}]}' % (MS - 9000, MS),
     [("s/a", -9, 1.0), ("s/a", 0, 2.0)]),
    ({"readings": "/r", "key": "{/device}/{sensor}"}, b'{"device": "d", "r": [{"sensor": 7, "value": 1}]}',
     [("d/7", 0, 1.0)]),
    ({"readings": ""}, b'[{"value": 1}]', [("s/a", 0, 1.0)]),
    ({"time": ""}, b'{"ts": 12, "value": 1}', [("s/a", 0, 1.0)]),
    ({"time": "up", "time_unit": "ms"}, b'{"up": %d, "value": 1}' % (MS - 1), [("s/a", -0.001, 1.0)]),
    ({"only": ["a", "n"]}, b'{"value": 5, "a": 1, "n": "2.5", "b": 3}', [("s/a/a", 0, 1.0), ("s/a/n", 0, 2.5)]),
    ({"ignore": ["value", "b"]}, b'{"value": 5, "a": 1, "b": 3}', [("s/a/a", 0, 1.0)]),
    ({"ignore": ["x"]}, b'{"x": {"a": 1}, "b": 3}', [("s/a/b", 0, 3.0)]),
    ({"booleans": True}, b'{"on": true, "state": "OFF", "a": 2}',
     [("s/a/on", 0, 1.0), ("s/a/state", 0, 0.0), ("s/a/a", 0, 2.0)]),
    ({"booleans": True}, b"ON", [("s/a", 0, 1.0)]),
    ({"booleans": True}, b"false", [("s/a", 0, 0.0)]),
    ({"format": "number"}, b"7", [("s/a", 0, 7.0)]),
    ({"format": "json"}, b"7", [("s/a", 0, 7.0)]),
    ({"filter": "s/{site}", "key": "{site}-{field}"}, b'{"t": 1, "h": 2}', [("a-t", 0, 1.0), ("a-h", 0, 2.0)]),
    ({"filter": "s/{site}", "key": "{site}"}, b'{"p": 1, "h": 2}', [("a/p", 0, 1.0), ("a/h", 0, 2.0)]),
    ({"filter": "s/{site}", "key": "x/{site}/{field}"}, b"5", [("x/a/value", 0, 5.0)]),
]  # fmt: skip


@pytest.mark.parametrize(("given", "payload", "expected"), READ, ids=[f"{g}-{p[:40]!r}" for g, p, _ in READ])
def test_what_is_read(given: dict[str, object], payload: bytes, expected: list[tuple[str, float, float]]) -> None:
    desk = Desk(given)
    for _ in range(3):  # by the book, then by what was learnt from the first
        assert desk.rows(payload) == expected
    assert desk.drops.as_dict() == {}


BAD: list[tuple[dict[str, object], bytes, bytes, Reason, int]] = [
    ({}, b"s/a", b"", Reason.VALUE_MISSING, 1),
    ({}, b"s/a", b"  ", Reason.VALUE_MISSING, 1),
    ({}, b"s/a", b"warm", Reason.VALUE_NOT_NUMBER, 1),
    ({}, b"s/a", b"1_000", Reason.VALUE_NOT_NUMBER, 1),
    ({}, b"s/a", "٣".encode(), Reason.VALUE_NOT_NUMBER, 1),
    ({}, b"s/a", b"21.5 C", Reason.VALUE_NOT_NUMBER, 1),
    ({}, b"s/a", b"ON", Reason.VALUE_NOT_NUMBER, 1),
    ({}, b"s/a", b"true", Reason.VALUE_NOT_NUMBER, 1),
    ({}, b"s/a", b"null", Reason.VALUE_MISSING, 1),
    ({}, b"s/a", b"nan", Reason.VALUE_NOT_FINITE, 1),
    ({}, b"s/a", b"-Infinity", Reason.VALUE_NOT_FINITE, 1),
    ({}, b"s/a", b"1e999", Reason.VALUE_TOO_LARGE, 1),
    ({}, b"s/a", b"-" + b"9" * 400, Reason.VALUE_TOO_LARGE, 1),
    ({}, b"s/a", b"\xff\xfe\x00", Reason.NOT_DECODABLE, 1),
    ({}, b"s/a", b"{value", Reason.NOT_DECODABLE, 1),
    ({}, b"s/a", b'{"value": 1} x', Reason.NOT_DECODABLE, 1),
    ({}, b"s/a", b'{"value": 1', Reason.NOT_DECODABLE, 1),
    ({}, b"s/a", b'{"\xff": 1}', Reason.NOT_UTF8, 1),
    ({}, b"s/\xff", b"1", Reason.NOT_UTF8, 1),
    ({}, b"s/a", b'{"value": null}', Reason.VALUE_MISSING, 1),
    ({}, b"s/a", b'{"value": "warm"}', Reason.VALUE_NOT_NUMBER, 1),
    ({}, b"s/a", b'{"value": true}', Reason.VALUE_NOT_NUMBER, 1),
    ({}, b"s/a", b'{"value": [1]}', Reason.VALUE_NOT_NUMBER, 1),
    ({}, b"s/a", b'{"value": NaN}', Reason.VALUE_NOT_FINITE, 1),
    ({}, b"s/a", b'{"value": -Infinity}', Reason.VALUE_NOT_FINITE, 1),
    ({}, b"s/a", b'{"value": "NaN"}', Reason.VALUE_NOT_FINITE, 1),
    ({}, b"s/a", b'{"value": 1e999}', Reason.VALUE_TOO_LARGE, 1),
    ({}, b"s/a", b'{"value": ' + b"9" * 400 + b"}", Reason.VALUE_TOO_LARGE, 1),
    ({}, b"s/a", b'{"value": ' + b"9" * 5000 + b"}", Reason.VALUE_TOO_LARGE, 1),
    ({}, b"s/a", b'{"value": "' + b"9" * 400 + b'"}', Reason.VALUE_TOO_LARGE, 1),
    ({}, b"s/a", b'{"a": NaN, "b": Infinity}', Reason.VALUE_NOT_FINITE, 2),
    ({}, b"s/a", b'{"name": "x"}', Reason.NO_READING, 1),
    ({}, b"s/a", b"{}", Reason.NO_READING, 1),
    ({}, b"s/a", b"[]", Reason.NO_READING, 1),
    ({}, b"s/a", b"[[]]", Reason.NO_READING, 1),
    ({}, b"s/a", b'{"ts": %d}' % MS, Reason.NO_READING, 1),
    ({}, b"s/a", b'{"ts": "noon", "value": 1}', Reason.TIME_NOT_DECODABLE, 1),
    ({}, b"s/a", b'{"ts": null, "value": 1}', Reason.TIME_NOT_DECODABLE, 1),
    ({}, b"s/a", b'{"ts": {}, "value": 1}', Reason.TIME_NOT_DECODABLE, 1),
    ({}, b"s/a", b'{"ts": 1e300, "value": 1}', Reason.TIME_NOT_DECODABLE, 1),
    ({}, b"s/a", b'{"ts": NaN, "value": 1}', Reason.TIME_NOT_DECODABLE, 1),
    ({"time": "at"}, b"s/a", b'{"value": 1}', Reason.TIME_NOT_DECODABLE, 1),
    ({"time_unit": "iso8601"}, b"s/a", b'{"ts": %d, "value": 1}' % MS, Reason.TIME_NOT_DECODABLE, 1),
    ({}, b"s/a", b'{"ts": 5, "value": 1}', Reason.TIME_ABSURD, 1),
    ({}, b"s/a", b'{"ts": "1970-12-31T23:59:59Z", "value": 1}', Reason.TIME_ABSURD, 1),
    ({}, b"s/a", b'{"ts": %d, "value": 1}' % (MS + 86_400_001), Reason.TIME_ABSURD, 1),
    ({}, b"s/a", b'{"ts": "9999-12-31T23:59:59Z", "value": 1}', Reason.TIME_ABSURD, 1),
    ({}, b"s/a", b'{"ts": "0001-01-01T00:00:00+23:00", "value": 1}', Reason.TIME_ABSURD, 1),
    ({}, b"s/a", b"1" + b" " * 100_000, Reason.TOO_LARGE, 1),
    ({}, b"s/a", b"[" * 1000 + b"]" * 1000, Reason.TOO_DEEP, 1),
    ({}, b"s/a", b'{"a":' * 1000 + b"1" + b"}" * 1000, Reason.TOO_DEEP, 1),
    ({}, b"s/a", b'{"a":' * 100 + b"1" + b"}" * 100, Reason.TOO_DEEP, 1),
    ({}, b"stepahead/v1/forecast/x", b"1", Reason.OWN_OUTPUT, 1),
    ({}, b"elsewhere", b"1", Reason.NO_READING, 1),
    ({"key": "{/sensor}"}, b"s/a", b'{"value": 1}', Reason.KEY_INVALID, 1),
    ({"key": "{/sensor}"}, b"s/a", b'{"value": 1, "sensor": ""}', Reason.KEY_INVALID, 1),
    ({"key": "{/sensor}"}, b"s/a", b'{"value": 1, "sensor": true}', Reason.KEY_INVALID, 1),
    ({"key": "{/sensor}"}, b"s/a", b'{"value": 1, "sensor": "\\ud800"}', Reason.KEY_INVALID, 1),
    ({"key": "{/sensor}"}, b"s/a", b'{"value": 1, "sensor": "' + b"x" * 1025 + b'"}', Reason.KEY_INVALID, 1),
    ({"value": "temp"}, b"s/a", b'{"value": 1}', Reason.VALUE_MISSING, 1),
    ({"readings": "/r"}, b"s/a", b'{"value": 1}', Reason.NO_READING, 1),
    ({"format": "json"}, b"s/a", b"+5", Reason.NOT_DECODABLE, 1),
    ({"format": "number"}, b"s/a", b'{"value": 1}', Reason.VALUE_NOT_NUMBER, 1),
    ({"only": ["a"]}, b"s/a", b'{"a": "warm"}', Reason.VALUE_NOT_NUMBER, 1),
]


@pytest.mark.parametrize(
    ("given", "topic", "payload", "reason", "count"), BAD, ids=[f"{g}-{t[:9]!r}-{p[:30]!r}" for g, t, p, _, _ in BAD]
)
def test_what_is_bad_is_counted_and_nothing_else(
    given: dict[str, object], topic: bytes, payload: bytes, reason: Reason, count: int
) -> None:
    desk = Desk(given)
    good = b'{"value": 1, "sensor": "k", "temp": 1, "at": %d, "ts": "2025-10-09", "r": [[%d, 1]], "a": 1}' % (MS, MS)
    for known in (False, True):  # a topic never seen, then one whose slots and shapes are known
        desk.drops.clear()
        assert len(desk.decode((topic, payload)).readings) == 0
        assert desk.drops.as_dict() == {str(reason): count}
        if not known:
            desk.decode((topic, b"5"), (topic, good))


def test_rows_know_their_message_and_good_readings_of_a_bad_message_stay() -> None:
    desk = Desk()
    decoded = desk.decode(b"1", b"x", b'{"a": 1, "b": NaN, "c": 3}', b"[[%d, 4], [5, 5]]" % MS, b"6")
    assert decoded.message.tolist() == [0, 2, 2, 3, 4]
    assert decoded.message.dtype == np.int32
    assert decoded.readings.value.tolist() == [1.0, 1.0, 3.0, 4.0, 6.0]
    counted = {"time_absurd": 1, "value_not_finite": 1, "value_not_number": 1}
    assert desk.drops.as_dict() == counted


def test_the_first_subscription_that_matches_counts() -> None:
    desk = Desk({"filter": "s/x/#", "value": "a"}, {"filter": "s/#", "value": "b"})
    message = b'{"a": 1, "b": 2}'
    assert desk.rows((b"s/x/1", message), (b"s/y", message)) == [("s/x/1", 0, 1.0), ("s/y", 0, 2.0)]


def test_a_field_keeps_its_series_whatever_else_comes() -> None:
    desk = Desk()
    desk.rows(b'{"temp": 1}', b"2", b'{"value": 3}', b'{"temp": 4, "hum": 5}', b'{"hum": 6, "temp": 7}')
    assert list(desk.keys) == ["s/a/temp", "s/a", "s/a/hum"]
    assert desk.asked == 3
    assert desk.rows(b'{"hum": 6, "temp": 7}') == [("s/a/hum", 0, 6.0), ("s/a/temp", 0, 7.0)]


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "a\0b", "a\u2028b"])
@pytest.mark.parametrize("document", ["{%s: 1.5}", '{"value": 1.5, %s: "text"}', '{"value": 1.5, "x": 1, %s: [3]}'])
def test_a_field_may_have_any_name(name: str, document: str) -> None:
    """The third of its kind is read by what was learnt from the two before."""
    desk = Desk()
    payload = (document % json.dumps(name)).encode()
    times = [len(desk.rows((b"s/a", payload))) for _ in range(3)]
    assert times[0] > 0
    assert times == times[:1] * 3
    assert desk.drops.total() == 0


def test_a_message_we_stumble_over_is_dropped_and_told_and_the_others_are_read() -> None:
    stumbled: list[tuple[bytes, bytes, Exception]] = []
    defect = KeyError("a defect of ours")

    def intern(key: str) -> int:
        if key == "s/b":
            raise defect
        return 0

    drops = DropCounter()
    table = [SubscriptionSettings(filter="s/#")]
    decoder = Decoder(table, intern, drops, "x", on_unforeseen=lambda *told: stumbled.append(told))
    rows = ((b"s/a", b"1"), (b"s/b", b"7"), (b"s/a", b"2"))
    deliveries = [Delivery(topic, payload, 2, 1, NOW_NS) for topic, payload in rows]
    assert decoder.decode(deliveries).readings.value.tolist() == [1.0, 2.0]
    assert stumbled == [(b"s/b", b"7", defect)]
    assert drops == {Reason.UNFORESEEN: 1}
    with pytest.raises(KeyError, match="a defect of ours"):
        Decoder(table, intern, drops, "x").decode(deliveries)


@pytest.mark.parametrize("error", [BrokenLawError("no"), MemoryError()], ids=["a broken law", "no memory"])
def test_what_must_stop_the_service_still_does(error: Exception) -> None:
    def intern(key: str) -> int:
        raise error

    decoder = Decoder([SubscriptionSettings(filter="#")], intern, DropCounter(), "x", on_unforeseen=lambda *told: None)
    with pytest.raises(type(error)):
        decoder.decode([Delivery(b"s/a", b"1", 2, 1, NOW_NS)])


def test_what_was_text_may_become_a_number() -> None:
    desk = Desk()
    desk.rows(b'{"a": 1, "b": "off"}', b'{"a": 1, "b": "off"}')
    assert desk.rows(b'{"a": 1, "b": 2}') == [("s/a/a", 0, 1.0), ("s/a/b", 0, 2.0)]
    assert desk.rows(b'{"a": 1, "b": {"c": 3}}') == [("s/a/a", 0, 1.0), ("s/a/b/c", 0, 3.0)]


def test_one_series_too_many_is_refused_and_leaves_nothing_behind() -> None:
    desk = Desk(limit=2)
    floods = [(b"s/%d" % i, b'{"value": 1}') for i in range(500)]
    assert len(desk.decode(*floods).readings) == 2
    assert desk.drops.as_dict() == {"too_many_series": 498}
    assert desk.rows((b"s/0", b"7"), (b"s/1", b"8"), (b"s/2", b"9")) == [("s/0", 0, 7.0), ("s/1", 0, 8.0)]
    assert len(desk.decoder._routes) == 2
    desk.limit = 3  # a series was evicted
    assert desk.rows((b"s/2", b"9")) == [("s/2", 0, 9.0)]


def test_forget_asks_for_the_slots_again() -> None:
    desk = Desk()
    desk.rows(b'{"value": 1}', b'{"value": 1}')
    desk.keys = {"other": 0}
    desk.decoder.forget()
    assert desk.rows(b'{"value": 1}') == [("s/a", 0, 1.0)]
    assert desk.decode(b'{"value": 1}').readings.series.tolist() == [1]


def test_retained_readings_of_the_past_are_readings() -> None:
    desk = Desk()
    delivery = Delivery(b"s/a", b'{"ts": "2001-01-01T00:00:00Z", "value": 1}', 1, 0, NOW_NS)
    assert desk.decoder.decode([delivery]).readings.time_ns.tolist() == [978_307_200 * 10**9]


@pytest.mark.parametrize("key", ["{site", "a}b", "{}", "", "{{a}}"])
def test_a_malformed_key_template_is_a_settings_error(key: str) -> None:
    with pytest.raises(SettingsError, match="key = "):
        Desk({"key": key})


SCALARS = st.one_of(
    st.floats(width=64),
    st.integers(-(10**30), 10**30),
    st.sampled_from([MS, MS / 1000, "2025-10-09T08:53:20Z", True, None, "x", "21.5", ""]),
)
NAMES = st.sampled_from(["value", "v", "ts", "time", "t", "a", "b", "last_seen", ""])
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=5)),
    max_leaves=12,
)


def columns(decoded: Decoded) -> tuple[Sequence[object], ...]:
    readings = decoded.readings
    parts = (readings.series, readings.time_ns, readings.value, decoded.message)
    return tuple(part.tolist() for part in parts)


@given(st.lists(DOCUMENTS, min_size=1, max_size=8), st.booleans())
@settings(max_examples=300, deadline=None)
def test_what_was_learnt_changes_nothing(documents: list[object], booleans: bool) -> None:
    """Message by message from scratch equals all messages through one decoder, to the last drop."""
    payloads = [json.dumps(document).encode() for document in documents]
    warm, cold = Desk({"booleans": booleans}), Desk({"booleans": booleans})
    warm.decode(*payloads)
    warm.drops.clear()
    expected = []
    for i, payload in enumerate(payloads):
        cold.decoder.forget()
        series, time_ns, value, _ = columns(cold.decode(payload))
        expected += list(zip(series, time_ns, value, [i] * len(series), strict=True))
    assert list(zip(*columns(warm.decode(*payloads)), strict=True)) == expected
    assert warm.drops == cold.drops
    assert list(warm.keys) == list(cold.keys)


@given(st.lists(st.one_of(st.binary(max_size=60), DOCUMENTS.map(lambda d: json.dumps(d).encode())), max_size=10))
@settings(max_examples=500, deadline=None)
def test_no_payload_raises_and_every_row_is_sound(payloads: list[bytes]) -> None:
    desk = Desk()
    for _ in range(2):
        desk.drops.clear()
        decoded = desk.decode(*payloads)
        readings = decoded.readings
        assert all(map(math.isfinite, readings.value.tolist()))
        assert ((readings.time_ns >= 365 * 86_400 * 10**9) & (readings.time_ns <= NOW_NS + 86_400 * 10**9)).all()
        silent = set(range(len(payloads))) - set(decoded.message.tolist())
        assert desk.drops.total() >= len(silent)


@pytest.mark.parametrize(
    ("payload", "reasons"),
    [(b"x" * 10**6, {"too_large": 3}), (b'{"value": ' * 10**5, {"too_large": 3})],
)
def test_a_megabyte_is_refused_by_its_size(payload: bytes, reasons: dict[str, int]) -> None:
    desk = Desk()
    desk.decode(payload, b"1", payload, payload)
    assert desk.drops.as_dict() == reasons
