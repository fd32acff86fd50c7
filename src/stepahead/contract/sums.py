"""Sums that add several terms at a time."""

from typing import Any

from stepahead.contract.compiled import compiled_sum

__all__ = ["product"]


@compiled_sum
def product(a: Any, b: Any, number: Any, total: Any) -> Any:
    """Scalar product of the first so many numbers of two rows, added to a total of their dtype.

    One term after the other, each addition would wait for the one before it, for four cycles.

    Example:
        >>> import numpy as np
        >>> product(np.arange(4.0), np.arange(4.0), 3, 0.5)
        5.5
    """
    for j in range(number):
        total += a[j] * b[j]
    return total
