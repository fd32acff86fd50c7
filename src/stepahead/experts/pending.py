"""Forecasts that wait for the reading they are about."""

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column

__all__ = ["Pending"]


class Pending(Bank):
    """The experts' forecasts of the next reading, as moves, until it comes.

    Args:
        experts: number of experts, E.
        capacity: number of slots to start with.

    Example:
        >>> Pending(experts=3, capacity=2).moves.shape
        (2, 3)
    """

    moves: NDArray[np.float32]
    ready: NDArray[np.bool_]
    mixed: NDArray[np.float32]
    issued: NDArray[np.bool_]

    def __init__(self, experts: int, capacity: int = 0) -> None:
        super().__init__(
            {
                "moves": Column(np.float32, (experts,)),
                "ready": Column(np.bool_, (experts,)),
                "mixed": Column(np.float32),
                "issued": Column(np.bool_),
            },
            capacity,
        )
