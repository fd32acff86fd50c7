"""The live table fits its terminal, lines up its decimal points, and hides nothing silently."""

import io
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from stepahead.telemetry.digits import aligned, decimals, sparkline
from stepahead.telemetry.livetable import MARK_ANOMALY, live_table, plain_line, summary
from stepahead.telemetry.scoreboard import Scoreboard

SCALES = {"plant/pump1/pressure": 0.02, "plant/pump1/temperature": 1.0, "plant/tank1/level": 150.0, "a": 1e9, "b": 1e-7}


def board_of(scales: dict[str, float], n: int = 200, now_s: float = 10.0) -> Scoreboard:
    board = Scoreboard()
    rng = np.random.default_rng(0)
    for key, scale in scales.items():
        last, guess = 0.0, 0.0
        for t in range(n):
            value = 5 * scale + scale * float(rng.normal())
            made = value + scale * float(rng.normal())
            message = {"series": key, "issued_at": t, "observed": value, "value": made, "status": "ok", "model": 3}
            message |= {"lower": made - 1.7 * scale, "upper": made + 1.7 * scale, "anomaly": t == n - 3}
            board.forecast(message | ({"error": value - guess} if t else {}), now_s - 1.0)
            last, guess = value, made
        assert math.isfinite(last)
    board.take_status({"status": "online", "readings_per_second": 240.4, "fine_tunes": {"adopted": 5, "rejected": 2}})
    return board


def drawn(renderable: RenderableType, width: int, height: int = 30) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().rstrip("\n").split("\n")


@pytest.mark.parametrize("width", [60, 80, 109, 110, 120, 200])
@pytest.mark.parametrize(
    "scales", [SCALES, {}, dict.fromkeys(map(str, range(400)), 1.0)], ids=["mixed", "none", "many"]
)
def test_it_fits_any_terminal(width: int, scales: dict[str, float]) -> None:
    board = board_of(scales, n=60)
    lines = drawn(live_table(board, width, 30, 10.0, 62.0, "mqtt://127.0.0.1:1883"), width)
    assert all(len(line) <= width for line in lines)
    assert len(lines) <= 29
    assert not any("[" in line for line in lines)
    if len(scales) == 400:
        assert f"… and {400 - (30 - 7 - 1)} more series" in lines[-1]


@pytest.mark.parametrize("width", [80, 120])
def test_the_picture(width: int) -> None:
    board = board_of(SCALES)
    lines = drawn(live_table(board, width, 30, 10.0, 62.0, "source"), width)
    assert lines[0].startswith(" stepahead  source")
    assert lines[0].rstrip().endswith("01:02")
    assert "240 readings/s" in lines[1]
    assert "5 series" in lines[1]
    assert "model 3" in lines[1]
    assert "5 adopted, 2 rejected" in lines[1]
    assert "drops 0" in lines[1]
    header, rows = lines[4], lines[5:]
    assert [line.split()[1] for line in rows] == sorted(SCALES)
    assert all(line.startswith(MARK_ANOMALY) for line in rows)
    assert ("lower" in header and "inside" in header) == (width == 120)
    assert ("±" in header) == (width == 80)
    for key in ("plant/pump1/pressure", "plant/tank1/level"):
        score = board.series[key]
        row = next(line for line in rows if key in line)
        shown = [float(text) for text in re.findall(r"(?<!\S)[-+]?\d[\d.]*(?:e[+-]?\d+)?(?!\S)", row)]
        assert shown[0] == pytest.approx(score.observed, rel=1e-3, abs=0.02 * SCALES[key])
        assert shown[1] == pytest.approx(score.value, rel=1e-3, abs=0.02 * SCALES[key])
        assert f"{score.totals.skill:+.2f}" in row
    fine, coarse, whole = (next(line for line in rows if key in line) for key in list(SCALES)[:3])
    point = fine.index(".")
    assert coarse.index(".") == point, "the decimal points of a column stand below each other"
    assert whole[point - 1].isdigit()
    assert whole[point] == " "


def test_a_mark_goes_out() -> None:
    lines = drawn(live_table(board_of(SCALES), 80, 30, 20.0, 62.0, "source"), 80)
    assert not any(MARK_ANOMALY in line for line in lines)


def test_what_needs_eyes_is_shown_when_there_is_no_room_for_all() -> None:
    board = board_of(dict.fromkeys([f"s{i:03}" for i in range(100)], 1.0), n=20, now_s=0.0)
    board.series["s077"].marked_until_s = 30.0
    lines = drawn(live_table(board, 80, 20, 20.0, 62.0, "source"), 80)
    assert any("s077" in line and MARK_ANOMALY in line for line in lines)
    assert any("s000" in line for line in lines)


def test_a_long_name_keeps_both_ends() -> None:
    key = "site/berlin/hall/seven/machine/twelve/bearing/outer/temperature"
    row = drawn(live_table(board_of({key: 1.0}), 80, 30, 20.0, 62.0, "source"), 80)[5]
    assert re.search(r"site/\S*…\S*temperature", row)


def test_offline_is_said() -> None:
    board = board_of(SCALES)
    board.take_status({"status": "offline", "drops": {"late": 3, "duplicate": 1, "too_large": 0}})
    lines = drawn(live_table(board, 120, 30, 20.0, 62.0, "source"), 120)
    assert "offline" in lines[0]
    assert "drops 4 (duplicate 1, late 3)" in lines[1]


def test_the_plain_line_and_the_summary_agree_with_the_board() -> None:
    board = board_of(SCALES)
    line = plain_line(board, 20.0, 62.0)
    assert line.startswith("01:02  240 readings/s  5 series  model 3  fine-tunes 5 adopted, 2 rejected  drops 0")
    assert "\n" not in line
    for width in (80, 120):
        lines = drawn(summary(board, width, 20.0, {"plant/tank1/level": 120.0}), width)
        assert all(len(text) <= width for text in lines)
        row = next(text for text in lines if "plant/tank1/level" in text).split()
        score = board.series["plant/tank1/level"]
        assert row[1] == "200"
        assert float(row[2]) == pytest.approx(score.totals.mae, rel=0.01)
        assert float(row[3]) == 120.0
        assert row[4] == f"{score.totals.skill:+.2f}"
        assert row[5] == f"{score.totals.coverage:.1%}"
        assert row[6] == "1"


@given(st.lists(st.tuples(st.floats(-1e300, 1e300) | st.just(math.nan), st.integers(0, 4)), max_size=12))
def test_aligned_numbers_have_one_width_and_one_point(pairs: list[tuple[float, int]]) -> None:
    texts = aligned([value for value, _ in pairs], [place for _, place in pairs])
    assert len({len(text) for text in texts}) <= 1
    assert len({text.index(".") for text in texts if "." in text and "e" not in text}) <= 1
    for text, (value, place) in zip(texts, pairs, strict=True):
        if not math.isfinite(value):
            assert text.strip() == ""
        elif "e" in text:
            assert float(text) == pytest.approx(value, rel=0.01)
        else:
            assert float(text) == pytest.approx(value, abs=0.51 * 10.0**-place)


@given(st.floats(min_value=1e-3, max_value=1e5))
def test_decimals_show_two_digits_of_the_uncertainty(uncertainty: float) -> None:
    places = decimals(uncertainty)
    if uncertainty < 9.9:
        # Two significant digits: the last shown decimal is between 1% and 10% of the uncertainty (before rounding up).
        assert 0.0099 * uncertainty <= 10.0**-places <= 0.1001 * uncertainty
    else:
        assert places == 0


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=50))
def test_a_sparkline_keeps_order_and_spans_its_height(values: list[float]) -> None:
    line = sparkline(values)
    assert len(line) == len(values)
    order = np.argsort(values, kind="stable")
    assert all(a <= b for a, b in zip([line[i] for i in order], [line[i] for i in order][1:], strict=False))
    if values and max(values) / 2 - min(values) / 2 > 0:
        assert line[int(order[0])] == "▁"
        assert line[int(order[-1])] == "█"
