"""What the same hour, day or phase brought before: forecasts and regressors from one or several seasons ago."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.records import BoolArray, FloatArray, IntArray
from stepahead.experts.memory import Memory
from stepahead.experts.rows import Rows

__all__ = ["SeasonalView", "clock", "look_back"]

SEASONS = 7
"""So many seasons are averaged at most; the seventh day ago is also the same day of the week."""


@dataclass(frozen=True, slots=True)
class SeasonalView:
    """Moves (changes from the latest value, in units) that past seasons suggest; float64[n] each.

    Attributes:
        there: bool[n], at least one season is remembered; everything else is 0 where not.
        weekly: bool[n], the season is the day, and the same day of last week is remembered.
        naive: to the value one season before the target, one week before where a day's week is remembered.
        change: the change at that same time.
        day_naive: to the value one season before the target.
        day_change: the change one season before the target.
        profile: mean change over up to seven seasons.
        profile_naive: mean of the moves to the values of up to seven seasons.
    """

    there: BoolArray
    weekly: BoolArray
    naive: FloatArray
    change: FloatArray
    day_naive: FloatArray
    day_change: FloatArray
    profile: FloatArray
    profile_naive: FloatArray


def look_back(
    memory: Memory, rows: Rows, season: IntArray, daily: BoolArray, value: FloatArray, inverse: FloatArray
) -> SeasonalView:
    """Read the past seasons of each series.

    Args:
        memory: the past; the latest value is in it.
        rows: distinct slots, [n].
        season: int64[n], in readings, 0 = none.
        daily: bool[n], whether the season is the calendar's day.
        value: float64[n], the latest value.
        inverse: float64[n], 1 / unit.
    """
    count = memory.count[rows].astype(np.int64)
    # Bounded, since infinity times no change would be no number.
    scale = np.minimum(memory.step[rows] * inverse, 1e9)
    now = (value - memory.anchor[rows]) / memory.step[rows]
    zero = np.zeros(len(value))
    number, changes, distances = zero.copy(), zero.copy(), zero.copy()
    there = (season > 0) & (season < count)
    weekly = np.zeros(len(value), dtype=np.bool_)
    week_naive = week_change = day_naive = day_change = zero
    for k in range(1, SEASONS + 1):
        lag = k * season
        held = there & (lag < count)
        if not held.any():
            break
        then = memory.steps_at(rows, np.where(held, lag - 1, 0))
        change = np.where(held, then - memory.steps_at(rows, np.where(held, lag, 0)), 0.0)
        distance = np.where(held, then - now, 0.0)
        number += held
        changes += change
        distances += distance
        if k == 1:
            day_naive, day_change = distance, change
            week_naive, week_change = distance, change
        if k == SEASONS:
            weekly = held & daily
            week_naive = np.where(weekly, distance, week_naive)
            week_change = np.where(weekly, change, week_change)
    average = scale / np.maximum(number, 1.0)
    return SeasonalView(
        there,
        weekly,
        week_naive * scale,
        week_change * scale,
        day_naive * scale,
        day_change * scale,
        changes * average,
        distances * average,
    )


def clock(target_ns: IntArray, day_ns: int) -> tuple[NDArray[np.float64], ...]:
    """Sine and cosine of the time of day, first and second harmonic, float64[n] each.

    Args:
        target_ns: int64[n], UTC nanoseconds.
        day_ns: length of the day.
    """
    angle = (target_ns % day_ns) * (2 * np.pi / day_ns)
    sine, cosine = np.sin(angle), np.cos(angle)
    return sine, cosine, 2 * sine * cosine, cosine * cosine - sine * sine
