import io
import json

import pytest

from stepahead.telemetry.log import make_log


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_a_value_of_a_stranger_stays_on_its_line() -> None:
    stream = io.StringIO()
    make_log(stream).warning("bad", topic="a\nb c\x1b[2J=", count=3, share=0.25, fine=True)
    assert len(lines(stream)) == 1
    assert lines(stream)[0].endswith(r' warning bad topic="a\nb c\u001b[2J=" count=3 share=0.25 fine=true')


def test_a_long_value_is_cut() -> None:
    stream = io.StringIO()
    make_log(stream).info("bad", payload="x" * 1_000_000)
    assert len(stream.getvalue()) < 2200


@pytest.mark.parametrize(("level", "written"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_only_what_is_important_enough_is_written(level: str, written: int) -> None:
    stream = io.StringIO()
    log = make_log(stream, level)  # type: ignore[arg-type]
    for write in (log.debug, log.info, log.warning, log.error):
        write("event")
    assert len(lines(stream)) == written


def test_a_stream_that_is_gone_stops_nothing() -> None:
    stream = io.StringIO()
    log = make_log(stream)
    stream.close()
    log.info("event")
    log.error("event")


def test_a_running_count_is_told_at_once_and_then_once_an_interval_with_its_growth() -> None:
    stream, clock = io.StringIO(), Clock()
    log = make_log(stream, clock=clock)
    for tick in range(1000):
        clock.now_s = tick * 0.1
        log.warning("dropped", reason="late", total=tick + 1)
        log.warning("dropped", reason="duplicate", total=1 if tick > 500 else 0)
    clock.now_s = 200.0
    log.warning("dropped", reason="late", total=1000)
    log.warning("dropped", reason="late", total=1000)
    late = [line for line in lines(stream) if "reason=late" in line]
    assert len(late) == 11
    assert sum(int(line.rpartition("count=")[2]) for line in late) == 1000
    assert [line.partition(" warning ")[2] for line in lines(stream) if "duplicate" in line] == [
        "dropped reason=duplicate count=1"
    ]


def test_what_is_told_again_and_again_is_held_back_and_none_of_it_is_lost() -> None:
    stream, clock = io.StringIO(), Clock()
    log = make_log(stream, clock=clock)
    for tick in range(600):
        clock.now_s = float(tick)
        log.error("http", text="a defect")
        if tick % 100 == 0:
            log.error("http", text="another")
    defects = [line for line in lines(stream) if '"a defect"' in line]
    assert all("count=" not in line for line in defects[:5])
    counts = [int(line.rpartition("count=")[2]) for line in defects[5:]]
    assert 590 <= 5 + sum(counts) <= 600
    assert set(counts[1:]) == {10}
    assert len([line for line in lines(stream) if "another" in line]) == 6, "each kind is bounded by itself"


def test_texts_of_strangers_are_not_kept_for_ever() -> None:
    stream, clock = io.StringIO(), Clock()
    log = make_log(stream, clock=clock)
    for number in range(3000):
        log.error("http", text=str(number))
    assert len(lines(stream)) == 3000
    for _ in range(6):
        log.error("http", text="2999")
    assert len(lines(stream)) == 3004, "of a kind that is remembered five lines at once"


def test_what_is_not_important_enough_does_not_use_up_what_may_be_told() -> None:
    stream = io.StringIO()
    log = make_log(stream, clock=Clock())
    for _ in range(10):
        log.debug("event", text="same")
    log.info("event", text="same")
    assert lines(stream)[0].endswith("info event text=same")


def test_as_json_every_line_is_one_object_whatever_a_stranger_sent() -> None:
    stream = io.StringIO()
    log = make_log(stream, wall_ns=lambda: 1_760_000_000_123_456_789, form="json")
    log.warning(
        "bad", topic='a\nb"c\x1b[2J', count=3, share=0.25, odd=float("nan"), fine=True, none=None, long="x" * 9999
    )
    document = json.loads(stream.getvalue())
    assert stream.getvalue().count("\n") == 1
    assert document.pop("long") == "x" * 2000 + "…"
    assert document == {
        "time": "2025-10-09T08:53:20.123Z", "level": "warning", "event": "bad", "topic": 'a\nb"c\x1b[2J',
        "count": 3, "share": 0.25, "odd": "nan", "fine": True, "none": None,
    }  # fmt: skip
