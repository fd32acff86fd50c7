"""A recording played is the recording: every cell and every time."""

import json
import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from simulators.playback import Recording, parse_time
from stepahead.contract.errors import UsageError


@pytest.fixture
def pump(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    lines = ["when;Flow Rate/l;Motor"]
    for i in range(500):
        moment = datetime.fromtimestamp(1_600_000_000 + 60 * i, UTC).replace(tzinfo=None)
        lines.append(f"{moment.isoformat(' ')};{float(rng.normal())!r};{float(rng.normal() * 1e9)!r}")
    path = tmp_path / "pump one.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    return path


def table(path: Path) -> list[list[str]]:
    return [line.split(";") for line in path.read_text(encoding="utf-8-sig").splitlines()][1:]


def test_one_message_per_row_round_trips_to_the_bit(pump: Path) -> None:
    recording = Recording(pump, "when", ";")
    messages = list(recording)
    assert len(messages) == recording.messages == 500
    for message, (when, flow, motor) in zip(messages, table(pump), strict=True):
        assert message.topic == "sensors/pump_one"
        content = json.loads(message.payload)
        assert content == {"ts": f"{when.replace(' ', 'T')}Z", "Flow Rate/l": float(flow), "Motor": float(motor)}
        assert datetime.fromisoformat(content["ts"]).timestamp() == message.time_s
    assert messages[1].time_s - messages[0].time_s == 60


def test_one_topic_per_column(pump: Path) -> None:
    recording = Recording(pump, "when", ";", topic="hall/1", per_column=True)
    messages = list(recording)
    assert len(messages) == recording.messages == 1000
    assert {m.topic for m in messages} == {"hall/1/Flow_Rate_l", "hall/1/Motor"}
    motor = [json.loads(m.payload)["value"] for m in messages if m.topic.endswith("Motor")]
    np.testing.assert_array_equal(motor, [float(row[2]) for row in table(pump)])


def test_the_first_seconds_only(pump: Path) -> None:
    assert len(list(Recording(pump, "when", ";").first(600))) == 10


def test_missing_cells_are_left_out_and_counted_and_text_is_sent_as_text(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("t,a,b\n0,1,\n1,NaN,off\n\n2,inf,2\n")
    recording = Recording(path, "t")
    assert [json.loads(m.payload) for m in recording] == [
        {"ts": 0, "a": 1.0},
        {"ts": 1, "b": "off"},
        {"ts": 2, "a": "inf", "b": 2.0},
    ]
    assert recording.missing == 2
    list(recording)
    assert recording.missing == 2


@pytest.mark.parametrize(
    ("text", "sent", "seconds"),
    [
        ("1600000000", 1_600_000_000, 1.6e9),
        ("1600000000.25", 1_600_000_000.25, 1_600_000_000.25),
        ("1600000000000", 1_600_000_000_000, 1.6e9),
        ("1600000000000000", 1_600_000_000_000_000, 1.6e9),
        ("1600000000000000001", 1_600_000_000_000_000_001, 1.6e9),
        ("2020-09-13 12:26:40", "2020-09-13T12:26:40Z", 1.6e9),
        ("2020-09-13T14:26:40+02:00", "2020-09-13T14:26:40+02:00", 1.6e9),
        ("2020-09-13T12:26:40.123456789Z", "2020-09-13T12:26:40.123456789Z", 1_600_000_000.123456),
        ("2020-09-13", "2020-09-13T00:00:00Z", 1_599_955_200.0),
    ],
)
def test_times_keep_their_digits(text: str, sent: str | int | float, seconds: float) -> None:
    value, time_s = parse_time(text)
    assert value == sent
    assert type(value) is type(sent)
    assert math.isclose(time_s, seconds, abs_tol=1e-5, rel_tol=0)


@pytest.mark.parametrize(
    ("content", "time", "delimiter", "word"),
    [
        ("t,a\n0,1\n", "time", ",", "no column 'time'; its columns are: t, a"),
        ("t\n0\n", "t", ",", "no column beside"),
        ("t,a\n0,1\n", "t", ";;", "';;'"),
        ("t,a\nyesterday,1\n", "t", ",", "row 0: 'yesterday' is not a time"),
        ("t,a\ninf,1\n", "t", ",", "row 0: 'inf' is not a time"),
        ("t,a\n0,1\n1,2,3\n", "t", ",", "row 1: 3 cells"),
        ("", "t", ",", "no column 't'"),
    ],
)
def test_unusable_files_are_named(tmp_path: Path, content: str, time: str, delimiter: str, word: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content)
    with pytest.raises(UsageError, match=word):
        list(Recording(path, time, delimiter))


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.csv"):
        Recording(tmp_path / "absent.csv", "t")
    (tmp_path / "binary.csv").write_bytes(b"t,a\n\xff\xfe,1\n")
    with pytest.raises(UsageError, match=r"binary\.csv"):
        Recording(tmp_path / "binary.csv", "t")
