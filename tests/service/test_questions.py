import json

import pytest

from stepahead.contract.reasons import DropCounter
from stepahead.contract.records import Readings
from stepahead.contract.settings import Settings
from stepahead.forecasting.engine import Engine
from stepahead.service.latest import LatestForecasts
from stepahead.service.questions import Questions
from stepahead.wire.delivery import AnnotatedDelivery, Delivery
from stepahead.wire.properties import content_type, correlation_data, prefixed, read_question, user_property
from stepahead.wire.topics import escape_key, parse_filter
from tests.service.engine_double import MINUTE_NS

KEY = "/plant/pump#7"
ASK = f"stepahead/v1/ask/{escape_key(KEY)}".encode()
RESPONSE = b"\x08\x00\x04back"


class Desk:
    def __init__(self, mqtt5: bool = True) -> None:
        self.engine = Engine(Settings())
        self.drops = DropCounter()
        filters = [parse_filter("sensors/{x}/#"), parse_filter("$share/g/back/in")]
        self.questions = Questions("stepahead/v1", [0.9], filters, self.engine.table.find, self.drops, mqtt5)
        slot = self.engine.intern(KEY)
        for minute in range(3):
            self.questions.note(self.engine.step(Readings.of([slot], [minute * MINUTE_NS], [20.0 + minute])))


def question(topic: bytes = ASK, properties: bytes = b"") -> AnnotatedDelivery:
    message = AnnotatedDelivery(topic, b"", 2, 1, 0)
    message.properties = prefixed(properties)
    return message


def test_without_a_response_topic_the_answer_has_its_own() -> None:
    for desk, ask in ((Desk(mqtt5=False), Delivery(ASK, b"", 2, 1, 0)), (Desk(), question())):
        [row] = desk.questions.answer([ask])
        assert row[0].decode() == f"stepahead/v1/answer/{escape_key(KEY)}"
        answer = json.loads(row[1])
        assert (answer["series"], answer["observed"], answer["issued_at"]) == (KEY, 22.0, 120_000)
        assert len(row) == (3 if desk.questions._mqtt5 else 2)


def test_the_asker_gets_its_correlation_data_back_where_it_wants() -> None:
    more = user_property("who", "me") + b"\x01\x01" + b"\x0b\xff\x01" + b"\x23\x00\x01" + b"\x02\x00\x00\x00\x09"
    [row] = Desk().questions.answer([question(properties=more + RESPONSE + correlation_data(b"\x00\xff"))])
    assert (row[0], row[2]) == (b"back", content_type("application/json") + correlation_data(b"\x00\xff"))  # type: ignore[misc]


def test_what_is_not_known_is_said() -> None:
    desk = Desk()
    desk.engine.intern("silent")
    rows = desk.questions.answer([question(b"stepahead/v1/ask/nobody"), question(b"stepahead/v1/ask/silent")])
    assert [json.loads(row[1]) for row in rows] == [
        {"series": "nobody", "status": "unknown"},
        {"series": "silent", "status": "unknown"},
    ]


@pytest.mark.parametrize(
    "topic",
    [
        *[b"", b"a/+", b"#", b"$SYS/x", b"a\x00", b"\xff"],
        *[b"sensors/a/b", b"back/in", ASK, b"stepahead/v1/status", b"stepahead/v1/forecast/a"],
    ],
)
def test_no_answer_goes_where_it_would_be_heard_or_believed(topic: bytes) -> None:
    desk = Desk()
    asked = question(properties=b"\x08" + len(topic).to_bytes(2, "big") + topic)
    assert desk.questions.answer([asked]) == []
    assert desk.drops.as_dict() == {"ask_invalid": 1}


@pytest.mark.parametrize(
    "block", [b"\x05\x08\x00\x09ab", b"\x01\x7f", b"\x03\x26\x00\x01", b"\x02\x0b\xff", b"\x01\x02"]
)
def test_malformed_properties_are_counted(block: bytes) -> None:
    desk = Desk()
    message = AnnotatedDelivery(ASK, b"", 2, 1, 0)
    message.properties = block
    assert desk.questions.answer([message]) == []
    assert desk.drops.as_dict() == {"ask_invalid": 1}
    assert read_question(block) is None


def test_a_topic_that_is_no_text_is_counted() -> None:
    desk = Desk()
    assert desk.questions.answer([question(b"stepahead/v1/ask/\xff"), question(b"stepahead/v1/ask/%FF")]) == []
    assert desk.drops.as_dict() == {"not_utf8": 2}


def test_the_last_of_a_series_counts_and_other_shapes_are_left_out() -> None:
    engine, latest = Engine(Settings()), LatestForecasts()
    slots = [engine.intern(f"s{i}") for i in range(100)]
    times = [t * MINUTE_NS for t in range(3) for _ in slots]
    batch = Readings.of(slots * 3, times, [float(i) for i in range(300)])
    latest.note(engine.step(batch))
    for slot in slots:
        last = latest.of(slot)
        assert last is not None
        assert last.observed.tolist() == [200.0 + slot]
    other = Engine(Settings.model_validate({"interval": {"levels": [0.5, 0.9]}}))
    latest.note(other.step(Readings.of([other.intern("a")], [9 * MINUTE_NS], [7.0])))
    last = latest.of(0)
    assert last is not None
    assert last.observed.tolist() == [200.0]
