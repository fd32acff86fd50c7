"""The order of time in a recording, and the one way in which it may seem to run back: a clock set back an hour."""

import numpy as np

from stepahead.contract.errors import UsageError
from stepahead.contract.records import IntArray

__all__ = ["unfold_clock"]

HOUR_NS = 3_600 * 10**9


def unfold_clock(time_ns: IntArray, name: str) -> tuple[IntArray, tuple[int, ...]]:
    """Times that do not run back, and the rows at which the clock had been set back by an hour.

    A recording in local time repeats an hour when summer time ends. That is told from rows out of order by its
    shape: with the hour added, the step back becomes one ordinary period, and all steps of the hour before and
    of the hour after it are ordinary too. Such rows and all later ones are moved on by the hour. Anything else
    that runs back is an error. Equal times stay: the engine counts a repeated time as a duplicate.

    Args:
        time_ns: int64[rows].
        name: of the file, for the error.

    Raises:
        UsageError: names the first row that is out of time order.

    Example:
        >>> ten_minutes = 600 * 10**9
        >>> clock = np.r_[0:12, 6:18] * ten_minutes
        >>> time_ns, rows = unfold_clock(clock, "file.csv")
        >>> rows, bool((np.diff(time_ns) == ten_minutes).all())
        ((12,), True)
    """
    steps = np.diff(time_ns)
    back = np.flatnonzero(steps < 0)
    if len(back) == 0:
        return time_ns, ()
    forward = steps[steps > 0]
    longest = 1.5 * float(np.median(forward)) if len(forward) else 0.0
    around = int(HOUR_NS // max(longest / 1.5, 1.0)) if longest else 0
    for at in back.tolist():
        neighbours = np.delete(steps[max(0, at - around) : at + around + 1], min(at, around))
        ordinary = bool(((neighbours > 0) & (neighbours <= longest)).all())
        if not (around and 0 < steps[at] + HOUR_NS <= longest and ordinary):
            raise UsageError(f"{name}: row {at + 1} is out of time order: it is earlier than the row before it")
    unfolded = time_ns.copy()
    for at in back.tolist():
        unfolded[at + 1 :] += HOUR_NS
    return unfolded, tuple((back + 1).tolist())
