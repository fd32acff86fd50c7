"""Held beside river's own ADWIN, which does the same with more imported."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from river.drift import ADWIN

from stepahead.learning.drift import DriftDetector, new_adwin


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


def test_it_brings_no_scikit_learn_with_it() -> None:
    program = (
        "import sys; from stepahead.learning.drift import DriftDetector; import numpy as np;"
        "DriftDetector().update(np.ones(9)); print({'sklearn', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"
