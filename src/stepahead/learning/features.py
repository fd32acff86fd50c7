"""What the network is shown: the input vector of one step, live and in replayed windows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.compiled import compiled
from stepahead.contract.records import FloatArray, IntArray
from stepahead.replay.history import Windows
from stepahead.transform.calendar import CALENDAR_FEATURES, write_calendar
from stepahead.transform.levels import SPANS

__all__ = [
    "CONTEXT",
    "DISTANCE_UNITS",
    "describe",
    "feature_count",
    "season_steps",
    "step_inputs",
    "window_inputs",
]

DIFFERENCES = ("difference", "day", "week", "profile")
"""Standardized differences of the series: the newest; those one day and one week before the reading that is forecast;
the mean over the last seven days at that hour."""
CONTEXT = ("level", *(f"distance_{span}" for span in SPANS), "still", "elapsed")
"""Standardized level; distance from running levels of several spans; half the binary logarithm of 1 + the length of the
run of equal values; binary logarithm of the time since the last reading, in periods."""
OWN = len(DIFFERENCES) + len(CONTEXT)
DISTANCE_UNITS = np.sqrt(np.array(SPANS) / 4)
"""A random walk's distance from a running level of span s has this deviation, in units of its change's."""


def feature_count(members: int) -> int:
    """F, width of the input vector in a cohort whose units have so many members."""
    return OWN + len(CALENDAR_FEATURES) + (members if members > 1 else 0)


def season_steps(season_ns: int, period_ns: IntArray, memory: int) -> IntArray:
    """Steps of a season, int64[n]; 0 where the period does not divide it (to 1%) or memory does not reach back."""
    steps = np.empty(len(period_ns), np.int64)
    _count_steps(season_ns, np.ascontiguousarray(period_ns), memory, steps)
    return steps


@compiled
def _count_steps(season_ns: int, period_ns: Any, memory: int, steps: Any) -> None:
    for i in range(len(period_ns)):
        period = max(period_ns[i], 1)
        fitting = (season_ns + period // 2) // period
        fits = period_ns[i] > 0 and 2 <= fitting <= memory and abs(fitting * period - season_ns) <= season_ns // 100
        steps[i] = fitting if fits else 0


def describe(
    level: FloatArray,
    distances: FloatArray,
    run: NDArray[np.uint8],
    elapsed: FloatArray,
    scale: FloatArray,
    clip: float,
) -> FloatArray:
    """The context of n readings, float64[n, C], as `CONTEXT`.

    Args:
        level: float64[n], standardized values.
        distances: float64[n, len(SPANS)], from the running levels, in the unit of `scale`.
        run: uint8[n], equal values in a row before this one.
        elapsed: float64[n], periods since the reading before, positive.
        scale: float64[n], of differences.
        clip: what is standardized is clipped to ± this.
    """
    context = np.empty((len(level), len(CONTEXT)))
    _describe(level, distances, run, elapsed, scale, clip, DISTANCE_UNITS, context)
    return context


@compiled
def _describe(
    level: Any, distances: Any, run: Any, elapsed: Any, scale: Any, clip: float, units: Any, context: Any
) -> None:
    spans = len(units)
    for i in range(len(level)):
        row = context[i]
        row[0] = min(max(level[i], -clip), clip)
        for k in range(spans):
            unit = scale[i] * units[k]
            row[1 + k] = min(max(distances[i, k], -clip * unit), clip * unit) / unit
        row[1 + spans] = np.log2(1.0 + run[i]) / 2
        row[2 + spans] = np.log2(min(max(elapsed[i], 2.0**-8), 2.0**8))


def step_inputs(
    differences: Sequence[NDArray[Any]],
    center: FloatArray,
    scale: FloatArray,
    clip: float,
    context: NDArray[Any],
    target_ns: IntArray,
    period_ns: IntArray,
    span_ns: IntArray,
    company: int = 0,
) -> NDArray[np.float32]:
    """Input vectors of N steps, float32[N, F], in model units.

    Args:
        differences: float[N] each, as in `DIFFERENCES`, raw.
        center, scale: float64[N], of each step's differences.
        clip: what is standardized is clipped to ± this.
        context: float[N, C], as in `CONTEXT`.
        target_ns: int64[N], time of the reading that is forecast.
        period_ns, span_ns: int64[N], which calendar features the series supports.
        company: G, so many further columns, left to the caller: standardized differences of all members of the unit,
            own included; 0 outside groups.
    """
    out = np.empty((len(center), OWN + len(CALENDAR_FEATURES) + company), np.float32)
    diff, day, week, profile = (np.ascontiguousarray(column, np.float64) for column in differences)
    shown = np.ascontiguousarray(context, np.float64)
    _show(diff, day, week, profile, center, scale, clip, shown, target_ns, period_ns, span_ns, out)
    return out


@compiled
def _show(
    diff: Any,
    day: Any,
    week: Any,
    profile: Any,
    center: Any,
    scale: Any,
    clip: float,
    context: Any,
    target_ns: Any,
    period_ns: Any,
    span_ns: Any,
    out: Any,
) -> None:
    calendar = 4 + context.shape[1]
    for i in range(len(out)):
        row, middle, unit = out[i], center[i], scale[i]
        most = clip * unit  # clipped before the division, so that a huge value over a tiny unit is no overflow
        row[0] = min(max(diff[i] - middle, -most), most) / unit
        row[1] = min(max(day[i] - middle, -most), most) / unit
        row[2] = min(max(week[i] - middle, -most), most) / unit
        row[3] = min(max(profile[i] - middle, -most), most) / unit
        for k in range(context.shape[1]):
            row[4 + k] = context[i, k]
        write_calendar(target_ns[i], period_ns[i], span_ns[i], row[calendar : calendar + 6])


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
    back = np.arange(T - 1, -1, -1)
    target_ns = windows.end_ns[:, None] + (1 - back) * windows.period_ns[:, None]  # [N, T]
    span_ns = target_ns - (windows.end_ns - windows.span_ns)[:, None]

    def each_step(of: NDArray[Any]) -> NDArray[Any]:
        return np.broadcast_to(of, (N, G, T)).ravel()

    inputs = step_inputs(
        [raw.ravel() for raw in (windows.diff, windows.day, windows.week, windows.profile)],
        each_step(center[..., None]),
        each_step(scale[..., None]),
        clip,
        windows.context.reshape(N * G * T, -1),
        each_step(target_ns[:, None]),
        each_step(windows.period_ns[:, None, None]),
        each_step(span_ns[:, None]),
        company=G if G > 1 else 0,
    ).reshape(N * G, T, -1)
    diff = inputs[..., 0].copy()  # [N·G, T]
    if G > 1:
        inputs.reshape(N, G, T, -1)[..., -G:] = diff.reshape(N, 1, G, T).swapaxes(2, 3)
    return inputs, diff
