"""The score of a running service, computed from its published messages alone."""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

__all__ = ["HISTORY", "MARK_S", "RECENT", "Scoreboard", "SeriesScore", "Totals"]

HISTORY = 240
"""Last observed values kept per series, for the sparkline."""

RECENT = 400
"""The recent skill is taken over so many scored readings."""

MARK_S = 3.0
"""An anomaly stays marked for so many seconds: at 20 readings/s nobody could see it otherwise."""


@dataclass(slots=True)
class Totals:
    """Sums over scored readings; a reading is scored when a forecast for it and the reading before it are known."""

    scored: int = 0
    error: float = 0.0
    persistence: float = 0.0
    bounded: int = 0
    inside: int = 0

    @property
    def skill(self) -> float | None:
        """`1 - Σ|error| / Σ|change|`: 0 is as good as repeating the last value, 1 is perfect; None = not known."""
        return skill(self.error, self.persistence)

    @property
    def mae(self) -> float | None:
        """Mean absolute error in the sensor's unit; None = nothing scored yet."""
        return self.error / self.scored if self.scored else None

    @property
    def coverage(self) -> float | None:
        """Share of readings inside the interval that was published for them; None = none was."""
        return self.inside / self.bounded if self.bounded else None


@dataclass(slots=True)
class SeriesScore:
    """What is known of one series; values in the sensor's unit.

    Attributes:
        key: series key.
        observed: the latest reading.
        value, lower, upper: the forecast made from it for the next one.
        status: `warming`, `ok` or `stale`.
        history: the latest readings with their anomaly flags, oldest first.
        totals: since the start.
        recent: (|error|, |change|) of the latest scored readings.
        anomalies: readings flagged so far.
        marked_until_s: when the latest anomaly mark ends, on the caller's clock.
    """

    key: str
    observed: float = math.nan
    value: float = math.nan
    lower: float = math.nan
    upper: float = math.nan
    status: str = "warming"
    readings: int = 0
    history: deque[tuple[float, bool]] = field(default_factory=lambda: deque(maxlen=HISTORY))
    totals: Totals = field(default_factory=Totals)
    recent: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=RECENT))
    anomalies: int = 0
    marked_until_s: float = -math.inf
    _latest: tuple[float, Any] = (-math.inf, None)

    @property
    def recent_skill(self) -> float | None:
        """Skill over the latest `RECENT` scored readings; None = not known."""
        return skill(sum(e for e, _ in self.recent), sum(c for _, c in self.recent))

    def update(self, message: Mapping[str, Any], now_s: float) -> bool:
        """Take a forecast message; False when it repeats or is older than one seen before."""
        observed = number(message.get("observed"))
        issued_at = number(message.get("issued_at"))
        identity = message.get("id")
        if (identity is not None and identity == self._latest[1]) or issued_at < self._latest[0]:
            return False
        self._latest = (issued_at if math.isfinite(issued_at) else self._latest[0], identity)
        if math.isfinite(observed):
            self._score(observed, number(message.get("error")))
            self.observed = observed
            anomaly = message.get("anomaly") is True
            self.history.append((observed, anomaly))
            if anomaly:
                self.anomalies += 1
                self.marked_until_s = now_s + MARK_S
        self.readings += 1
        self.value = number(message.get("value"))
        self.lower = number(message.get("lower"))
        self.upper = number(message.get("upper"))
        self.status = str(message.get("status", "ok"))
        return True

    def _score(self, observed: float, error: float) -> None:
        """Score a reading by the messages before it, which are still in `value`, `lower` and `upper`."""
        if not (math.isfinite(error) and math.isfinite(self.observed)):
            return
        # When a message was lost between the two, the error belongs to a forecast that we have not seen.
        tolerance = 1e-6 * (abs(observed) + abs(self.value) + abs(error))
        if math.isfinite(self.value) and abs(observed - self.value - error) > tolerance:
            return
        change = abs(observed - self.observed)
        if not (math.isfinite(change) and math.isfinite(self.totals.persistence + change)):
            return
        self.totals.scored += 1
        self.totals.error += abs(error)
        self.totals.persistence += change
        self.recent.append((abs(error), change))
        if self.status == "ok" and math.isfinite(self.lower) and math.isfinite(self.upper):
            self.totals.bounded += 1
            self.totals.inside += self.lower <= observed <= self.upper


class Scoreboard:
    """Scores of all series, from decoded messages of `…/forecast/#` and `…/status`.

    Example:
        >>> board = Scoreboard()
        >>> for t, (x, guess) in enumerate([(1.0, 1.5), (2.0, 2.5), (3.0, 3.5)]):
        ...     message = {"series": "a", "issued_at": t, "observed": x, "value": guess}
        ...     if t:
        ...         message["error"] = 0.5
        ...     board.forecast(message, now_s=float(t))
        >>> board.series["a"].totals.mae, board.series["a"].totals.skill
        (0.5, 0.5)
    """

    def __init__(self) -> None:
        self.series: dict[str, SeriesScore] = {}
        self.status: dict[str, Any] = {}
        self.forecasts = 0
        self.ignored = 0
        self.model = 0
        self.level = 0.9
        self._arrivals: deque[tuple[float, int]] = deque(maxlen=64)

    def forecast(self, message: Mapping[str, Any], now_s: float) -> None:
        """Take a forecast message; what names no series, repeats, or is out of order counts in `ignored`."""
        key = message.get("series")
        if not isinstance(key, str):
            self.ignored += 1
            return
        if key not in self.series:
            self.series[key] = SeriesScore(key)
        if not self.series[key].update(message, now_s):
            self.ignored += 1
            return
        self.forecasts += 1
        level = number(message.get("level"))
        self.level = level if 0 < level < 1 else self.level
        model = number(message.get("model"))
        if math.isfinite(model):
            self.model = max(self.model, int(model))

    def take_status(self, message: Mapping[str, Any]) -> None:
        """Take a status message; fields it lacks keep what they were."""
        self.status.update(message)

    def readings_per_second(self, now_s: float) -> float:
        """What the service says, else forecasts that arrived here over the last seconds."""
        said = number(self.status.get("readings_per_second"))
        if not self._arrivals or now_s - self._arrivals[-1][0] >= 0.25:
            self._arrivals.append((now_s, self.forecasts))
        if math.isfinite(said):
            return said
        first_s, first = next((a for a in self._arrivals if now_s - a[0] <= 5.0), self._arrivals[-1])
        return (self.forecasts - first) / (now_s - first_s) if now_s > first_s else 0.0

    def fine_tunes(self) -> dict[str, int]:
        """Fine-tunes by result, as the service says; what it does not say is 0."""
        return {"adopted": 0, "rejected": 0, "failed": 0} | counts(self.status.get("fine_tunes"))

    def drops(self) -> dict[str, int]:
        """Drops by reason, as the service says; empty when it says nothing."""
        return counts(self.status.get("drops"))

    def model_version(self) -> int:
        """Version of the weights: the newest that status or a forecast named."""
        said = number(self.status.get("model"))
        return max(self.model, int(said)) if math.isfinite(said) else self.model

    def overall(self) -> dict[str, float | None]:
        """Median skill over the series (so that one bad series does not speak for all) and the pooled coverage."""
        skills = [s.totals.skill for s in self.series.values()]
        known = [skill for skill in skills if skill is not None]
        recent = [skill for skill in (s.recent_skill for s in self.series.values()) if skill is not None]
        bounded = sum(s.totals.bounded for s in self.series.values())
        inside = sum(s.totals.inside for s in self.series.values())
        return {
            "skill": median(known) if known else None,
            "recent_skill": median(recent) if recent else None,
            "coverage": inside / bounded if bounded else None,
        }

    def as_dict(self, now_s: float) -> dict[str, Any]:
        """All scores as one JSON document; what is not known is null."""
        return {
            "readings_per_second": self.readings_per_second(now_s),
            "forecasts": self.forecasts,
            "model": self.model_version(),
            "fine_tunes": self.fine_tunes(),
            "drops": self.drops(),
            **self.overall(),
            "series": {
                s.key: {
                    "readings": s.readings,
                    "scored": s.totals.scored,
                    "mae": s.totals.mae,
                    "skill": s.totals.skill,
                    "recent_skill": s.recent_skill,
                    "coverage": s.totals.coverage,
                    "anomalies": s.anomalies,
                    "observed": finite(s.observed),
                    "forecast": finite(s.value),
                    "lower": finite(s.lower),
                    "upper": finite(s.upper),
                    "status": s.status,
                }
                for s in sorted(self.series.values(), key=lambda s: s.key)
            },
        }


def skill(error: float, change: float) -> float | None:
    """`1 - Σ|error| / Σ|change|`; None while nothing has changed."""
    return 1.0 - error / change if change > 0 and math.isfinite(error) else None


def number(value: object) -> float:
    """A number, the first of a list of numbers, or NaN for anything else.

    Example:
        >>> number(3), number([1.5, 2.5]), number("3"), number(True)
        (3.0, 1.5, nan, nan)
    """
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:  # JSON has whole numbers beyond float64
        return math.inf if value > 0 else -math.inf


def finite(value: float) -> float | None:
    """The value, or None when it is NaN or infinite."""
    return value if math.isfinite(value) else None


def counts(value: object) -> dict[str, int]:
    """The whole numbers of a mapping by name; empty for anything else."""
    if not isinstance(value, Mapping):
        return {}
    return {str(k): v for k, v in value.items() if isinstance(v, int) and not isinstance(v, bool)}
