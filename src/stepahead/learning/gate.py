"""The gate: does a challenger replace its champion?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepahead.learning.tuner import TuneResult

__all__ = ["Verdict", "judge"]


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
    """Adopt each member that is finite and better than its champion on the steps held out.

    Args:
        result: of a fine-tune.

    Returns:
        The verdict; a fine-tune that ran out of time is judged by what it reached.
    """
    finite = np.array([_all_finite(w, o) for w, o in zip(result.weights, result.optimisers, strict=True)])
    better = result.challenger_loss < result.champion_loss  # false where either is NaN
    adopt = finite & better
    if adopt.any():
        return Verdict(adopt, f"{int(adopt.sum())} of {len(adopt)} members better on the newest steps")
    return Verdict(adopt, "no member better on the newest steps" if finite.any() else "weights not finite")


def _all_finite(*trees: object) -> bool:
    return all(np.isfinite(array).all() for tree in trees for array in tree.values())  # type: ignore[attr-defined]
