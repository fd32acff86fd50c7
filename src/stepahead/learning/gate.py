"""The gate: does a challenger replace its champion?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepahead.learning.tuner import TuneResult

__all__ = ["Verdict", "judge"]

DOUBTS = 1.0
"""A challenger may be worse by so many standard errors: with few series the exam has some fifty steps, and whoever asks
for a better result there turns away half of all progress. Measured in tests/bench/QUALITY.md."""
WORST = 1.2
"""And by no more than this factor: where a single step goes wild, the standard error goes with it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision on one fine-tune.

    Attributes:
        adopt: bool[M], which members' challengers replace their champions.
        reason: in words, for logs and the model page.
    """

    adopt: NDArray[np.bool_]
    reason: str

    @property
    def any(self) -> bool:
        """Whether at least one member changes."""
        return bool(self.adopt.any())


def judge(result: TuneResult) -> Verdict:
    """Adopt each member that is finite and, on the steps held out, not clearly worse than its champion.

    Args:
        result: of a fine-tune.

    Returns:
        The verdict; a fine-tune that ran out of time is judged by what it reached.
    """
    finite = np.array([_all_finite(w, o) for w, o in zip(result.weights, result.optimisers, strict=True)])
    allowed = np.minimum(result.champion_loss + DOUBTS * result.doubt, WORST * result.champion_loss)
    adopt = finite & (result.challenger_loss <= allowed)  # false where anything is NaN
    if adopt.any():
        return Verdict(adopt, f"{int(adopt.sum())} of {len(adopt)} members no worse on the newest steps")
    return Verdict(adopt, "all members worse on the newest steps" if finite.any() else "weights not finite")


def _all_finite(*trees: object) -> bool:
    return all(np.isfinite(array).all() for tree in trees for array in tree.values())  # type: ignore[attr-defined]
