"""A histogram of plain whole numbers: one thread counts, any thread may read."""

from bisect import bisect_left
from collections.abc import Sequence

__all__ = ["Histogram"]


class Histogram:
    """Counts observations between bounds.

    An observation costs a third of a microsecond and no lock: the loop can afford one per batch. Who reads meanwhile
    may see a count without its sum, by one observation.

    Args:
        bounds: upper bounds of the buckets, rising; what lies above the last has a bucket of its own.

    Example:
        >>> histogram = Histogram([0.1, 1.0])
        >>> for seconds in (0.05, 0.1, 3.0):
        ...     histogram.observe(seconds)
        >>> histogram.counts, round(histogram.total, 2), histogram.cumulative()
        ([2, 0, 1], 3.15, [('0.1', 2), ('1.0', 2), ('+Inf', 3)])
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, int]]:
        """Bucket bound and how many observations were not above it, as Prometheus counts."""
        running, buckets = 0, []
        for bound, count in zip([*map(str, self.bounds), "+Inf"], list(self.counts), strict=True):
            running += count
            buckets.append((bound, running))
        return buckets
