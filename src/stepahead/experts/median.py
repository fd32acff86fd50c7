"""The median of the last values of a series."""

from typing import Any

from stepahead.contract.changes import change_at
from stepahead.contract.compiled import compiled

__all__ = ["MEDIAN_OF", "median_move"]

MEDIAN_OF = 5


@compiled
def median_move(ring: Any, scale: Any, head: Any, count: Any) -> Any:
    """From the latest value to the median of the last five, float64; what came before the first equals the first.

    Args:
        ring, head, count: of one series, as `Changes.state` has them.
        scale: that of the ring, times what the answer is to be measured in.

    Source: a network of minima and maxima; the median of five is that of e, the larger of the two smaller and
    the smaller of the two larger of the pairs (a, b), (c, d).

    Example:
        >>> import numpy as np
        >>> from stepahead.contract.changes import Changes
        >>> changes, slot = Changes(8, capacity=1), np.array([0])
        >>> for x, last in ((0.0, 0.0), (9.0, 1.0), (2.0, 9.0), (3.0, 2.0), (2.5, 3.0)):
        ...     changes.append(slot, np.array([x - last]), np.array([last == 0]))
        >>> ring, scale, count, head = changes.state
        >>> 2.5 + median_move(ring[0], scale[0], head[0], count[0])
        2.5
    """
    a = 0.0
    b = a - (change_at(ring, scale, head, 0) if count > 0 else 0.0)
    c = b - (change_at(ring, scale, head, 1) if count > 1 else 0.0)
    d = c - (change_at(ring, scale, head, 2) if count > 2 else 0.0)
    e = d - (change_at(ring, scale, head, 3) if count > 3 else 0.0)
    low = max(min(a, b), min(c, d))
    high = min(max(a, b), max(c, d))
    return max(min(low, high), min(e, max(low, high)))
