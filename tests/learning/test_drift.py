"""Held beside river's own ADWIN, which does the same with more imported."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from river.drift import ADWIN

from stepahead.learning.drift import CumulativeSum, DriftDetector, new_adwin


def rising(seed: int) -> NDArray[np.float64]:
    """Errors whose mean goes up and down in steps."""
    rng = np.random.default_rng(seed)
    return rng.exponential(np.repeat([0.5, 1.5, 0.7, 3.0, 3.0], 400))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_signal_is_answered_as_by_rivers_detector(seed: int) -> None:
    ours, theirs = new_adwin(0.002), ADWIN(delta=0.002, clock=1)
    found = 0
    for signal in rising(seed).tolist():
        ours.update(signal)
        theirs.update(signal)
        assert (ours.drift_detected, ours.estimation) == (theirs.drift_detected, theirs.estimation)
        found += ours.drift_detected
    assert found >= 3


def test_only_a_rise_is_a_drift() -> None:
    signals = rising(0)
    at = np.flatnonzero(DriftDetector().update(signals))
    assert len(at) >= 2
    assert all(400 <= i < 800 or 1200 <= i < 1600 for i in at.tolist())


def test_the_cumulative_sum_is_pages_within_a_few_signals_of_a_rise_and_not_before() -> None:
    delays = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        steady, risen = rng.normal(0.8, 0.15, 5000), rng.normal(1.6, 0.15, 20)
        test = CumulativeSum()
        assert not any(test.update(signal) for signal in steady)
        # The same by Page's formula: the sum is above its lowest point so far by more than the threshold.
        z = np.minimum((risen - test.mean) / test.variance**0.5, test.MOST) - test.ALLOWANCE
        path = np.concatenate(([test.sum], test.sum + np.cumsum(z)))
        expected = int(np.argmax(path - np.minimum(np.minimum.accumulate(path), 0) > test.THRESHOLD))
        delays.append(1 + [test.update(signal) for signal in risen].index(True))
        assert abs(delays[-1] - expected) <= 1  # mean and deviation move on a little
    assert max(delays) <= 4


def test_a_slow_rise_is_followed_and_a_single_outlier_is_none() -> None:
    rng = np.random.default_rng(0)
    assert not any(CumulativeSum().update(signal) for signal in [1e9])
    test = CumulativeSum()
    assert not any(test.update(signal) for signal in rng.normal(1, 0.1, 200))
    assert not test.update(1e6)
    test = CumulativeSum()
    assert not any(test.update(signal) for signal in np.linspace(1, 2, 8000) + rng.normal(0, 0.2, 8000))


def test_a_detector_that_was_saved_goes_on_as_one_that_was_not() -> None:
    rng = np.random.default_rng(1)
    signals = np.concatenate((rng.normal(1, 0.1, 300), rng.normal(1.4, 0.1, 40), rng.normal(2, 0.1, 200)))
    for cut in (0, 20, 200, 303, 340, 345, 500):
        whole, first, second = DriftDetector(), DriftDetector(), DriftDetector()
        expected = whole.update(signals)
        found = first.update(signals[:cut])
        second.load_state_dict(first.state_dict())
        assert found + second.update(signals[cut:]) == expected
        assert second.drifts == whole.drifts == sum(expected) >= 2


def test_it_brings_no_scikit_learn_with_it() -> None:
    program = (
        "import sys; from stepahead.learning.drift import DriftDetector; import numpy as np;"
        "DriftDetector().update(np.ones(9)); print({'sklearn', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=True)
    assert done.stdout.strip() == "set()"
