import io

import pytest

from stepahead.telemetry.log import Log, RepeatBound


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_a_value_of_a_stranger_stays_on_its_line() -> None:
    stream = io.StringIO()
    Log(stream).warning("bad", topic="a\nb c\x1b[2J=", count=3, share=0.25, fine=True)
    assert len(lines(stream)) == 1
    assert lines(stream)[0].endswith(r' warning bad topic="a\nb c\u001b[2J=" count=3 share=0.25 fine=true')


def test_a_long_value_is_cut() -> None:
    stream = io.StringIO()
    Log(stream).info("bad", payload="x" * 1_000_000)
    assert len(stream.getvalue()) < 2200


@pytest.mark.parametrize(("level", "written"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_only_what_is_important_enough_is_written(level: str, written: int) -> None:
    stream = io.StringIO()
    log = Log(stream, level)  # type: ignore[arg-type]
    for write in (log.debug, log.info, log.warning, log.error):
        write("event")
    assert len(lines(stream)) == written


def test_a_stream_that_is_gone_stops_nothing() -> None:
    stream = io.StringIO()
    log = Log(stream)
    stream.close()
    log.info("event")
    log.error("event")


def test_each_kind_is_bounded_by_itself() -> None:
    bound = RepeatBound(10.0)
    told = []
    for tick in range(1000):
        counts = {"late": tick + 1, "duplicate": 1 if tick > 500 else 0}
        told += [(tick * 0.1, kind, count) for kind, count in bound.due(counts, tick * 0.1).items()]
    assert [round(at) for at, kind, _ in told if kind == "late"] == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert [(round(at), count) for at, kind, count in told if kind == "duplicate"] == [(50, 1)]
    assert sum(count for _, kind, count in told if kind == "late") == 901
