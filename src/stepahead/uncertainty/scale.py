"""How large a series' errors are right now: running sizes at several speeds, and which speed to believe."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column, Slots, indices
from stepahead.contract.compiled import compiled
from stepahead.contract.records import FloatArray

__all__ = ["ENOUGH", "ErrorScale"]

SPANS = (12.0, 60.0, 400.0)
"""Memories, in readings: bursts last tens of readings, a day's volatility some hundreds."""
FORGETTING = 0.99
MOST_EVIDENCE = 12.0
TRUST = 0.3
"""Weight of the speed that predicts best beside the slowest: a size that moves is estimated from few errors. On rows
before the scored ranges intervals were narrowest, and best in pinball loss, from 0.2 to 0.4."""
CALM = 0.3
"""An error counts at least this share of the slowest root: a feed that mostly stands still keeps its steps' size."""
SMALLEST = 1e-140
LARGEST_RATIO = 1e3
ENOUGH = 2**30
"""Errors are counted up to here: beyond, one over their number is as good as nothing."""


class ErrorScale(Bank):
    """Running size of the forecast error per series, in the sensor's unit.

    At each of three speeds the mean of √|error| is tracked (the root, so that one spike of 40 sizes raises it
    no more than six ordinary errors do); its square is a size. The speeds are averaged by how well they
    predicted the last hundred errors or so, under the density ∝ exp(-2 √(|error| / size)) / size, whose
    maximum-likelihood size is that very square. On a steady feed the slow speed wins and the size is
    steady; when volatility moves, a fast one takes over within a few readings.

    Exact forecasts (a constant or coarsely quantised feed) tell the slowest speed nothing.

    Evidence is discounted as in Raftery, Kárný and Ettler (2010), "Online prediction under model uncertainty
    via dynamic model averaging", equation (15).

    Example:
        >>> bank = ErrorScale(capacity=1)
        >>> for error in (2.0, -2.0, 2.0):
        ...     bank.update(np.array([0]), np.array([error]))
        >>> bank.scale(np.array([0])).round(6).tolist(), bank.rise(np.array([0])).round(6).tolist()
        ([2.0], [1.0])
    """

    roots: FloatArray
    evidence: NDArray[np.float32]
    sized: NDArray[np.int32]

    def __init__(self, capacity: int = 0) -> None:
        super().__init__(
            {
                "roots": Column(np.float64, (len(SPANS),)),
                "evidence": Column(np.float32, (len(SPANS) - 1,)),
                "sized": Column(np.int32),
            },
            capacity,
        )
        self._rates = 2.0 / (np.array(SPANS) + 1.0)

    def scale(self, slots: Slots) -> FloatArray:
        """Size float64[n] of the next error; 0 when nothing but exact forecasts (or nothing at all) was seen."""
        size = np.empty(len(slots))
        _size(indices(slots), self.roots, self.evidence, size)
        return size

    def rise(self, slots: Slots) -> FloatArray:
        """The size of the last dozen errors as a multiple of the usual one, float64[n]; 0 where none is known."""
        fast, slow = self.roots[slots, 0], self.roots[slots, -1]
        return np.asarray(np.divide(fast, slow, out=np.zeros(len(slots)), where=slow > 0) ** 2)

    def update(self, slots: Slots, error: FloatArray) -> None:
        """Learn from errors float64[n], finite, in the sensor's unit."""
        _update(indices(slots), error, self.roots, self.evidence, self.sized, self._rates)

    def reset_dynamics(self, slots: Slots) -> None:
        """After a gap: forget the burst that may have been going on, keep the long-run size."""
        roots = self.roots[slots]
        self.roots[slots] = roots[:, -1:]
        self.evidence[slots] = 0.0


@compiled
def _size(slots: Any, roots: Any, evidence: Any, size: Any) -> None:
    for i in range(len(slots)):
        slot = slots[i]
        fast, middle, slow = roots[slot]
        for_fast, for_middle = np.exp(evidence[slot, 0]), np.exp(evidence[slot, 1])
        share = TRUST / (1.0 + for_fast + for_middle)
        root = slow + share * (for_fast * (fast - slow) + for_middle * (middle - slow))
        size[i] = root * root


@compiled
def _update(slots: Any, errors: Any, roots: Any, evidence: Any, sized: Any, rates: Any) -> None:
    for i in range(len(slots)):
        slot, error = slots[i], errors[i]
        if error != 0.0:
            sized[slot] = min(sized[slot] + 1, ENOUGH)
        number, root, slow = sized[slot], np.sqrt(abs(error)), roots[slot, 2]
        shown = max(root, CALM * slow)
        slow_size = max(slow, SMALLEST)
        slow_surprise = min(shown / slow_size, LARGEST_RATIO)
        for k in range(2):
            size = max(roots[slot, k], SMALLEST)
            surprise = min(shown / size, LARGEST_RATIO)
            better = np.log(np.float32(min(max(size / slow_size, 1e-30), 1e30))) + surprise - slow_surprise
            kept = FORGETTING * evidence[slot, k] - 2.0 * better
            # The first error has nothing to be compared with: the speeds start level.
            evidence[slot, k] = min(max(kept, -MOST_EVIDENCE), MOST_EVIDENCE) if number > 1 else 0.0
            roots[slot, k] += max(rates[k], 1.0 / max(number, 1)) * (shown - roots[slot, k])
        if error != 0.0:
            roots[slot, 2] = slow + max(rates[2], 1.0 / max(number, 1)) * (root - slow)
