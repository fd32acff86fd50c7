"""The live table: a scoreboard drawn for a terminal of any width from 60 columns on."""

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stepahead.telemetry.digits import aligned, decimals, sparkline
from stepahead.telemetry.scoreboard import Scoreboard, SeriesScore

__all__ = ["live_table", "plain_line", "summary_table"]

WIDE = 110
"""From so many columns on the interval is shown by its two ends, and the recent skill and the coverage as well."""

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
    parts: list[RenderableType] = [*_header(board, width, now_s, elapsed_s, source), Text()]
    if rows:
        parts.append(_series_table(rows, width, now_s))
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


def summary_table(board: Scoreboard) -> RenderableType:
    """Per series: readings, mean absolute error, skill against persistence, coverage seen, anomalies."""
    rows = sorted(board.series.values(), key=lambda s: s.key)
    table = _plain_table()
    columns: list[tuple[str, Sequence[str]]] = [
        ("readings", [f"{s.readings:,}" for s in rows]),
        ("MAE", aligned([_nan(s.totals.mae) for s in rows], [decimals(_nan(s.totals.mae)) for s in rows])),
        ("skill", [signed(s.totals.skill) for s in rows]),
        ("recent", [signed(s.recent_skill) for s in rows]),
        (f"in {board.level:.0%}", [percent(s.totals.coverage) for s in rows]),
        ("anomalies", [f"{s.anomalies:,}" for s in rows]),
    ]
    table.add_column("series", no_wrap=True, overflow="ellipsis")
    for name, _ in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for i, score in enumerate(rows):
        cells = [Text(values[i]) for _, values in columns]
        cells[2].stylize(skill_style(score.totals.skill))
        cells[3].stylize(skill_style(score.recent_skill))
        table.add_row(Text(score.key), *cells)
    return table


def _header(board: Scoreboard, width: int, now_s: float, elapsed_s: float, source: str) -> list[RenderableType]:
    state = str(board.status.get("status", "")) if board.status else ""
    left = Text.assemble(" ", ("stepahead", "bold"), "  ", (source, "dim"))
    if state and state != "online":
        left.append(f"  {state}", style="red")
    right = clock(elapsed_s)
    left.truncate(max(width - len(right) - 3, 1), overflow="ellipsis")
    left.pad_right(max(width - left.cell_len - len(right) - 1, 1))
    left.append(right)
    overall = board.overall()
    facts = _line(_facts(board, now_s, short=width < WIDE), width)
    scores = Text.assemble(" skill against the last value ", (signed(overall["skill"]), skill_style(overall["skill"])))
    scores.append("   latest ")
    scores.append(signed(overall["recent_skill"]), style=skill_style(overall["recent_skill"]))
    scores.append(f"   inside the {board.level:.0%} interval {percent(overall['coverage'])}")
    scores.truncate(width, overflow="ellipsis")
    return [left, facts, scores]


def _line(facts: Sequence[str], width: int) -> Text:
    line = Text(" " + "   ".join(facts), no_wrap=True)
    line.truncate(width, overflow="ellipsis")
    return line


def _facts(board: Scoreboard, now_s: float, short: bool) -> list[str]:
    tunes = board.fine_tunes()
    drops = board.drops()
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


def _series_table(rows: Sequence[SeriesScore], width: int, now_s: float) -> Table:
    wide = width >= WIDE
    half = [(s.upper - s.lower) / 2 for s in rows]
    places = [decimals(h) for h in half]
    observed = aligned([s.observed for s in rows], places)
    forecast = aligned([s.value for s in rows], places)
    columns: list[tuple[str, list[str]]] = [("observed", observed), ("forecast", forecast)]
    if wide:
        lower, upper = (aligned(ends, places) for ends in ([s.lower for s in rows], [s.upper for s in rows]))
        joined = [f"{a} … {b}" if a.strip() else " " * len(a) for a, b in zip(lower, upper, strict=True)]
        columns.append(("interval", joined))
    else:
        columns.append(("  ±", [f"± {h}" if h.strip() else h for h in aligned(half, places)]))
    columns.append(("skill", [signed(s.totals.skill) for s in rows]))
    if wide:
        columns.append(("latest", [signed(s.recent_skill) for s in rows]))
        columns.append(("inside", [percent(s.totals.coverage) for s in rows]))

    names = [s.key for s in rows]
    used = sum(max(len(name), *map(len, texts)) + 2 for name, texts in columns) + 2
    name_width = min(max(len("series"), *map(len, names)), max(width - used - 2 - 10, 8))
    spark_width = min(max(width - used - name_width - 4, 0), 60)

    table = _plain_table()
    table.add_column("", width=1)
    table.add_column("series", width=name_width, no_wrap=True)
    for name, texts in columns:
        table.add_column(name, width=max(len(name), *map(len, texts)), justify="right", no_wrap=True)
    if spark_width >= 4:
        table.add_column("latest readings"[:spark_width], width=spark_width, no_wrap=True)
    for i, score in enumerate(rows):
        table.add_row(
            *_row(score, shorten(score.key, name_width), [texts[i] for _, texts in columns], spark_width, now_s)
        )
    return table


def _row(score: SeriesScore, name: str, texts: Sequence[str], spark_width: int, now_s: float) -> list[Text]:
    marked = now_s < score.marked_until_s
    quiet = "" if score.status == "ok" else "dim"
    cells = [Text(text, style=quiet) for text in texts]
    if marked:
        cells[0].stylize("bold red")
    cells[3].stylize(skill_style(score.totals.skill))
    if len(cells) > 4:
        cells[4].stylize(skill_style(score.recent_skill))
    row = [Text(MARK_ANOMALY if marked else "", style="bold red"), Text(name, style=quiet), *cells]
    if spark_width >= 4:
        row.append(_spark(score, spark_width))
    return row


def _spark(score: SeriesScore, width: int) -> Text:
    if score.status == "stale":
        return Text("stale", style="dim")
    latest = list(score.history)[-width:]
    text = Text(sparkline([value for value, _ in latest]), style="cyan")
    for i, (_, anomaly) in enumerate(latest):
        if anomaly:
            text.stylize("bold red", i, i + 1)
    return text


def _plain_table() -> Table:
    return Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim", collapse_padding=False)


def shorten(name: str, width: int) -> str:
    """A name within so many columns, its middle left out: both ends tell sensors apart.

    Example:
        >>> shorten("plant/hall7/pump12/temperature", 20)
        'plant/hal…emperature'
    """
    if len(name) <= width:
        return name
    tail = width // 2
    return name[: width - tail - 1] + "…" + name[len(name) - tail :]


def signed(value: float | None) -> str:
    """A skill as text: always a sign, two decimals, never wider than six columns; a dash when not known.

    Example:
        >>> signed(0.314), signed(-0.004), signed(None), signed(-1234.0)
        ('+0.31', '0.00', '–', '<-99')
    """
    if value is None:
        return "–"
    if value < -99:
        return "<-99"
    text = f"{value:+.2f}"
    return "0.00" if float(text) == 0 else text


def percent(value: float | None) -> str:
    """A share as text, or a dash when not known.

    Example:
        >>> percent(0.9012), percent(None)
        ('90.1%', '–')
    """
    return "–" if value is None else f"{value:.1%}"


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours when there are any.

    Example:
        >>> clock(62.9), clock(3661)
        ('01:02', '1:01:01')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


def skill_style(value: float | None) -> str:
    """Green for better than persistence, red for worse, dim for unknown."""
    if value is None:
        return "dim"
    return "green" if value > GOOD else "red" if value < -GOOD else ""


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
