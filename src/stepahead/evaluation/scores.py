"""Scores of a play: squared and absolute errors, as ratios to persistence, and the honesty of the intervals."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stepahead.contract.errors import UsageError
from stepahead.contract.records import BoolArray, FloatArray

__all__ = ["Score", "Scores", "last_values", "score_forecasts"]

LIMIT = 1e140
"""Forecasts beyond it are scored as ± this: their squares, summed over 10^20 cells, are still finite."""

DIVERGED_RATIO = 100.0
"""A mean absolute error of so many times persistence's is called divergence."""


@dataclass(frozen=True, slots=True)
class Score:
    """One model on one column, or over all of them.

    Attributes:
        cells: how many readings were scored.
        mse, mae: mean squared and mean absolute error.
        mse_ratio, mae_ratio: both divided by persistence's; None when persistence makes no error.
        mae_ratio_mean: mean over the columns of their `mae_ratio`, which no column's unit can dominate.
        unforecast: scored cells for which the model had no forecast and the last value stood in.
        diverged: it said something not finite after it had begun, or its error left all bounds.
        coverage, width: share of readings within the first level's bounds, and mean distance of the bounds.
        pinball: mean quantile loss over all bounds of all levels (Koenker & Bassett 1978); half the CRPS in the limit.
        levels: coverage level -> its coverage and width.
        per_column: the same by column; empty within a column.
    """

    cells: int
    mse: float
    mae: float
    mse_ratio: float | None
    mae_ratio: float | None
    mae_ratio_mean: float | None = None
    unforecast: int = 0
    diverged: bool = False
    coverage: float | None = None
    width: float | None = None
    pinball: float | None = None
    levels: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    per_column: "Mapping[str, Score]" = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scores:
    """All models on the same cells.

    Attributes:
        cells: bool[rows, C], which cells were scored.
        models: name -> `Score`.
    """

    cells: BoolArray
    models: Mapping[str, Score]


def last_values(value: FloatArray) -> FloatArray:
    """The last finite value before each row: what persistence forecasts; NaN before the first.

    Args:
        value: float64[rows, C], NaN where there is no reading.

    Example:
        >>> last_values(np.array([[1.0], [np.nan], [3.0], [4.0]])).ravel().tolist()
        [nan, 1.0, 1.0, 3.0]
    """
    rows = np.where(np.isfinite(value), np.arange(len(value))[:, None], -1)
    latest = np.maximum.accumulate(rows, axis=0)[:-1]
    before = np.take_along_axis(value, np.maximum(latest, 0), axis=0)
    return np.concatenate([np.full((1, value.shape[1]), np.nan), np.where(latest < 0, np.nan, before)])


def score_forecasts(
    columns: tuple[str, ...],
    value: FloatArray,
    forecast: Mapping[str, FloatArray],
    first: int,
    levels: tuple[float, ...] = (),
    bounds: tuple[FloatArray, FloatArray] | None = None,
) -> Scores:
    """Score every model on the same cells: those with a reading, from row `first` on, that have a reading before.

    Args:
        columns: names of the C columns.
        value: float64[rows, C], NaN where there is no reading.
        forecast: model -> float64[rows, C], not finite where it had none.
        first: first scored row; the last is the last of `value`.
        levels: L coverage levels of the bounds.
        bounds: lower and upper, float64[rows, C, L], of the model `stepahead`.

    Raises:
        UsageError: there is no such reading.

    Example:
        >>> value = np.array([[1.0], [2.0], [4.0]])
        >>> scores = score_forecasts(("a",), value, {"double": np.array([[np.nan], [2.0], [3.0]])}, 1)
        >>> scores.models["double"].mse, scores.models["persistence"].mse, scores.models["double"].mse_ratio
        (0.5, 2.5, 0.2)
    """
    last = last_values(value)
    cells = np.isfinite(value) & np.isfinite(last)
    cells[:first] = False
    if not cells.any():
        raise UsageError(f"no reading to score in rows {first} to {len(value) - 1}")
    models = {
        name: score_model(columns, value, last, cells, said, levels, bounds if name == "stepahead" else None)
        for name, said in {**forecast, "persistence": last}.items()
    }
    return Scores(cells, models)


def score_model(
    columns: tuple[str, ...],
    value: FloatArray,
    last: FloatArray,
    cells: BoolArray,
    said: FloatArray,
    levels: tuple[float, ...],
    bounds: tuple[FloatArray, FloatArray] | None,
) -> Score:
    """One model over all columns, and by column."""
    begun = np.maximum.accumulate(np.isfinite(said), axis=0)
    broke: BoolArray = np.any(begun & ~np.isfinite(said), axis=0)
    used = np.clip(np.where(np.isfinite(said), said, last), -LIMIT, LIMIT)

    def score(rows: BoolArray, broken: bool) -> dict[str, Any]:
        # Readings up to 1e300 have squares beyond float64: the mean is then infinite, and said to be so.
        with np.errstate(over="ignore", invalid="ignore"):
            error, naive = (value - used)[rows], (value - last)[rows]
            mse, mae = float(np.mean(np.square(error))), float(np.mean(np.abs(error)))
            mse_ratio, mae_ratio = (
                ratio(mse, float(np.mean(np.square(naive)))),
                ratio(mae, float(np.mean(np.abs(naive)))),
            )
        return {
            "cells": int(rows.sum()),
            "mse": mse,
            "mae": mae,
            "mse_ratio": mse_ratio,
            "mae_ratio": mae_ratio,
            "unforecast": int((rows & ~np.isfinite(said)).sum()),
            "diverged": broken or (mae_ratio is not None and mae_ratio > DIVERGED_RATIO),
        } | (interval_figures(value[rows], bounds[0][rows], bounds[1][rows], levels) if bounds is not None else {})

    per_column: dict[str, Score] = {}
    for index, column in enumerate(columns):
        only = np.zeros_like(cells)
        only[:, index] = cells[:, index]
        if only.any():
            per_column[column] = Score(**score(only, bool(broke[index])))
    ratios = [s.mae_ratio for s in per_column.values() if s.mae_ratio is not None]
    total = score(cells, bool(broke.any()))
    total["diverged"] = any(s.diverged for s in per_column.values())
    return Score(**total, mae_ratio_mean=float(np.mean(ratios)) if ratios else None, per_column=per_column)


def ratio(value: float, reference: float) -> float | None:
    """A ratio, or None when the reference is 0 or neither is finite."""
    return float(value / reference) if reference > 0 and np.isfinite(reference) else None


def interval_figures(
    observed: FloatArray, lower: FloatArray, upper: FloatArray, levels: tuple[float, ...]
) -> dict[str, Any]:
    """Coverage, width and pinball loss of n readings against bounds float64[n, L]; empty when there are no bounds."""
    there = np.isfinite(lower).all(axis=1) & np.isfinite(upper).all(axis=1)
    if not there.any():
        return {}
    observed, lower, upper = observed[there, None], lower[there], upper[there]
    coverage = np.mean((lower <= observed) & (observed <= upper), axis=0)
    with np.errstate(over="ignore"):
        width = np.mean(upper - lower, axis=0)
    outside = (1.0 - np.array(levels)) / 2.0
    loss = np.stack([quantile_loss(observed, lower, outside), quantile_loss(observed, upper, 1.0 - outside)])
    return {
        "coverage": float(coverage[0]),
        "width": float(width[0]),
        "pinball": float(np.mean(loss)),
        "levels": {
            f"{level:g}": {"coverage": float(c), "width": float(w)}
            for level, c, w in zip(levels, coverage, width, strict=True)
        },
    }


def quantile_loss(observed: FloatArray, quantile: FloatArray, level: FloatArray) -> FloatArray:
    """The pinball loss: `level` times what lies above the quantile, `1 - level` times what lies below."""
    above = observed - quantile
    loss: FloatArray = np.maximum(level * above, (level - 1.0) * above)
    return loss
