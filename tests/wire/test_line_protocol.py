import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.desk import NOW_NS, Desk

T = NOW_NS - 10**9
READ: list[tuple[dict[str, object], bytes, list[tuple[str, int, float]]]] = [
    ({}, b"weather,location=us-midwest,season=summer temperature=82,humidity=71.2,pressure=1013i %d" % T,
     [("s/a/weather,location=us-midwest,season=summer/temperature", T, 82.0),
      ("s/a/weather,location=us-midwest,season=summer/humidity", T, 71.2),
      ("s/a/weather,location=us-midwest,season=summer/pressure", T, 1013.0)]),
    ({}, b"m,b=2,a=1 f=1 %d" % T, [("s/a/m,a=1,b=2/f", T, 1.0)]),
    ({}, b"m f=1", [("s/a/m/f", NOW_NS, 1.0)]),
    ({}, b"m f=1,g=7u %d\n\n# comment\nm f=2,g=8u %d\r\n" % (T, T + 1),
     [("s/a/m/f", T, 1.0), ("s/a/m/g", T, 7.0), ("s/a/m/f", T + 1, 2.0), ("s/a/m/g", T + 1, 8.0)]),
    ({}, b"m f=1 %d" % (T // 1000), [("s/a/m/f", T, 1.0)]),
    ({}, b"m f=1 %d" % (T // 10**6), [("s/a/m/f", T, 1.0)]),
    ({}, b"m f=1 %d" % (T // 10**9), [("s/a/m/f", T, 1.0)]),
    ({"time_unit": "s"}, b"m f=1 %d" % (T // 10**9), [("s/a/m/f", T, 1.0)]),
    ({}, b'my\\ m,t\\=x=a\\,b f\\ g=1.5,s="a \\" , b" %d' % T, [("s/a/my m,t=x=a,b/f g", T, 1.5)]),
    ({}, b'm s="two\nlines",f=2 %d' % T, [("s/a/m/f", T, 2.0)]),
    ({}, b"m f=1,ok=true,n=F %d" % T, [("s/a/m/f", T, 1.0)]),
    ({"booleans": True}, b"m f=1,ok=true,n=F %d" % T,
     [("s/a/m/f", T, 1.0), ("s/a/m/ok", T, 1.0), ("s/a/m/n", T, 0.0)]),
    ({"key": "{host}/{measurement}/{field}"}, b"cpu,host=a,core=0 idle=1 %d" % T, [("a/cpu/idle", T, 1.0)]),
    ({"key": "{/tags/host}"}, b"cpu,host=a idle=1,user=2 %d" % T, [("a/idle", T, 1.0), ("a/user", T, 2.0)]),
    ({"only": ["idle"]}, b"cpu idle=1,user=2 %d" % T, [("s/a/cpu/idle", T, 1.0)]),
    ({"ignore": ["cpu/u*"]}, b"cpu idle=1,user=2 %d" % T, [("s/a/cpu/idle", T, 1.0)]),
    ({"quality": "q"}, b"m f=1,q=192i %d\nm f=2,q=0i %d" % (T, T + 1), [("s/a/m/f", T, 1.0)]),
]  # fmt: skip


@pytest.mark.parametrize(("given", "payload", "expected"), READ, ids=[f"{g}-{p[:40]!r}" for g, p, _ in READ])
def test_what_is_read(given: dict[str, object], payload: bytes, expected: list[tuple[str, int, float]]) -> None:
    for more in ({}, {"format": "line"}):
        desk = Desk(given | more)
        for _ in range(4):  # by the book, then by what was learnt
            assert desk.rows(payload) == expected


BAD = [
    ({}, b"", "no_reading", 1),
    ({}, b"# comment", "no_reading", 1),
    ({}, b"m", "not_decodable", 1),
    ({}, b"m f=", "not_decodable", 1),
    ({}, b"m,a f=1", "not_decodable", 1),
    ({}, b"m,a= f=1", "not_decodable", 1),
    ({}, b"m,a=1,a=2 f=1", "not_decodable", 1),
    ({}, b"m f=1 noon", "not_decodable", 1),
    ({}, b"m f=1 1.5", "not_decodable", 1),
    ({}, b"m f=1 2 3", "not_decodable", 1),
    ({}, b"m f=nan", "not_decodable", 1),
    ({}, b"m f=inf", "not_decodable", 1),
    ({}, b"m f=1e999", "not_decodable", 1),
    ({}, b"m f=1_0", "not_decodable", 1),
    ({}, b"m f=99999999999999999999i", "not_decodable", 1),
    ({}, b'm f="open', "not_decodable", 1),
    ({}, b"m f=\xff", "not_utf8", 1),
    ({}, b"m f=1 99999999999999999999999", "not_decodable", 1),
    ({}, b"m f=1 5", "time_absurd", 1),
    ({}, b"m f=1 -5", "time_absurd", 1),
    ({}, b"m f=1,g=2 %d" % (NOW_NS + 2 * 86_400 * 10**9), "time_absurd", 2),
    ({}, b'm f="text"', "no_reading", 1),
    ({}, b"m f=true", "no_reading", 1),
    ({"only": ["f"]}, b'm f="text"', "value_not_number", 1),
    ({"key": "{host}"}, b"m f=1", "key_invalid", 1),
    ({"quality": "q"}, b"m f=1,q=0", "quality_bad", 1),
]


@pytest.mark.parametrize(("given", "payload", "reason", "count"), BAD, ids=[repr(p[:40]) for _, p, _, _ in BAD])
def test_what_is_malformed_is_counted(given: dict[str, object], payload: bytes, reason: str, count: int) -> None:
    desk = Desk({"format": "line"} | given)
    for _ in range(3):
        desk.drops.clear()
        assert desk.rows(payload) == []
        assert desk.drops.as_dict() == {reason: count}
        desk.rows(b"m,host=x f=1,g=2 %d" % T)


def test_a_bad_line_leaves_the_others_alone() -> None:
    desk = Desk()
    desk.rows(b"m f=1 %d" % T)
    rows = desk.rows(b"m f=1 %d\nm f=x %d\nm f=3 %d" % (T, T, T))
    assert [value for _, _, value in rows] == [1.0, 3.0]
    assert desk.drops.as_dict() == {"not_decodable": 1}


def agents(*values: bytes, stamps: tuple[int, ...] = (T, T, T + 1, T + 1)) -> bytes:
    """Two lines a moment, of one source each, with two fields each."""
    lines = zip((b"cpu,core=0", b"cpu,core=1") * 2, values[::2], values[1::2], stamps, strict=True)
    return b"\n".join(b"%b idle=%b,user=%b %d" % line for line in lines)


ODD: list[tuple[bytes, list[float], dict[str, int]]] = [
    (agents(b"1", b"2", b"3", b"-4.5e1", b"5", b"6", b"7", b"8.25"), [1, 2, 3, -45, 5, 6, 7, 8.25], {}),
    (agents(b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8") + b"\n", [1, 2, 3, 4, 5, 6, 7, 8], {}),
    (agents(b"1", b"2.", b".5", b"007", b"5", b"6", b"7", b"8"), [1, 2, 0.5, 7, 5, 6, 7, 8], {}),
    (agents(b"1", b"2", b"3", b"4", b"e", b"6", b"7", b"8"), [1, 2, 3, 4, 7, 8], {"not_decodable": 1}),
    (agents(b"1", b"2", b"3", b"4", b"1e999", b"6", b"7", b"8"), [1, 2, 3, 4, 7, 8], {"not_decodable": 1}),
    (agents(*(b"%d" % i for i in range(8)), stamps=(T, T, 5, T)), [0, 1, 2, 3, 6, 7],
     {"time_absurd": 2}),
    (agents(*(b"%d" % i for i in range(8)), stamps=(T, T, T // 10**6, T)), [0, 1, 2, 3, 4, 5, 6, 7], {}),
    (agents(*(b"%d" % i for i in range(8))).partition(b"\n")[2], [2, 3, 4, 5, 6, 7], {}),
]  # fmt: skip


@pytest.mark.parametrize(("payload", "values", "drops"), ODD, ids=[repr(p[-30:]) for p, _, _ in ODD])
def test_rounds_of_lines_are_read_as_each_line_is(payload: bytes, values: list[float], drops: dict[str, int]) -> None:
    desk = Desk()
    usual = agents(*(b"%d.5" % i for i in range(8)))
    for _ in range(3):
        assert [value for _, _, value in desk.rows(usual)] == [i + 0.5 for i in range(8)]
    assert desk.decoder._others[b"s/a"].rounds
    cold = Desk()
    expected = [row for line in payload.split(b"\n") for row in cold.rows((b"s/a", line)) if line]
    rows = desk.rows(payload)
    assert [value for _, _, value in rows] == values
    assert rows == expected
    assert desk.drops.as_dict() == drops
    assert len(desk.rows(usual)) == 8


NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(lambda x: repr(x).encode()),
    st.integers(-(2**62), 2**62).map(lambda x: b"%di" % x),
    st.sampled_from([b"t", b"FALSE", b'"a b"', b"1.", b".5", b"+1", b"1e5", b"-", b"7u", b"0012", b"1e-400", b"1E+3"]),
)
LINES = st.builds(
    lambda head, fields, stamp, end: head + b" " + b",".join(n + b"=" + v for n, v in fields.items()) + stamp + end,
    st.sampled_from([b"m", b"m,a=1", b"m,a=2,b=x"]),
    st.dictionaries(st.sampled_from([b"f", b"g", b"h1"]), NUMBERS, min_size=1, max_size=3),
    st.sampled_from([b"", b" %d" % T, b" 1759999999", b" x", b"  %d" % T]),
    st.sampled_from([b"\n", b"\r\n", b"\n\n"]),
)


@given(st.lists(LINES, min_size=1, max_size=8), st.booleans())
@settings(max_examples=250, deadline=None)
def test_what_was_learnt_changes_nothing(lines: list[bytes], booleans: bool) -> None:
    given_settings: dict[str, object] = {"format": "line", "booleans": booleans}
    warm, cold = Desk(given_settings), Desk(given_settings)
    for _ in range(3):
        warm.rows(b"".join(lines))
    warm.drops.clear()
    expected = []
    for line in lines:
        cold.decoder.forget()
        expected += cold.rows(line)
    cold.drops.pop("no_reading", None)  # type: ignore[call-overload]
    assert warm.rows(b"".join(lines)) == expected
    warm.drops.pop("no_reading", None)  # type: ignore[call-overload]
    assert warm.drops == cold.drops
