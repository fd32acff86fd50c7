"""How large a series' errors are right now: running sizes at several speeds, and which speed to believe."""

import numpy as np

from stepahead.contract.bank import Bank, Column
from stepahead.contract.records import FloatArray, IntArray, SlotArray

__all__ = ["ErrorScale"]

SPANS = (12.0, 60.0, 400.0)
"""Memories, in readings: bursts last tens of readings, a day's volatility some hundreds."""
FORGETTING = 0.99
LEAST_EVIDENCE = -12.0
SMALLEST = 1e-140
LARGEST_RATIO = 1e3


class ErrorScale(Bank):
    """Running size of the forecast error per series, in the sensor's unit.

    At each of three speeds the mean of √|error| is tracked (the root, so that one spike of 40 sizes raises it
    no more than six ordinary errors do); its square is a size. The speeds are averaged by how well they
    predicted the last hundred errors or so, under the density ∝ exp(-2 √(|error| / size)) / size, whose
    maximum-likelihood size is that very square. On a steady feed the slow speed wins and the size is
    steady; when volatility moves, a fast one takes over within a few readings.

    Exact forecasts say nothing about the size of the errors that do occur, and are left out: a coarsely quantised
    or seldom changing feed keeps the size of its steps.

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
    evidence: FloatArray
    sized: IntArray

    def __init__(self, capacity: int = 0) -> None:
        width = (len(SPANS),)
        super().__init__(
            {
                "roots": Column(np.float64, width),
                "evidence": Column(np.float64, width),
                "sized": Column(np.int64),
            },
            capacity,
        )
        self._rates = 2.0 / (np.array(SPANS)[:, None] + 1.0)

    def scale(self, slots: SlotArray) -> FloatArray:
        """Size float64[n] of the next error; 0 when nothing but exact forecasts (or nothing at all) was seen."""
        roots = np.ascontiguousarray(self.roots[slots].T)
        weights = np.exp(np.ascontiguousarray(self.evidence[slots].T))
        total = weights[0] + weights[1] + weights[2]
        weights *= roots
        mean = (weights[0] + weights[1] + weights[2]) / total
        return np.asarray(mean * mean)

    def update(self, slots: SlotArray, error: FloatArray) -> None:
        """Learn from errors float64[n], finite, in the sensor's unit."""
        inexact = error != 0.0
        sized = self.sized[slots] + inexact
        self.sized[slots] = sized
        root = np.sqrt(np.abs(error))
        roots = np.ascontiguousarray(self.roots[slots].T)

        size = np.maximum(roots, SMALLEST)
        surprise = np.minimum(root, size * LARGEST_RATIO)
        surprise /= size
        surprise += np.log(size, out=size)
        evidence = np.ascontiguousarray(self.evidence[slots].T)
        evidence *= FORGETTING
        evidence -= 2.0 * inexact * surprise
        evidence -= evidence.max(axis=0)
        np.maximum(evidence, LEAST_EVIDENCE, out=evidence)
        # The first error has nothing to be compared with: the speeds start level.
        evidence *= sized > 1
        self.evidence[slots] = evidence.T

        rates = np.maximum(self._rates, 1.0 / np.maximum(sized, 1)) * inexact
        roots += rates * (root - roots)
        self.roots[slots] = roots.T

    def reset_dynamics(self, slots: SlotArray) -> None:
        """After a gap: forget the burst that may have been going on, keep the long-run size."""
        roots = self.roots[slots]
        self.roots[slots] = roots[:, -1:]
        self.evidence[slots] = 0.0
