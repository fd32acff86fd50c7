"""The prequential play: every reading is forecast first and learnt from afterwards, row by row."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.errors import BrokenLawError, UsageError
from stepahead.contract.records import REFUSED, FloatArray, Forecasts, Readings, SlotArray
from stepahead.contract.settings import GroupSettings, Settings
from stepahead.evaluation.recording import Recording

__all__ = ["Engine", "Outlook", "Play", "play_engine", "settings_for_evaluation"]


class Outlook(Protocol):
    """What every expert says about the next reading of some series.

    Attributes:
        names: of the E experts.
        value: float64[n, E], forecasts of the next reading; NaN where an expert is not ready.
        weights: float64[n, E], of the mixture.
    """

    @property
    def names(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def value(self) -> FloatArray: ...  # noqa: D102
    @property
    def weights(self) -> FloatArray: ...  # noqa: D102


class Engine(Protocol):
    """The part of the engine that an evaluation uses."""

    def intern(self, key: str) -> int: ...  # noqa: D102
    def step(self, readings: Readings) -> Forecasts: ...  # noqa: D102
    def outlook(self, slots: SlotArray) -> Outlook: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Play:
    """All forecasts of a play: row t holds what had been said, from rows before t, about row t.

    Attributes:
        levels: the L coverage levels.
        forecast: model -> float64[rows, C]; NaN where the model had none. `stepahead` and `mean` are the published
            `value` and `mean`.
        lower, upper: float64[rows, C, L], bounds of the published forecast.
        weights: expert -> float32[rows, C], its weight in the mixture.
        seconds: time spent in the engine.
        readings: how many the engine was given.
        refused: how many of these it did not take, such as repeated times.
    """

    levels: tuple[float, ...]
    forecast: dict[str, FloatArray]
    lower: FloatArray
    upper: FloatArray
    weights: dict[str, NDArray[np.float32]]
    seconds: float
    readings: int
    refused: int


def settings_for_evaluation(settings: Settings, recording: Recording, seed: int | None, group: bool) -> Settings:
    """The settings of a play: deterministic, seeded, and with the columns as one group if so wished."""
    update: dict[str, object] = {"engine": settings.engine.model_copy(update={"deterministic": True})}
    if seed is not None:
        update["learning"] = settings.learning.model_copy(update={"seed": seed})
    if group:
        if not 2 <= len(recording.columns) <= 64:
            raise UsageError(f"--group: needs 2 to 64 columns, {recording.name} has {len(recording.columns)}")
        update["groups"] = (GroupSettings(name="recording", members=recording.columns, prefix="recording"),)
    return settings.model_copy(update=update)


def play_engine(
    recording: Recording,
    engine: Engine,
    levels: tuple[float, ...],
    advance: Callable[[int], None] = lambda rows: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Play:
    """Play a recording through the engine, one row at a time.

    Args:
        recording: R rows, C columns; a cell without a reading is skipped.
        engine: newborn.
        levels: coverage levels that the engine was set to.
        advance: called with the number of rows done since the last call.
        clock: seconds, for the speed.

    Raises:
        UsageError: the engine takes no more series (`engine.max_series`).
        BrokenLawError: the engine published a forecast that is not finite.
    """
    rows, columns = recording.value.shape
    slots = np.array([engine.intern(f"recording/{column}") for column in recording.columns], dtype=np.int32)
    if (slots == REFUSED).any():
        raise UsageError(f"engine.max_series: {columns} columns are more series than it allows")
    column_of = {int(slot): column for column, slot in enumerate(slots)}
    names: tuple[str, ...] = ()  # known with the first reading: before it there is nothing to have an outlook on
    published = np.full((2, columns), np.nan)  # value and mean
    bounds = np.full((2, columns, len(levels)), np.nan)
    pending = np.empty((2, columns, 0))  # forecasts and weights of the experts

    published_of_row = np.full((2, rows, columns), np.nan)
    bounds_of_row = np.full((2, rows, columns, len(levels)), np.nan)
    experts_of_row = np.empty((0, rows, columns))
    weights_of_row = np.empty((0, rows, columns), dtype=np.float32)
    present = recording.present
    readings = refused = 0
    seconds = 0.0
    for row in range(rows):
        # What is pending now was made from the rows before this one: note it before the row is shown.
        published_of_row[:, row] = published
        bounds_of_row[:, row] = bounds
        experts_of_row[:, row], weights_of_row[:, row] = pending[0].T, pending[1].T
        here = np.flatnonzero(present[row])
        if len(here):
            batch = Readings(
                slots[here], np.full(len(here), recording.time_ns[row], dtype=np.int64), recording.value[row, here]
            )
            began = clock()
            answer = engine.step(batch)
            seconds += clock() - began
            if not (np.isfinite(answer.value).all() and np.isfinite(answer.mean).all()):
                raise BrokenLawError(f"{recording.name}, row {row}: a published forecast is not finite")
            taken = np.array([column_of[int(slot)] for slot in answer.series], dtype=np.intp)
            published[0, taken], published[1, taken] = answer.value[:, 0], answer.mean
            bounds[0, taken], bounds[1, taken] = answer.lower, answer.upper
            outlook = engine.outlook(slots[here])
            if not names:
                names = outlook.names
                pending = np.full((2, columns, len(names)), np.nan)
                experts_of_row = np.full((len(names), rows, columns), np.nan)
                weights_of_row = np.full((len(names), rows, columns), np.nan, dtype=np.float32)
            pending[0, here], pending[1, here] = outlook.value, outlook.weights
            readings += len(here)
            refused += len(here) - len(answer)
        advance(1)
    by_name = {"stepahead": published_of_row[0], "mean": published_of_row[1]} | {
        name: values for name, values in zip(names, experts_of_row, strict=True) if name != "persistence"
    }
    return Play(
        levels=levels,
        forecast=by_name,
        lower=bounds_of_row[0],
        upper=bounds_of_row[1],
        weights=dict(zip(names, weights_of_row, strict=True)),
        seconds=seconds,
        readings=readings,
        refused=refused,
    )
