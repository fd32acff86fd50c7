"""How large a series' errors are right now: running sizes at several speeds, and which speed to believe."""

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column
from stepahead.contract.records import FloatArray, IntArray, SlotArray

__all__ = ["ErrorScale"]

SPANS = (12.0, 60.0, 400.0)
"""Memories, in readings: bursts last tens of readings, a day's volatility some hundreds."""
FORGETTING = 0.99
MOST_EVIDENCE = 12.0
TRUST = 0.65
"""Weight of the speed that predicts best beside the slowest. At 1 intervals were 2% wider on recordings, and worse in
pinball loss: a size that moves is estimated from few errors. Chosen on rows before the scored ranges."""
CALM = 0.3
"""An error counts at least this share of the slowest root: a feed that mostly stands still keeps its steps' size."""
SMALLEST = 1e-140
LARGEST_RATIO = 1e3


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
        >>> bank.scale(np.array([0])).round(6).tolist()
        [2.0]
    """

    roots: FloatArray
    evidence: NDArray[np.float32]
    sized: IntArray

    def __init__(self, capacity: int = 0) -> None:
        super().__init__(
            {
                "roots": Column(np.float64, (len(SPANS),)),
                "evidence": Column(np.float32, (len(SPANS) - 1,)),
                "sized": Column(np.int64),
            },
            capacity,
        )
        self._rates = 2.0 / (np.array(SPANS)[:, None] + 1.0)

    def scale(self, slots: SlotArray) -> FloatArray:
        """Size float64[n] of the next error; 0 when nothing but exact forecasts (or nothing at all) was seen."""
        fast, middle, slow = np.ascontiguousarray(self.roots.take(slots, axis=0).T)
        for_fast, for_middle = np.exp(np.ascontiguousarray(self.evidence.take(slots, axis=0).T))
        share = TRUST / (1.0 + for_fast + for_middle)
        root = slow + share * (for_fast * (fast - slow) + for_middle * (middle - slow))
        return np.asarray(root * root)

    def update(self, slots: SlotArray, error: FloatArray) -> None:
        """Learn from errors float64[n], finite, in the sensor's unit."""
        inexact = error != 0.0
        sized = self.sized[slots] + inexact
        self.sized[slots] = sized
        root = np.sqrt(np.abs(error))
        roots = np.ascontiguousarray(self.roots.take(slots, axis=0).T)
        shown = np.maximum(root, CALM * roots[-1])

        size = np.maximum(roots, SMALLEST)
        surprise = np.minimum(shown / size, LARGEST_RATIO).astype(np.float32)
        size[:-1] /= size[-1]
        better = np.log(np.clip(size[:-1], 1e-30, 1e30).astype(np.float32))
        better += surprise[:-1]
        better -= surprise[-1]
        evidence = np.ascontiguousarray(self.evidence.take(slots, axis=0).T)
        evidence *= np.float32(FORGETTING)
        evidence -= np.float32(2.0) * better
        np.clip(evidence, -MOST_EVIDENCE, MOST_EVIDENCE, out=evidence)
        # The first error has nothing to be compared with: the speeds start level.
        evidence *= sized > 1
        self.evidence[slots] = evidence.T

        rates = np.maximum(self._rates, 1.0 / np.maximum(sized, 1))
        rates[-1] *= inexact
        rates[:-1] *= shown - roots[:-1]
        rates[-1] *= root - roots[-1]
        roots += rates
        self.roots[slots] = roots.T

    def reset_dynamics(self, slots: SlotArray) -> None:
        """After a gap: forget the burst that may have been going on, keep the long-run size."""
        roots = self.roots[slots]
        self.roots[slots] = roots[:, -1:]
        self.evidence[slots] = 0.0
