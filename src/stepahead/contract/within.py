"""Bounding numbers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["within"]


def within(value: NDArray[Any], bound: NDArray[Any] | float) -> NDArray[Any]:
    """The value within ± bound. As `numpy.clip`, which takes several times as long for a few numbers.

    Args:
        value: float[…]; NaN stays NaN.
        bound: not negative, a number or an array that fits beside the value.

    Example:
        >>> within(np.array([-3.0, 0.5, np.inf]), 2.0).tolist()
        [-2.0, 0.5, 2.0]
    """
    answer: NDArray[Any] = np.minimum(np.maximum(value, -bound), bound)
    return answer
