"""The running error: mean absolute error so far, of each model, divided by persistence's."""

import numpy as np
from matplotlib.figure import Figure

from stepahead.contract.records import FloatArray
from stepahead.evaluation.evaluate import Evaluation
from stepahead.evaluation.figures.style import colours, dates, is_member, legend_beside, new_figure, time_axis
from stepahead.evaluation.scores import LIMIT, last_values

__all__ = ["draw_running_error", "running_ratio"]

TOP = 1.5
FIRST_SHOWN = 100


def running_ratio(evaluation: Evaluation, model: str) -> FloatArray:
    """Mean absolute error of a model over the scored rows so far, divided by persistence's over the same.

    Each column's errors are first divided by persistence's mean error on it, so that no unit dominates.

    Returns:
        float64[scored rows]; NaN until persistence has made an error.
    """
    value, cells = evaluation.recording.value, evaluation.scores.cells
    last = last_values(value)
    said = evaluation.forecast.get(model, last)
    used = np.clip(np.where(np.isfinite(said), said, last), -LIMIT, LIMIT)
    naive, error = (np.where(cells, np.abs(value - forecast), 0.0) for forecast in (last, used))
    scale = naive.sum(axis=0) / np.maximum(cells.sum(axis=0), 1)
    usable = scale > 0
    first = evaluation.range.first
    ours, theirs = (np.cumsum((e[first:, usable] / scale[usable]).sum(axis=1)) for e in (error, naive))
    ratio: FloatArray = np.divide(ours, theirs, out=np.full_like(ours, np.nan), where=theirs > 0)
    return ratio


def draw_running_error(evaluation: Evaluation) -> Figure:
    """One line per model, dashed for peers; above one and a half times persistence a line leaves the picture."""
    figure, (axis,) = new_figure()
    first = evaluation.range.first
    names = [name for name in evaluation.scores.models if name != "persistence" and not is_member(name)]
    colour = colours(names)
    time = dates(evaluation.recording.time_ns[first:])
    # The first few ratios are noise and would set the scale of the picture.
    skip = min(FIRST_SHOWN, len(time) // 10)
    axis.axhline(1.0, color="#7F7F7F", linewidth=1.2, linestyle=":", label="persistence  1")
    for name in reversed(names):  # what is published is drawn last, on top
        ratio = running_ratio(evaluation, name)
        label = f"{name}  {ratio[-1]:.3f}" if ratio[-1] < 1000 else f"{name}  diverged"
        published = name == "stepahead"
        axis.plot(
            time[skip:], np.where(ratio <= TOP, ratio, np.nan)[skip:], color=colour[name], label=label,
            linestyle="-" if name in evaluation.play.forecast else "--",
            linewidth=2.4 if published else 1.2, zorder=3 if published else 2,
        )  # fmt: skip
    axis.set_title("Error so far, as a ratio to persistence (lower is better)", loc="left")
    axis.set_ylabel("running MAE ratio")
    time_axis(axis)
    legend_beside(axis, backwards=True)
    return figure
