"""Observed, forecast and interval of one column: the last rows, and a closer look at the very last."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stepahead.evaluation.evaluate import Evaluation
from stepahead.evaluation.figures.style import OBSERVED, PUBLISHED, dates, legend_beside, new_figure, time_axis

__all__ = ["draw_forecast"]

ROWS = 500
CLOSE_ROWS = 60


def draw_forecast(evaluation: Evaluation, column: int) -> Figure:
    """Two panels for one column: its last 500 readings, and its last 60 with a mark at each."""
    figure, (wide, close) = new_figure(rows=2, height=6.6)
    name = evaluation.recording.columns[column]
    panel(wide, evaluation, column, ROWS)
    panel(close, evaluation, column, CLOSE_ROWS)
    wide.set_title(f"{name}: observed, and what had been forecast one step ahead", loc="left")
    close.set_title("the last readings, closer", loc="left")
    return figure


def panel(axis: Axes, evaluation: Evaluation, column: int, rows: int) -> None:
    """The last so many readings of a column."""
    recording, play = evaluation.recording, evaluation.play
    shown = np.flatnonzero(recording.present[:, column])[-rows:]
    time = dates(recording.time_ns[shown])
    close = rows <= CLOSE_ROWS
    if play.levels:
        lower, upper = play.lower[shown, column, 0], play.upper[shown, column, 0]
        axis.fill_between(
            time, lower, upper, color=PUBLISHED, alpha=0.18, linewidth=0, label=f"{play.levels[0]:.0%} interval"
        )
    axis.plot(
        time,
        recording.value[shown, column],
        color=OBSERVED,
        linewidth=1.0,
        marker="o" if close else None,
        markersize=3,
        label="observed",
    )
    axis.plot(
        time,
        play.forecast["stepahead"][shown, column],
        color=PUBLISHED,
        linewidth=1.2,
        linestyle="--" if close else "-",
        label="forecast",
    )
    axis.set_ylabel(recording.unit)
    time_axis(axis)
    legend_beside(axis)
