"""Cutting rows into batches."""

from collections.abc import Iterator

import numpy as np

from stepahead.contract.records import SlotArray

__all__ = ["cut_batches"]


def cut_batches(message: SlotArray, most: int) -> Iterator[slice]:
    """Cut rows into batches of at most `most`, between two messages only.

    The readings of one message are never parted, for members of a group must arrive together; a message with more
    than `most` is a batch by itself.

    Args:
        message: int32[n], rising: which message each row came in.
        most: rows of a batch.

    Example:
        >>> list(cut_batches(np.array([0, 0, 1, 1, 1, 2]), most=4))
        [slice(0, 2, None), slice(2, 6, None)]
        >>> list(cut_batches(np.array([0, 0, 0]), most=2)), list(cut_batches(np.array([]), most=2))
        ([slice(0, 3, None)], [])
    """
    n, start = len(message), 0
    while n - start > most:
        # First row of the message that the bound falls into, or, for a long message, of the one after it.
        end = int(np.searchsorted(message, message[start + most], side="left"))
        if end <= start:
            end = int(np.searchsorted(message, message[start], side="right"))
        yield slice(start, end)
        start = end
    if start < n:
        yield slice(start, n)
