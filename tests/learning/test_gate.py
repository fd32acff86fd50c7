"""The gate lets pass what is not clearly worse, and nothing that went astray."""

import numpy as np
import pytest

from stepahead.learning.gate import DOUBTS, WORST, judge
from stepahead.learning.tuner import TuneResult

FINE = {"head.bias": np.zeros(1, np.float32)}
BROKEN = {"head.bias": np.array([np.inf], np.float32)}


def examined(challenger: float, champion: float = 1.0, doubt: float = 0.05, weights: dict = FINE) -> TuneResult:
    losses = (np.array([loss]) for loss in (0.5, champion, challenger, doubt))
    return TuneResult("default", 1, [weights], [{}], *losses, gave_up=False)


@pytest.mark.parametrize(
    ("challenger", "doubt", "adopted"),
    [
        (0.9, 0.05, True),
        (1.0, 0.0, True),  # nothing has changed
        (1.0 + 0.9 * DOUBTS * 0.05, 0.05, True),  # so much worse by chance, as far as the exam can tell
        (1.0 + 1.1 * DOUBTS * 0.05, 0.05, False),
        (WORST + 0.01, 10.0, False),  # one wild step: the exam can tell nothing, and too much is at stake
        (np.nan, 0.05, False),
        (0.9, np.nan, False),
        (np.inf, np.inf, False),
    ],
)
def test_a_challenger_may_be_worse_within_the_doubt(challenger: float, doubt: float, adopted: bool) -> None:
    assert judge(examined(challenger, doubt=doubt)).any == adopted


def test_a_champion_that_is_no_number_is_replaced_by_none() -> None:
    assert not judge(examined(1.0, champion=np.nan)).any


def test_weights_that_are_not_finite_do_not_pass_whatever_the_exam_says() -> None:
    verdict = judge(examined(0.0, weights=BROKEN))
    assert not verdict.any
    assert verdict.reason == "weights not finite"


def test_each_member_is_judged_for_itself() -> None:
    losses = (np.array(pair) for pair in ([0.5, 0.5], [1.0, 1.0], [0.5, 3.0], [0.1, 0.1]))
    verdict = judge(TuneResult("default", 1, [FINE, FINE], [{}, {}], *losses, gave_up=False))
    assert verdict.adopt.tolist() == [True, False]
    assert verdict.reason == "1 of 2 members no worse on the newest steps"
