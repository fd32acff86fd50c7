"""What the service tells of itself: the fields of the retained status, and the line of the minute."""

from collections.abc import Mapping
from typing import Any, Protocol

from stepahead.forecasting.cohort import Tally

__all__ = ["Observed", "StatusReport", "vitals"]


class Observed(Protocol):
    """Where the figures come from."""

    @property
    def series(self) -> int:
        """Series known."""

    @property
    def away(self) -> int:
        """Series whose state lies on the disk because they have been silent for long."""

    @property
    def readings(self) -> int:
        """Readings taken so far."""

    @property
    def forecasts(self) -> int:
        """Forecasts published so far."""

    @property
    def waiting(self) -> int:
        """Messages received and not yet answered."""

    @property
    def model(self) -> int:
        """Newest version of the weights."""

    @property
    def lag_s(self) -> float | None:
        """Seconds from a reading's own time, or its arrival if that time is not believed, to its forecast."""

    @property
    def tallies(self) -> list[Tally]:
        """Fine-tunes of each network."""

    @property
    def trainer_failures(self) -> int:
        """Fine-tunes that were begun and never came back."""

    @property
    def drops(self) -> Mapping[str, int]:
        """Dropped messages and readings by reason."""


class StatusReport:
    """Makes the status fields, with rates taken between two calls.

    Args:
        observed: where the figures come from.
        version: of the program.
        now_s: monotonic seconds at the start.
    """

    def __init__(self, observed: Observed, version: str, now_s: float) -> None:
        self._observed = observed
        self._version = version
        self._began_s = now_s
        self._last = (now_s, observed.readings)

    def fields(self, now_s: float) -> dict[str, Any]:
        """The fields of the status message; rates are since the last call."""
        observed = self._observed
        last_s, last_readings = self._last
        self._last = (now_s, observed.readings)
        rate = (observed.readings - last_readings) / max(now_s - last_s, 1e-3)
        tallies = observed.tallies
        return {
            "version": self._version,
            "uptime_s": round(now_s - self._began_s, 1),
            "series": observed.series,
            "away": observed.away,
            "readings": observed.readings,
            "forecasts": observed.forecasts,
            "readings_per_second": round(rate, 1),
            "waiting": observed.waiting,
            "lag_s": None if observed.lag_s is None else round(observed.lag_s, 3),
            "model": observed.model,
            "fine_tunes": {
                "adopted": sum(tally.adopted for tally in tallies),
                "rejected": sum(tally.rejected for tally in tallies),
                "failed": sum(tally.failed for tally in tallies) + observed.trainer_failures,
            },
            "drops": dict(observed.drops),
            "drifts": sum(tally.drifts for tally in tallies),
        }


def vitals(fields: Mapping[str, Any]) -> dict[str, object]:
    """The status fields as a log line has them: flat, drops summed up.

    Example:
        >>> vitals({"version": "1", "series": 2, "fine_tunes": {"adopted": 1}, "drops": {"late": 3, "duplicate": 1}})
        {'series': 2, 'adopted': 1, 'dropped': 4}
    """
    nested = ("version", "fine_tunes", "drops")
    flat = {name: value for name, value in fields.items() if name not in nested}
    return {**flat, **fields["fine_tunes"], "dropped": sum(fields["drops"].values())}
