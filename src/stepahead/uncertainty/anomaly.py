"""The anomaly flag: a threshold in the tail of the scores that holds the rate of false alarms it was asked for."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column, Slots, indices
from stepahead.contract.compiled import compiled
from stepahead.contract.records import BoolArray, FloatArray

__all__ = ["Anomaly"]

LEARNING = 500
"""Scores from which the stretch is no longer guessed from the quantiles but held by feedback."""
STEP = 0.25
NEVER = 2**30
LEAST, MOST = 0.01, 14.0
MATURE = 64
"""Scores before the first flag: with n seen no conformal p-value is below 1 / (n + 1), whatever a power law says."""
EPISODE = 0.05
"""Share of the mean distance between two flags of a clean feed within which a flag belongs to the one before."""
ECHO = 0.2
"""How much a further flag within an episode counts beside its first."""


class Anomaly(Bank):
    """Tail probability and flag of a score that lies beyond an anchor quantile.

    The tail beyond the anchor (a quantile whose two-sided probability `anchor` is large enough to be tracked
    directly) is taken as a power law, p = anchor · (distance / anchor distance)^(-a), with one unknown: the stretch
    κ, the logarithm of how far beyond the anchor p falls to `rate`. A reading is flagged when it lies beyond κ. κ
    rises by `STEP` at a flag and falls by `STEP · rate` at every reading, so that the share of flags differs from
    `rate` by no more than (distance κ has moved) / (STEP × readings), whatever the errors' distribution: adaptive
    conformal inference (Gibbs and Candès 2021, Proposition 4.1) at level 1 - rate. κ stays positive, so a long
    quiet never brings the threshold under the anchor. Within an episode only the first flag counts in full, so
    that an outage does not leave the series deaf for the thousands of readings that its flags would amount to.

    Args:
        rate: share of the readings of a clean feed that may be flagged, in (0, 1).
        capacity: number of slots to start with.

    Example:
        >>> bank = Anomaly(0.001, capacity=1)
        >>> p, flag = bank.update(np.array([0]), np.array([2.0]), np.array([500]), np.array([1.0]))
        >>> bool(p[0] < 0.001), flag.tolist()
        (True, [True])
    """

    stretch: FloatArray
    quiet: NDArray[np.int32]

    def __init__(self, rate: float, capacity: int = 0) -> None:
        super().__init__({"stretch": Column(np.float64, fill=0.6), "quiet": Column(np.int32, fill=NEVER)}, capacity)
        self.rate = rate
        self.anchor = min(max(20.0 * rate, 0.04), (1.0 + rate) / 2.0)
        self._steepness = np.log(self.anchor / rate)
        self._episode = int(EPISODE / rate)
        # What a flag of a clean feed counts on the mean.
        self._fall = STEP * rate * (1.0 - (1.0 - ECHO) * (1.0 - (1.0 - rate) ** self._episode))

    def update(
        self, slots: Slots, beyond: FloatArray, seen: NDArray[np.int32], guess: FloatArray
    ) -> tuple[FloatArray, BoolArray]:
        """Judge readings, then learn from them.

        Args:
            slots: int[n], distinct.
            beyond: float64[n], logarithm of (distance of the score from the median / that of the anchor);
                below 0 the reading lies inside the anchor.
            seen: int32[n], how many scores came before in each series.
            guess: float64[n], κ as the shape of the tracked quantiles suggests it, taken while a series is young.

        Returns:
            p float64[n] in (0, anchor], of use where `beyond` ≥ 0; flag bool[n].
        """
        p, flag = np.empty(len(slots)), np.empty(len(slots), np.bool_)
        shape = (self.anchor, self._steepness, self._fall)
        _update(indices(slots), beyond, seen, guess, self.stretch, self.quiet, *shape, self._episode, p, flag)
        return p, flag


@compiled
def _update(
    slots: Any,
    beyonds: Any,
    seen: Any,
    guesses: Any,
    stretches: Any,
    quiets: Any,
    anchor: float,
    steepness: float,
    fall: float,
    episode: int,
    p: Any,
    flags: Any,
) -> None:
    for i in range(len(slots)):
        slot, beyond = slots[i], beyonds[i]
        stretch, quiet = stretches[slot], quiets[slot]
        if seen[i] < LEARNING:
            stretch = min(max(guesses[i], LEAST), MOST)
        p[i] = anchor * np.exp(min(max(beyond, 0.0) / stretch, 40.0) * -steepness)
        flags[i] = beyond >= stretch and seen[i] >= MATURE
        moved = stretch
        if flags[i]:
            moved += STEP if quiet >= episode else STEP * ECHO
        if seen[i] >= MATURE:
            moved -= fall
        stretches[slot] = min(max(moved, LEAST), MOST)
        quiets[slot] = 0 if flags[i] else min(quiet + 1, NEVER)
