"""Drift of the forecast error: by Page's cumulative sum, and by river's ADWIN (Bifet & Gavaldà, SDM 2007)."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DriftDetector"]

REMEMBERED = 1024
"""Newest signals that the detector is rebuilt from, every so many signals: ADWIN's own window has no bound and no
form in which it can be saved, this has both."""


class CumulativeSum:
    """Page's test (Continuous inspection schemes, Biometrika 41, 1954) for a rise of a signal, in its own deviations.

    It adds up by how much signals are higher than usual, and finds a rise by five deviations within three signals;
    ADWIN took two to five times as long for it, and finds smaller ones.

    Example:
        >>> test = CumulativeSum()
        >>> rng = np.random.default_rng(0)
        >>> any([test.update(signal) for signal in rng.normal(1.0, 0.1, 1000)])
        False
        >>> [test.update(signal) for signal in (1.7, 1.6, 1.8)]
        [False, False, True]
    """

    ALLOWANCE = 1.0
    """Deviations above the mean that are nothing unusual."""
    THRESHOLD = 8.0
    """What deviations beyond it may add up to."""
    MOST = 4.0
    """Deviations that a single signal counts: one outlier is not a drift."""
    SETTLED = 32
    """Signals until mean and deviation are believed, at first and after a drift."""
    MEMORY = 256
    """Signals that they follow."""
    LEAST = 0.1
    """Least deviation, as a share of the mean."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.variance = self.sum = 0.0

    def update(self, signal: float) -> bool:
        """Take a signal; whether it completes the proof of a rise, after which a new test is to be begun."""
        off = signal - self.mean
        deviation = max(math.sqrt(self.variance), self.LEAST * self.mean)
        if self.count >= self.SETTLED and deviation > 0:
            self.sum = max(0.0, self.sum + min(off / deviation, self.MOST) - self.ALLOWANCE)
            if self.sum > self.THRESHOLD:
                return True
        self.count += 1
        rate = 1 / min(self.count, self.MEMORY)
        self.mean += rate * off
        self.variance += rate * ((1 - rate) * off * off - self.variance)
        return False

    def state_dict(self) -> dict[str, float]:
        """Count, mean, variance and sum."""
        return vars(self).copy()

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Take over what `state_dict` gave."""
        self.count = int(state["count"])
        self.mean, self.variance, self.sum = (float(state[name]) for name in ("mean", "variance", "sum"))


class DriftDetector:
    """Watches the mean scaled error of a cohort, one signal per turn of its series.

    A signal is the mean of min(|error| / scale, 8) over as many readings as there are series.

    Args:
        delta: significance of a change; smaller means fewer false alarms.

    Example:
        >>> detector = DriftDetector()
        >>> any(detector.update(np.full(400, 0.5))), any(detector.update(np.full(400, 2.0)))
        (False, True)
    """

    def __init__(self, delta: float = 0.002) -> None:
        self._delta = delta
        self._adwin: Any = None  # made at the first signal, see `new_adwin`
        self._fed: list[float] = []
        self._sum = CumulativeSum()
        self.drifts = 0

    def update(self, signals: NDArray[np.float64]) -> list[bool]:
        """Take signals in order.

        Returns:
            For each, whether it revealed that the error has *risen*; a fall is adapted to in silence.
        """
        return [self._update_one(float(signal)) for signal in signals]

    def _update_one(self, signal: float) -> bool:
        before = self._adwin.estimation if self._fed else 0.0
        self._feed(signal)
        risen = bool(self._adwin.drift_detected) and self._adwin.estimation > before
        if self._sum.update(signal):
            risen, self._sum, self._fed = True, CumulativeSum(), []  # or ADWIN would find the same rise once more
        elif len(self._fed) >= 2 * REMEMBERED:
            self._rebuild(self._fed[-REMEMBERED:])
        self.drifts += risen
        return risen

    def _feed(self, signal: float) -> None:
        if not self._fed:
            self._adwin = new_adwin(self._delta)
        self._adwin.update(signal)
        self._fed.append(signal)

    def _rebuild(self, signals: list[float]) -> None:
        self._fed = []
        for signal in signals:
            self._feed(signal)

    def state_dict(self) -> dict[str, Any]:
        """The signals ADWIN can be rebuilt from, the cumulative sum, and the count of drifts."""
        return {"fed": np.array(self._fed), "sum": self._sum.state_dict(), "drifts": self.drifts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self._rebuild(np.asarray(state["fed"], dtype=np.float64).tolist())
        if "sum" in state:  # earlier releases had none
            self._sum.load_state_dict(state["sum"])
        self.drifts = int(state["drifts"])


class Adwin:
    """River's ADWIN without what river's package of detectors imports: a second and 85 MB of scikit-learn and pandas.

    Args:
        windowing: river's adaptive window, its class.
        delta: significance of a change.
    """

    def __init__(self, windowing: Any, delta: float) -> None:
        # A signal stands for sixteen readings already: look at each (clock 1). The others are river's defaults.
        self._begin = partial(windowing, delta, clock=1, max_buckets=5, min_window_length=5, grace_period=10)
        self._window = self._begin()
        self.drift_detected = False

    @property
    def estimation(self) -> float:
        """Mean of the window."""
        width = self._window.get_width()
        return float(self._window.get_total() / width) if width else 0.0

    def update(self, signal: float) -> None:
        """Take a signal; after a drift the window begins anew with it."""
        if self.drift_detected:
            self._window = self._begin()
        self.drift_detected = bool(self._window.update(signal))


def new_adwin(delta: float) -> Any:
    """River's detector, empty; by its core alone where this release of river has it where we know it."""
    try:
        from river._river_rust.drift import AdaptiveWindowing
    except ImportError:
        from river.drift import ADWIN

        return ADWIN(delta=delta, clock=1)
    return Adwin(AdaptiveWindowing, delta)
