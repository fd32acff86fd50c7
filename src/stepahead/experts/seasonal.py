"""What the same hour, day or phase brought before: forecasts and regressors from one or several seasons ago."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Slots, indices
from stepahead.contract.changes import Changes, scale_in
from stepahead.contract.compiled import compiled, compiled_sum
from stepahead.contract.half import widen
from stepahead.contract.records import FloatArray
from stepahead.experts.season import Season

__all__ = ["SEASONS", "SeasonalView", "look_back"]

SEASONS = 7
"""So many seasons are averaged at most; the seventh day ago is also the same day of the week."""


@dataclass(frozen=True, slots=True)
class SeasonalView:
    """Moves (changes from the latest value, in units) that past seasons suggest.

    Attributes:
        seasons: int8[n], 0 = no season is remembered, and all moves are 0; `SEASONS` = the season is the day, and the
            same day of last week is remembered, too; else 1.
        moves: float64[n, 6]: to the value one season before the target (one week before it where a day's week is
            remembered) and the change at that time; the same of one season before; the mean change over up to seven
            seasons, and the mean of the moves to their values.
    """

    seasons: NDArray[np.int8]
    moves: FloatArray


def look_back(changes: Changes, slots: Slots, season: Season, inverse: FloatArray) -> SeasonalView:
    """Read the past seasons of each series.

    Args:
        changes: the past; the latest change is in it.
        slots: int[n], distinct.
        season: of the same slots.
        inverse: float64[n], 1 / unit.
    """
    seasons, moves = np.zeros(len(slots), np.int8), np.zeros((len(slots), 6))
    _look_back(indices(slots), season.length, season.daily, inverse, *changes.state, seasons, moves)
    return SeasonalView(seasons, moves)


@compiled
def _look_back(
    slots: Any,
    lengths: Any,
    daily: Any,
    inverses: Any,
    rings: Any,
    scales: Any,
    counts: Any,
    heads: Any,
    seasons: Any,
    moves: Any,
) -> None:
    """Fill the fields of the view, a series at a time: NumPy took a pass for each of seven seasons and each term."""
    for i in range(len(slots)):
        slot = slots[i]
        season, count, head, ring, move = lengths[slot], counts[slot], heads[slot], rings[slot], moves[i]
        if season <= 0 or season > count:
            continue
        seasons[i] = 1
        scale = scale_in(scales[slot], inverses[i])
        place, number, total, distance, distances = head, 0.0, 0.0, 0.0, 0.0
        for k in range(1, min(SEASONS, count // season) + 1):
            # Back from the latest value, or from that of the season before, to the one that stood before the target.
            distance -= _sum_back(ring, place, season - 1 if k == 1 else season)
            place = head - (k * season - 1)
            place += len(ring) if place < 0 else 0
            change = float(widen(ring[place]))
            number += 1.0
            total += change
            distances += distance
            if k == 1:
                move[0] = move[2] = distance * scale
                move[1] = move[3] = change * scale
            if k == SEASONS and daily[slot]:
                seasons[i] = SEASONS
                move[0], move[1] = distance * scale, change * scale
        average = scale / number
        move[4], move[5] = total * average, distances * average


@compiled
def _sum_back(ring: Any, place: Any, number: Any) -> Any:
    """Sum of so many numbers of the ring, from `place` back."""
    before = min(number, place + 1)
    late = float(_sum(ring, place + 1 - before, place + 1))
    return late + _sum(ring, len(ring) - (number - before), len(ring))


@compiled_sum
def _sum(ring: Any, start: Any, stop: Any) -> Any:
    total = np.float32(0.0)
    for k in range(start, stop):
        total += widen(ring[k])
    return total
