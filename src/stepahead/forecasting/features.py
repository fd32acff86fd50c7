"""What the network is shown: the input vector of one step, live and in replayed windows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.records import FloatArray, IntArray
from stepahead.replay.history import Windows
from stepahead.transform.calendar import CALENDAR_FEATURES, calendar_features
from stepahead.transform.levels import SPANS

__all__ = ["CONTEXT", "bounded_ratio", "feature_count", "season_steps", "step_inputs", "window_inputs"]

DIFFERENCES = ("difference", "day", "week", "profile")
"""Standardized differences of the series: the newest; those one day and one week before the reading that is forecast;
the mean over the last seven days at that hour."""
CONTEXT = ("level", *(f"distance_{span}" for span in SPANS), "elapsed")
"""Standardized level; distance from running levels of several spans; binary logarithm of the time since the last
reading, in periods."""
OWN = len(DIFFERENCES) + len(CONTEXT)


def feature_count(members: int) -> int:
    """F, width of the input vector in a cohort whose units have so many members."""
    return OWN + len(CALENDAR_FEATURES) + (members if members > 1 else 0)


def season_steps(season_ns: int, period_ns: IntArray, memory: int) -> IntArray:
    """Steps of a season, int64[n]; 0 where the period does not divide it (to 1%) or memory does not reach back."""
    period = np.maximum(period_ns, 1)
    steps = (season_ns + period // 2) // period
    fits = (period_ns > 0) & (steps >= 2) & (steps <= memory) & (np.abs(steps * period - season_ns) <= season_ns // 100)
    return np.where(fits, steps, 0).astype(np.int64)


def bounded_ratio(value: NDArray[Any], unit: FloatArray, clip: float) -> FloatArray:
    """The ratio within ± clip; clipped before the division, so that a huge value over a tiny unit is no overflow."""
    bound = clip * unit
    return np.asarray(np.clip(value, -bound, bound) / unit)


def step_inputs(
    differences: Sequence[FloatArray],
    context: NDArray[Any],
    target_ns: IntArray,
    period_ns: IntArray,
    span_ns: IntArray,
    company: FloatArray | None = None,
) -> NDArray[np.float32]:
    """Input vectors, float32[…, F], in model units.

    Args:
        differences: float[…] each, as in `DIFFERENCES`.
        context: float[…, C], as in `CONTEXT`.
        target_ns: int64[…], time of the reading that is forecast.
        period_ns, span_ns: int64[…], which calendar features the series supports.
        company: […, G], standardized differences of all members of the unit, own included; None outside groups.
    """
    shape = differences[0].shape
    calendar = OWN + len(CALENDAR_FEATURES)
    out = np.empty((*shape, calendar + (0 if company is None else company.shape[-1])), np.float32)
    for column, values in enumerate(differences):
        out[..., column] = values
    out[..., len(DIFFERENCES) : OWN] = context
    flat = calendar_features(target_ns.ravel(), period_ns.ravel(), span_ns.ravel())
    out[..., OWN:calendar] = flat.reshape(*shape, len(CALENDAR_FEATURES))
    if company is not None:
        out[..., calendar:] = company
    return out


def window_inputs(
    windows: Windows, scale: FloatArray, center: FloatArray, clip: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Turn windows into network inputs, scaled by today's scale.

    Args:
        windows: N windows of T steps of G series.
        scale, center: float64[N, G], of each series' difference, now.
        clip: standardized values are clipped to ± this.

    Returns:
        inputs float32[N·G, T, F] and standardized differences float32[N·G, T].
    """
    N, G, T = windows.diff.shape

    def standardized(raw: NDArray[np.float32]) -> FloatArray:
        return bounded_ratio(raw - center[..., None], scale[..., None], clip)

    diff = standardized(windows.diff)  # [N, G, T]
    back = np.arange(T - 1, -1, -1)
    target_ns = windows.end_ns[:, None] + (1 - back) * windows.period_ns[:, None]  # [N, T]
    first_ns = windows.end_ns - windows.span_ns
    company = None
    if G > 1:
        company = np.broadcast_to(diff.transpose(0, 2, 1)[:, None], (N, G, T, G))
    inputs = step_inputs(
        (diff, *(standardized(raw) for raw in (windows.day, windows.week, windows.profile))),
        windows.context,
        np.broadcast_to(target_ns[:, None], (N, G, T)),
        np.broadcast_to(windows.period_ns[:, None, None], (N, G, T)),
        np.broadcast_to((target_ns - first_ns[:, None])[:, None], (N, G, T)),
        company,
    )
    return inputs.reshape(N * G, T, -1), diff.reshape(N * G, T).astype(np.float32)
