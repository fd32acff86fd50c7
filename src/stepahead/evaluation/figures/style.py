"""How our pictures look: colours that a colour-blind reader can tell apart, quiet axes, legends beside the plot."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from stepahead.contract.records import IntArray

__all__ = [
    "OBSERVED",
    "PUBLISHED",
    "colours",
    "dates",
    "is_member",
    "legend_beside",
    "new_figure",
    "quiet",
    "time_axis",
]

# Okabe & Ito (2008), "Color Universal Design", told apart with any of the common colour-vision deficiencies; their
# yellow, too faint a line on white, is replaced by the indigo of Tol (2021), "Colour schemes".
OBSERVED = "#000000"
PUBLISHED = "#0072B2"
PALETTE = ("#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#332288", "#8C564B", "#999999")
FIXED = {"stepahead": PUBLISHED, "lstm": "#D55E00", "persistence": "#7F7F7F"}


def new_figure(rows: int = 1, columns: int = 1, height: float = 4.2) -> tuple[Figure, list[Axes]]:
    """A figure that belongs to nobody (no pyplot, so nothing to close), and its axes, row by row."""
    figure = Figure(figsize=(11.0, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    flat = [axis for line in axes for axis in line]
    for axis in flat:
        quiet(axis)
    return figure, flat


def quiet(axis: Axes) -> None:
    """A light grid, no box."""
    axis.grid(True, color="#DDDDDD", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.margins(x=0.01)
    axis.spines[["top", "right"]].set_visible(False)


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each model; the same model has the same colour in every picture."""
    free = iter(PALETTE[1:] * (1 + len(names) // len(PALETTE[1:])))
    return {name: FIXED.get(name) or next(free) for name in names}


def is_member(name: str) -> bool:
    """Whether a model is one of the networks whose mean is shown as `lstm`.

    Example:
        >>> is_member("lstm2"), is_member("lstm")
        (True, False)
    """
    return name.startswith("lstm") and name[4:].isdigit()


def legend_beside(axis: Axes, backwards: bool = False) -> None:
    """The legend to the right of the axes, where it hides nothing; in the order of drawing, or backwards."""
    handles, labels = axis.get_legend_handles_labels()
    step = -1 if backwards else 1
    axis.legend(
        handles[::step], labels[::step], loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, borderaxespad=0.0
    )


def dates(time_ns: IntArray) -> "np.ndarray[tuple[int], np.dtype[np.datetime64]]":
    """Times as matplotlib takes them."""
    return time_ns.astype("datetime64[ns]")


def time_axis(axis: Axes) -> None:
    """Dates without repetition along the x axis."""
    locator = AutoDateLocator(minticks=4, maxticks=9)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axis.set_xlabel("time (UTC)")
