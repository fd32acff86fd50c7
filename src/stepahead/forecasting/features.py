"""What the network is shown: the input vector of one step, live and in replayed windows."""

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.records import FloatArray, IntArray
from stepahead.replay.history import Windows
from stepahead.transform.calendar import CALENDAR_FEATURES, calendar_features

__all__ = ["DAY_NS", "WEEK_NS", "feature_count", "season_steps", "step_inputs", "window_inputs"]

DAY_NS = 86_400_000_000_000
WEEK_NS = 7 * DAY_NS

OWN_FEATURES = ("difference", "level", "day", "week", "elapsed")
"""Standardized difference and level of the series; its standardized difference one day and one week before the
reading that is forecast; binary logarithm of the time since the last reading, in periods."""


def feature_count(members: int) -> int:
    """F, width of the input vector in a cohort whose units have so many members."""
    return len(OWN_FEATURES) + len(CALENDAR_FEATURES) + (members if members > 1 else 0)


def season_steps(season_ns: int, period_ns: IntArray, memory: int) -> IntArray:
    """Steps of a season, int64[n]; 0 where the period does not divide it (to 1%) or memory does not reach back."""
    period = np.maximum(period_ns, 1)
    steps = (season_ns + period // 2) // period
    fits = (period_ns > 0) & (steps >= 2) & (steps <= memory) & (np.abs(steps * period - season_ns) <= season_ns // 100)
    return np.where(fits, steps, 0).astype(np.int64)


def step_inputs(
    diff: FloatArray,
    level: FloatArray,
    day: FloatArray,
    week: FloatArray,
    elapsed: FloatArray,
    target_ns: IntArray,
    period_ns: IntArray,
    span_ns: IntArray,
    company: FloatArray | None = None,
) -> NDArray[np.float32]:
    """Input vectors, float32[…, F]; the arguments are in model units and of equal shape […].

    Args:
        diff, level, day, week, elapsed: as in `OWN_FEATURES`.
        target_ns: time of the reading that is forecast.
        period_ns, span_ns: which calendar features the series supports.
        company: […, G], standardized differences of all members of the unit, own included; None outside groups.
    """
    own = len(OWN_FEATURES)
    calendar = own + len(CALENDAR_FEATURES)
    out = np.empty((*diff.shape, calendar + (0 if company is None else company.shape[-1])), np.float32)
    for column, values in enumerate((diff, level, day, week, elapsed)):
        out[..., column] = values
    flat = calendar_features(target_ns.ravel(), period_ns.ravel(), span_ns.ravel())
    out[..., own:calendar] = flat.reshape(*diff.shape, len(CALENDAR_FEATURES))
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
        return np.clip((raw - center[..., None]) / scale[..., None], -clip, clip)

    diff = standardized(windows.diff)  # [N, G, T]
    back = np.arange(T - 1, -1, -1)
    target_ns = windows.end_ns[:, None] + (1 - back) * windows.period_ns[:, None]  # [N, T]
    first_ns = windows.end_ns - windows.span_ns
    company = None
    if G > 1:
        company = np.broadcast_to(diff.transpose(0, 2, 1)[:, None], (N, G, T, G))
    inputs = step_inputs(
        diff,
        windows.level.astype(np.float64),
        standardized(windows.day),
        standardized(windows.week),
        windows.elapsed.astype(np.float64),
        np.broadcast_to(target_ns[:, None], (N, G, T)),
        np.broadcast_to(windows.period_ns[:, None, None], (N, G, T)),
        np.broadcast_to((target_ns - first_ns[:, None])[:, None], (N, G, T)),
        company,
    )
    return inputs.reshape(N * G, T, -1), diff.reshape(N * G, T).astype(np.float32)
