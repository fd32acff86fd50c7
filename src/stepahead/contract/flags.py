"""Questions about flags."""

import numpy as np

from stepahead.contract.records import BoolArray

__all__ = ["every", "some"]


def some(flags: BoolArray) -> bool:
    """Whether one is set. As `flags.any()`, which takes several times as long for a few.

    Example:
        >>> some(np.array([False, True])), some(np.array([], np.bool_))
        (True, False)
    """
    return bool(np.count_nonzero(flags))


def every(flags: BoolArray) -> bool:
    """Whether all are set. As `flags.all()`, which takes several times as long for a few.

    Example:
        >>> every(np.array([False, True])), every(np.array([], np.bool_))
        (False, True)
    """
    return bool(np.count_nonzero(flags) == len(flags))
