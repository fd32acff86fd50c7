"""Whether intervals are honest: promised against found coverage, coverage over time, width against error."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from stepahead.contract.records import BoolArray, FloatArray
from stepahead.evaluation.evaluate import Evaluation
from stepahead.evaluation.figures.style import PUBLISHED, colours, dates, legend_beside, new_figure, time_axis

__all__ = ["draw_calibration", "draw_width", "rolling_coverage"]

BLOCK = 1000
GROUPS = 10


def rolling_coverage(inside: BoolArray, cells: BoolArray, block: int) -> FloatArray:
    """Share of scored cells inside their bounds over the last `block` rows.

    Args:
        inside: bool[rows, C], readings within their bounds.
        cells: bool[rows, C], readings that are scored.
        block: rows.

    Returns:
        float64[rows]; NaN where the block is not full, or empty of cells.

    Example:
        >>> inside = np.array([[True], [False], [True]])
        >>> rolling_coverage(inside, np.ones_like(inside), 2).tolist()
        [nan, 0.5, 0.5]
    """
    hits, count = (np.cumsum(np.r_[0, x.sum(axis=1)]) for x in (inside & cells, cells))
    share = np.full(len(inside), np.nan)
    full = slice(block - 1, None)
    hits_in, count_in = hits[block:] - hits[:-block], count[block:] - count[:-block]
    share[full] = np.divide(hits_in, count_in, out=np.full(len(hits_in), np.nan), where=count_in > 0)
    return share


def draw_calibration(evaluation: Evaluation) -> Figure:
    """Left, promised against found coverage of each column and level; right, coverage of a running block."""
    figure, (found, running) = new_figure(columns=2)
    play, recording, cells = evaluation.play, evaluation.recording, evaluation.scores.cells
    per_column = evaluation.scores.models["stepahead"].per_column
    found.plot([0, 1], [0, 1], color="#7F7F7F", linewidth=1.0, linestyle=":", label="as promised")
    for index, level in enumerate(play.levels):
        shares = [s.levels[f"{level:g}"]["coverage"] for s in per_column.values() if f"{level:g}" in s.levels]
        found.scatter(
            np.full(len(shares), level), shares, color=PUBLISHED, alpha=0.7, s=36, linewidths=0,
            label="a column" if index == 0 else None,
        )  # fmt: skip
    low = min(0.5, min(play.levels) - 0.1)
    found.set(xlim=(low, 1.0), ylim=(low, 1.0), xlabel="promised coverage", ylabel="found coverage")
    found.set_title("Coverage by column", loc="left")
    found.xaxis.set_major_formatter(PercentFormatter(1.0))
    found.yaxis.set_major_formatter(PercentFormatter(1.0))
    found.legend(loc="upper left", frameon=False)

    block = max(1, min(BLOCK, int(cells.any(axis=1).sum()) // 4))
    names = [f"{level:.0%}" for level in play.levels]
    colour = colours(names)
    first = evaluation.range.first
    time = dates(recording.time_ns[first:])
    for index, level in enumerate(play.levels):
        inside = (play.lower[..., index] <= recording.value) & (recording.value <= play.upper[..., index])
        shade = PUBLISHED if index == 0 else colour[names[index]]
        share = rolling_coverage(inside[first:], cells[first:], block)
        running.plot(time, share, color=shade, linewidth=1.6, label=names[index])
        running.axhline(level, color=shade, linewidth=1.0, linestyle=":")
    running.set_title(f"Coverage of the last {block:,} rows", loc="left")
    running.set_ylabel("found coverage")
    running.yaxis.set_major_formatter(PercentFormatter(1.0))
    bottom, _ = running.get_ylim()
    running.set_ylim(max(0.0, min(bottom, min(play.levels) - 0.1)), 1.0)
    time_axis(running)
    legend_beside(running)
    return figure


def draw_width(evaluation: Evaluation) -> Figure:
    """Mean absolute error against mean width, in ten groups of readings by width, a line per column."""
    figure, (axis,) = new_figure()
    play, recording = evaluation.play, evaluation.recording
    colour = colours(recording.columns)
    for index, column in enumerate(recording.columns):
        width = play.upper[:, index, 0] - play.lower[:, index, 0]
        error = np.abs(recording.value[:, index] - play.forecast["stepahead"][:, index])
        rows = evaluation.scores.cells[:, index] & np.isfinite(width) & np.isfinite(error)
        order = np.argsort(width[rows], kind="stable")
        groups = [g for g in np.array_split(order, GROUPS) if len(g)]
        if not groups or error[rows].mean() == 0 or width[rows].mean() == 0:
            continue
        x, y = ([float(np.mean(values[rows][g])) for g in groups] for values in (width, error))
        whole = float(np.mean(width[rows])), float(np.mean(error[rows]))
        axis.plot(
            np.array(x) / whole[0], np.array(y) / whole[1], marker="o", markersize=4, color=colour[column], label=column
        )
    axis.axline((1, 1), slope=1, color="#7F7F7F", linewidth=1.0, linestyle=":", label="in step")
    axis.set(xlabel="width / mean width", ylabel="mean absolute error / its mean")
    axis.set_xlim(left=0.0)
    axis.set_ylim(bottom=0.0)
    axis.set_title(
        f"Error against width of the {play.levels[0]:.0%} interval, readings in ten groups by width", loc="left"
    )
    legend_beside(axis)
    return figure
