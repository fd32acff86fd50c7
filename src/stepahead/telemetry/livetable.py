"""The live table: a scoreboard drawn for a terminal of any width from 60 columns on."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stepahead.telemetry.digits import aligned, clock, decimals, percent, shorten, signed, sparkline
from stepahead.telemetry.scoreboard import HISTORY, Scoreboard, SeriesScore

__all__ = ["live_table", "plain_line", "summary"]

WIDE = 110
"""From so many columns on the interval is shown by its two ends, and the recent skill and the coverage as well."""

Column: TypeAlias = tuple[str, Sequence[str], Sequence[str]]
"""Name, texts and styles, one of each per row."""

GOOD = 0.05
"""A skill beyond ± this is coloured: below it, nobody should read anything into it."""

MARK_ANOMALY = "●"


def live_table(
    board: Scoreboard, width: int, height: int, now_s: float, elapsed_s: float, source: str
) -> RenderableType:
    """The whole screen: header, one line per series, and how many series did not fit.

    Args:
        board: the scores.
        width: columns of the terminal.
        height: lines of the terminal.
        now_s: on the clock that the board was fed with, for the anomaly marks.
        elapsed_s: time since the start, shown.
        source: where the readings come from, shown.
    """
    rows = sorted(board.series.values(), key=lambda s: s.key)
    room = max(height - 7, 1)
    hidden = 0
    if len(rows) > room:
        # What needs eyes comes first, then the order of names.
        rows.sort(key=lambda s: s.marked_until_s <= now_s)
        hidden = len(rows) - (room - 1)
        rows = sorted(rows[: room - 1], key=lambda s: s.key)
    parts: list[RenderableType] = [_title(board, width, elapsed_s, source), *_header(board, width, now_s), Text()]
    if rows:
        parts.append(_series_table(rows, width, _stride(board, now_s), now_s))
    else:
        parts.append(Text("  waiting for the first forecasts …", style="dim"))
    if hidden:
        parts.append(Text(f"  … and {hidden:,} more series", style="dim"))
    return Group(*parts)


def plain_line(board: Scoreboard, now_s: float, elapsed_s: float) -> str:
    """The header as one line of plain text, for logs and pipes."""
    overall = board.overall()
    return "  ".join(
        [
            clock(elapsed_s),
            *_facts(board, now_s, short=False),
            f"skill {signed(overall['skill'])}",
            f"coverage {percent(overall['coverage'])}",
        ]
    )


def summary(board: Scoreboard, width: int, now_s: float, best: Mapping[str, float] | None = None) -> RenderableType:
    """What is printed at the end: readings, mean absolute error, skill, coverage and anomalies of each series.

    Args:
        board: the scores.
        width: columns of the terminal.
        now_s: on the clock that the board was fed with.
        best: series key -> smallest possible mean absolute error, where it is known (simulated feeds): the floor.
    """
    rows = sorted(board.series.values(), key=lambda s: s.key)
    mae = [_nan(s.totals.mae) for s in rows]
    places = [decimals(m) for m in mae]
    table = _plain_table()
    columns: list[tuple[str, Sequence[str]]] = [
        ("readings", [f"{s.readings:,}" for s in rows]),
        ("MAE", aligned(mae, places)),
        ("skill", [signed(s.totals.skill) for s in rows]),
        (f"in {board.level:.0%}", [percent(s.totals.coverage) for s in rows]),
        ("flagged", [f"{s.anomalies:,}" for s in rows]),
    ]
    if best is not None:
        columns.insert(2, ("floor", aligned([best.get(s.key, math.nan) for s in rows], places)))
    table.add_column("series", no_wrap=True, overflow="ellipsis")
    _add_columns(table, columns)
    for i, score in enumerate(rows):
        styles = {"skill": skill_style(score.totals.skill)}
        table.add_row(Text(score.key), *(_cell(name, texts, i, styles.get(name, "")) for name, texts in columns))
    return Group(table, Text(), *_header(board, width, now_s))


def _title(board: Scoreboard, width: int, elapsed_s: float, source: str) -> Text:
    left = Text.assemble(" ", ("stepahead", "bold"), "  ", (source, "dim"))
    state = str(board.status.get("status", "online"))
    if state != "online":
        left.append(f"  {state}", style="red")
    right = clock(elapsed_s)
    left.truncate(max(width - len(right) - 3, 1), overflow="ellipsis")
    left.pad_right(max(width - left.cell_len - len(right) - 1, 1))
    return left.append(right)


def _header(board: Scoreboard, width: int, now_s: float) -> list[RenderableType]:
    overall = board.overall()
    facts = _line(_facts(board, now_s, short=width < WIDE), width)
    scores = Text.assemble(" skill against the last value ", (signed(overall["skill"]), skill_style(overall["skill"])))
    scores.append("  latest ")
    scores.append(signed(overall["recent_skill"]), style=skill_style(overall["recent_skill"]))
    scores.append(f"  in the {board.level:.0%} interval {percent(overall['coverage'])}")
    scores.truncate(width, overflow="ellipsis")
    return [facts, scores]


def _line(facts: Sequence[str], width: int) -> Text:
    gap = 3 if width >= WIDE else 2
    line = Text(" " + (" " * gap).join(facts), no_wrap=True)
    line.truncate(width, overflow="ellipsis")
    return line


def _facts(board: Scoreboard, now_s: float, short: bool) -> list[str]:
    tunes = board.fine_tunes()
    drops = {reason: count for reason, count in board.drops().items() if count}
    dropped = f"drops {sum(drops.values()):,}"
    if drops and not short:
        dropped += " (" + ", ".join(f"{reason} {count:,}" for reason, count in sorted(drops.items())) + ")"
    results = [f"{tunes['adopted']} adopted", f"{tunes['rejected']} rejected"]
    if tunes["failed"]:
        results.append(f"{tunes['failed']} failed")
    return [
        f"{board.readings_per_second(now_s):,.0f} readings/s",
        f"{len(board.series):,} series",
        f"model {board.model_version()}",
        "fine-tunes " + ", ".join(results),
        dropped,
    ]


def _series_table(rows: Sequence[SeriesScore], width: int, stride: int, now_s: float) -> Table:
    # The running error moves slowly, so that the decimals do not flicker as those of an interval would.
    places = [decimals(_nan(s.totals.mae)) for s in rows]
    marked = [now_s < s.marked_until_s for s in rows]
    quiet = ["" if s.status == "ok" else "dim" for s in rows]
    columns: list[Column] = [
        ("observed", aligned([s.observed for s in rows], places), ["bold red" if m else "" for m in marked]),
        ("forecast", aligned([s.value for s in rows], places), quiet),
    ]
    if width >= WIDE:
        columns.append(("lower", aligned([s.lower for s in rows], places), quiet))
        columns.append(("upper", aligned([s.upper for s in rows], places), quiet))
    else:
        # Halves first: the width of an interval between two values near ±1.8e308 is not finite.
        columns.append(("±", aligned([s.upper / 2 - s.lower / 2 for s in rows], places), quiet))
    columns.append(skill_column("skill", [s.totals.skill for s in rows]))
    if width >= WIDE:
        columns.append(skill_column("latest", [s.recent_skill for s in rows]))
        columns.append(("inside", [percent(s.totals.coverage) for s in rows], quiet))

    used = sum(max(len(name), *map(len, texts)) + 2 for name, texts, _ in columns) + 3
    name_width = min(max(len("series"), *(len(s.key) for s in rows)), max(width - used - (14 if width >= 72 else 0), 8))
    spark_width = min(max(width - used - name_width - 3, 0), 60)
    stride = min(stride, 1 << int(math.log2(max(HISTORY // max(spark_width, 1), 1))))
    table = _plain_table()
    table.add_column("", width=1)
    table.add_column("series", width=name_width, no_wrap=True)
    _add_columns(table, [(name, texts) for name, texts, _ in columns])
    if spark_width >= 4:
        table.add_column("latest values"[:spark_width], width=spark_width, no_wrap=True)
    for i, score in enumerate(rows):
        mark = Text(MARK_ANOMALY if marked[i] else "", style="bold red")
        cells = [_cell(name, texts, i, styles[i]) for name, texts, styles in columns]
        spark = [_spark(score, spark_width, stride)] if spark_width >= 4 else []
        table.add_row(mark, Text(shorten(score.key, name_width), style=quiet[i]), *cells, *spark)
    return table


def _add_columns(table: Table, columns: Sequence[tuple[str, Sequence[str]]]) -> None:
    # Justified by blanks: rich cuts blanks at the end before it justifies, and with them the alignment of the points.
    for name, texts in columns:
        width = max(map(len, [name, *texts]))
        table.add_column(name.rjust(width), min_width=width, no_wrap=True)


def _cell(name: str, texts: Sequence[str], row: int, style: str) -> Text:
    return Text(texts[row].rjust(max(map(len, [name, *texts]))), style=style)


def skill_column(name: str, values: Sequence[float | None]) -> Column:
    """A column of skills: green for better than persistence, red for worse, dim for unknown."""
    return name, [signed(value) for value in values], [skill_style(value) for value in values]


def _spark(score: SeriesScore, width: int, stride: int) -> Text:
    if score.status == "stale":
        return Text("stale", style="dim")
    # Buckets begin at whole multiples of the stride, or the picture would shimmer from frame to frame.
    history = list(score.history)
    first = -(score.readings - len(history)) % stride
    buckets = [history[i : i + stride] for i in range(first, len(history), stride)][-width:]
    text = Text(sparkline([bucket[-1][0] for bucket in buckets]), style="cyan")
    for i, bucket in enumerate(buckets):
        if any(anomaly for _, anomaly in bucket):
            text.stylize("bold red", i, i + 1)
    return text


def _stride(board: Scoreboard, now_s: float) -> int:
    """Readings per block of the sparkline: a power of two that lets it move about four blocks a second."""
    rate_hz = board.readings_per_second(now_s) / max(len(board.series), 1)
    return 1 << round(math.log2(max(rate_hz / 4, 1.0)))


def _plain_table() -> Table:
    return Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim", collapse_padding=False)


def skill_style(value: float | None) -> str:
    """Green for better than persistence, red for worse, dim for unknown."""
    if value is None:
        return "dim"
    return "green" if value > GOOD else "red" if value < -GOOD else ""


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
