"""The weights of the mixture over time."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from stepahead.contract.records import FloatArray
from stepahead.evaluation.evaluate import Evaluation
from stepahead.evaluation.figures.style import colours, dates, is_member, legend_beside, new_figure, time_axis

__all__ = ["draw_weights", "mean_weights"]

POINTS = 400


def mean_weights(evaluation: Evaluation) -> tuple[FloatArray, list[str], FloatArray]:
    """Weights averaged over the columns and over blocks of rows.

    Returns:
        float64[B], the middle row of each block; the names of the experts; float64[E, B], NaN where none was known.
    """
    weights = whole_network(evaluation.play.weights)
    stacked = np.stack([np.asarray(w, dtype=np.float64) for w in weights.values()])  # experts, rows, columns
    blocks = np.array_split(np.arange(stacked.shape[1]), min(POINTS, stacked.shape[1]))
    known = np.isfinite(stacked)
    total, count = np.where(known, stacked, 0.0).sum(axis=2), known.sum(axis=2)
    sums = np.stack([total[:, b].sum(axis=1) for b in blocks], axis=1)
    counts = np.stack([count[:, b].sum(axis=1) for b in blocks], axis=1)
    middle = np.array([float(b[len(b) // 2]) for b in blocks])
    return middle, list(weights), np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def whole_network(weights: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """The weights with those of the networks added up under `lstm`: seven areas are read, ten are not."""
    members = [name for name in weights if is_member(name)]
    kept = {name: weight for name, weight in weights.items() if name not in members}
    return kept | ({"lstm": np.sum([weights[name] for name in members], axis=0)} if members else {})


def draw_weights(evaluation: Evaluation) -> Figure:
    """Stacked areas, mean over the columns; the largest at the end lies at the bottom."""
    figure, (axis,) = new_figure()
    middle, names, mean = mean_weights(evaluation)
    held = np.nan_to_num(mean)
    order = np.argsort(-held.mean(axis=1), kind="stable")
    colour = colours(names)
    time = dates(evaluation.recording.time_ns[middle.astype(np.int64)])
    areas = axis.stackplot(time, held[order], colors=[colour[names[i]] for i in order], alpha=0.85, linewidth=0)
    columns = len(evaluation.recording.columns)
    axis.set_title("Weights of the mixture" + (f", mean of {columns} columns" if columns > 1 else ""), loc="left")
    axis.set(ylim=(0.0, 1.0), ylabel="weight")
    axis.set_xlim(time[0], time[-1])
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    time_axis(axis)
    for area, i in zip(areas, order, strict=True):
        area.set_label(f"{names[i]}  {held[i, -1]:.0%}")
    legend_beside(axis, backwards=True)  # top of the legend = top of the stack
    return figure
