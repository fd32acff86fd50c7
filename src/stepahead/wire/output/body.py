"""What every form of output offers: one payload a forecast; most also one for a run of forecasts."""

from collections.abc import Sequence
from typing import Protocol

from stepahead.contract.records import Forecasts

__all__ = ["Body", "RunBody"]


class Body(Protocol):
    """Forecasts and the keys of their series in, payloads out."""

    content_type: str
    """MIME type of the payloads, for MQTT 5 (§3.3.2.3.9)."""

    def each(self, forecasts: Forecasts, keys: Sequence[str]) -> list[bytes]:
        """One payload per forecast, in order."""


class RunBody(Body, Protocol):
    """A form in which several forecasts can stand in one payload."""

    def runs(self, forecasts: Forecasts, keys: Sequence[str], ends: Sequence[int]) -> list[bytes]:
        """One payload per run of forecasts; `ends` holds the row after each run's last, rising."""
