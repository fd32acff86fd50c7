"""All pictures of an evaluation, in one look: the one place that says which pictures there are."""

import importlib.util
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stepahead.contract.errors import MissingExtraError
from stepahead.evaluation.evaluate import Evaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Picture", "draw_all", "require_matplotlib"]

DOTS_PER_INCH = 130


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture: its name as a file, a sentence on what it shows, and its PNG."""

    name: str
    caption: str
    png: bytes


def require_matplotlib() -> None:
    """Fail before the first row is played, and not after the last.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("drawing", "plot")


def draw_all(evaluation: Evaluation) -> list[Picture]:
    """Every picture that the evaluation has figures for."""
    # matplotlib is optional, so nothing above this line may need it.
    from stepahead.evaluation.figures.calibration import draw_calibration, draw_width
    from stepahead.evaluation.figures.forecast import draw_forecast
    from stepahead.evaluation.figures.running_error import draw_running_error
    from stepahead.evaluation.figures.weights import draw_weights

    pictures = [
        picture(
            "running-error",
            "Error so far, divided by persistence's: below 1 is better.",
            draw_running_error(evaluation),
        )
    ]
    if evaluation.play.levels:
        pictures += [
            picture(
                "calibration", "Do intervals hold what they promise, and all the time?", draw_calibration(evaluation)
            ),
            picture("width-against-error", "Are intervals wide where errors are large?", draw_width(evaluation)),
        ]
    pictures.append(picture("weights", "Which expert the mixture trusted when.", draw_weights(evaluation)))
    columns = evaluation.recording.columns
    names = [file_name(column) for column in columns]
    for index, (column, name) in enumerate(zip(columns, names, strict=True)):
        # Two columns may differ in nothing that a file's name can hold.
        name = f"forecast-{name}" if names.count(name) == 1 else f"forecast-{name}-{index}"
        pictures.append(picture(name, f"{column}: the end of the recording.", draw_forecast(evaluation, index)))
    return pictures


def file_name(column: str) -> str:
    """A column's name as part of a file's.

    Example:
        >>> file_name("Volume Flow/RMS")
        'Volume-Flow-RMS'
    """
    return re.sub(r"[^\w.-]+", "-", column).strip("-") or "column"


def picture(name: str, caption: str, figure: "Figure") -> Picture:
    """A drawn figure as PNG."""
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=DOTS_PER_INCH)
    return Picture(name, caption, target.getvalue())
