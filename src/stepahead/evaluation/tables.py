"""The figures of an evaluation as tables for a terminal."""

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from stepahead.evaluation.evaluate import Evaluation
from stepahead.evaluation.scores import Score

__all__ = ["figure", "notes", "print_tables"]

ERROR_HEADINGS = ("MSE", "MAE", "MSE\nratio", "MAE\nratio")
TOO_LONG = 1e6
INTERVAL_HEADINGS = ("cover-\nage", "width")


def figure(value: float | None, digits: int = 4) -> str:
    """A number of some significant digits, `–` when there is none.

    Example:
        >>> figure(0.31234567), figure(None), figure(2.5e30)
        ('0.3123', '–', '2.5e+30')
    """
    if value is None:
        return "–"
    return f"{value:.{digits}g}" if abs(value) < TOO_LONG else f"{value:.1e}"


def print_tables(evaluation: Evaluation, console: Console) -> None:
    """One table by model over all columns, one by column for what is published, then what else to know."""
    recording, scored = evaluation.recording, evaluation.range
    several = len(recording.columns) > 1
    late = any(score.unforecast for score in evaluation.scores.models.values())
    models = empty_table(
        f"{recording.name}, rows {scored.first}–{scored.end - 1}, by model",
        "model",
        *ERROR_HEADINGS,
        *(["mean MAE\nratio"] if several else []),
        *INTERVAL_HEADINGS,
        *(["no\nforecast"] if late else []),
        "µs per\nreading",
    )
    for name, score in evaluation.scores.models.items():
        speed = evaluation.us_per_reading.get(name)
        models.add_row(
            name + ("\n(diverged)" if score.diverged else ""),
            *errors(score),
            *([figure(score.mae_ratio_mean)] if several else []),
            *interval(score),
            *([f"{score.unforecast:,}"] if late else []),
            "–" if speed is None else f"{speed:,.0f}",
            style="bold" if name == "stepahead" else None,
        )
    console.print(models)
    columns = empty_table("stepahead, by column", "column", *ERROR_HEADINGS, *INTERVAL_HEADINGS, "readings")
    for column, score in evaluation.scores.models["stepahead"].per_column.items():
        columns.add_row(column, *errors(score), *interval(score), f"{score.cells:,}")
    console.print(columns)
    for note in notes(evaluation):
        console.print(note, highlight=False, soft_wrap=True)


def empty_table(title: str, first: str, *others: str) -> Table:
    """A table narrow enough for 80 columns: names to the left, figures to the right."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(first, overflow="fold", min_width=11)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def errors(score: Score) -> list[str]:
    """The four cells of errors."""
    return [figure(value) for value in (score.mse, score.mae, score.mse_ratio, score.mae_ratio)]


def interval(score: Score) -> list[str]:
    """Coverage as a percentage, and width."""
    return ["–" if score.coverage is None else f"{100 * score.coverage:.1f}%", figure(score.width)]


def notes(evaluation: Evaluation) -> Iterator[str]:
    """What a reader of the tables must also know, one sentence each."""
    play = evaluation.play
    level = f"; coverage and width are of the {play.levels[0]:.0%} interval" if play.levels else ""
    yield f"Ratios are to persistence, the last value{level}."
    yield (
        f"{play.readings:,} readings at {evaluation.readings_per_second:,.0f} a second through the engine; "
        f"{evaluation.seconds:.1f} s in all."
    )
    if evaluation.skipped:
        yield f"{evaluation.skipped:,} cells without a finite value were skipped."
    if play.refused:
        yield f"{play.refused:,} readings were not taken by the engine (repeated or late times)."
    for row in evaluation.recording.set_back:
        yield f"The clock was set back by an hour at row {row}: that row and later ones were moved on by the hour."
