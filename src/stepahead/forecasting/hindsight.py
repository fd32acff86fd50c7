"""What the network was shown at the newest steps of a series, worked out again from what is remembered of it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Slots, indices
from stepahead.contract.changes import change_at
from stepahead.contract.compiled import compiled
from stepahead.contract.records import FloatArray
from stepahead.learning.features import CONTEXT, DISTANCE_UNITS
from stepahead.replay.history import History
from stepahead.transform.levels import SPANS
from stepahead.transform.repeats import MOST
from stepahead.transform.standardize import Standardizer

__all__ = ["past_context"]

ALPHA = 2.0 / (np.array(SPANS) + 1.0)


def past_context(
    history: History,
    slots: Slots,
    last: FloatArray,
    diff: NDArray[np.float32],
    scaler: Standardizer,
    level: Standardizer,
    clip: float,
) -> NDArray[np.float16]:
    """The context of the newest T steps, float16[n, T, C], columns as `learning.features.CONTEXT`.

    Running levels start at the oldest value that is remembered: the slowest has forgotten it before the window. The
    statistics are those of each step: one that looked back with those of now would show the network what it never sees,
    which cost 2% of absolute error on the taxi feed and 3% on the ec2 feed.

    Args:
        history: of the series.
        slots: int[n], each with a run of at least T.
        last: float64[n], newest value, in the unit of the differences.
        diff: float32[n, T], differences of the newest T steps.
        scaler, level: of the differences and of the values.
        clip: bound of what is standardized.
    """
    context = np.empty((len(slots), history.steps, len(CONTEXT)), np.float32)
    values, elapsed = history.newest(slots, last)
    _, scale = scaler.standings(slots, diff.astype(np.float64))
    state = (*history.changes.state, values, elapsed, *level.standings(slots, values), scale)
    _retrace(indices(slots), *state, clip, ALPHA, DISTANCE_UNITS, context)
    return context.astype(np.float16)


@compiled
def _retrace(
    slots: Any,
    rings: Any,
    scales: Any,
    counts: Any,
    heads: Any,
    values: Any,
    elapsed: Any,
    centers: Any,
    deviations: Any,
    diff_scales: Any,
    clip: float,
    alpha: Any,
    units: Any,
    context: Any,
) -> None:
    T, still = context.shape[1], context.shape[2] - 2
    level = np.empty(len(alpha))
    for i in range(len(slots)):
        slot = slots[i]
        ring, scale, count, head = rings[slot], scales[slot], counts[slot], heads[slot]
        x = values[i, T - 1]
        for k in range(count):
            x -= change_at(ring, scale, head, k)
        level[:] = x
        run = 0
        # The first value has no change; where values themselves are the steps, it is one of them.
        for back in range(max(count, T) - 1, -1, -1):
            if back < count:
                change = change_at(ring, scale, head, back)
                x += change
                run = min(run + 1, MOST) if change == 0.0 else 0
                for k in range(len(alpha)):
                    level[k] += alpha[k] * (x - level[k])
            if back < T:
                t = T - 1 - back
                row = context[i, t]
                row[0] = min(max((x - centers[i, t]) / deviations[i, t], -clip), clip)
                for k in range(len(alpha)):
                    row[1 + k] = min(max((x - level[k]) / (diff_scales[i, t] * units[k]), -clip), clip)
                row[still] = np.log2(1.0 + run) / 2
                row[still + 1] = elapsed[i, t]
