"""When a cohort's next fine-tune begins, in counts of readings, and how many have been since the last drift."""

from stepahead.contract.settings import LearningSettings

__all__ = ["Schedule", "interval"]

WORK_BOUND_SERIES = 1000
WORK_BOUND_READINGS = 100_000
"""From 1,000 series on, fine-tunes are at least 100,000 readings apart: one costs about as much as stepping so many
(see tests/bench/RESULTS.md). Below, the bound falls with the square of the series, so that few series learn fast."""
HURRIED = 24
HURRY = 8
"""After a drift so many fine-tunes come so many times as often, as far as the work bound lets them."""


class Schedule:
    """Counts readings towards the next fine-tune: periodic, or earlier after drift, with a cool-down.

    Args:
        settings: `every` and `drift_cooldown`, both in readings per series.

    Example:
        >>> schedule = Schedule(LearningSettings(every=24))
        >>> schedule.begun(position=0, series=7)
        >>> schedule.remaining(position=100)
        68
        >>> schedule.drifted(position=100, series=7); schedule.remaining(position=100)
        68
        >>> schedule.drifted(position=168, series=7); schedule.remaining(position=168)
        0
    """

    def __init__(self, settings: LearningSettings) -> None:
        self._every = settings.every
        self._cooldown = settings.drift_cooldown
        self._last = 0
        self._next = settings.every if settings.enabled else None
        self.since_drift: int | None = None
        """Fine-tunes begun since drift was found last; None when it never was."""

    @property
    def hurried(self) -> bool:
        """Whether drift was found a little while ago."""
        return self.since_drift is not None and self.since_drift < HURRIED

    def remaining(self, position: int) -> int | None:
        """Readings until the next fine-tune is due; 0 = now, None = never."""
        return None if self._next is None else max(0, self._next - position)

    def begun(self, position: int, series: int) -> None:
        """A fine-tune began (or was due and had nothing to learn from) at this count of readings."""
        if self._next is not None:
            if self.since_drift is not None:
                self.since_drift += 1
            every = max(1, self._every // HURRY) if self.hurried else self._every
            self._last = position
            self._next = position + interval(every, series)

    def drifted(self, position: int, series: int) -> None:
        """Drift was found: fine-tunes come in quick succession, the first now or as soon as the cool-down ends."""
        if self._next is not None and not self.hurried:
            self._next = min(self._next, max(position, self._last + interval(self._cooldown, series)))
            self.since_drift = 0

    def state_dict(self) -> dict[str, int | None]:
        """The counts."""
        return {"last": self._last, "next": self._next, "since_drift": self.since_drift}

    def load_state_dict(self, state: dict[str, int | None]) -> None:
        """Take over what `state_dict` gave."""
        self._last = int(state["last"] or 0)
        self._next = state["next"]
        self.since_drift = state.get("since_drift")  # earlier releases had none


def interval(per_series: int, series: int) -> int:
    """Readings between two fine-tunes, for `per_series` readings of each of so many series."""
    series = max(1, series)
    floor = WORK_BOUND_READINGS * min(series, WORK_BOUND_SERIES) ** 2 // WORK_BOUND_SERIES**2
    return max(per_series * series, floor)
