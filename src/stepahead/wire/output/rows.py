"""The fields that payloads have in common, row by row."""

from collections.abc import Iterator
from typing import TypeAlias

from stepahead.contract.records import STATUS_NAMES, Forecasts
from stepahead.wire.output.json import identities

__all__ = ["Row", "rows_of"]

Row: TypeAlias = tuple[float, float, float, float, float, float, bool, str, int, str]
"""Value, mean, lower, upper, observed, error (NaN where nothing had been forecast), anomaly, status, model, id."""


def rows_of(forecasts: Forecasts) -> Iterator[Row]:
    """One row per forecast, of the first step and the first level."""
    return zip(
        forecasts.value[:, 0].tolist(),
        forecasts.mean.tolist(),
        forecasts.lower[:, 0].tolist(),
        forecasts.upper[:, 0].tolist(),
        forecasts.observed.tolist(),
        forecasts.error.tolist(),
        forecasts.anomaly.tolist(),
        [STATUS_NAMES[code] for code in forecasts.status.tolist()],
        forecasts.model.tolist(),
        identities(forecasts),
        strict=True,
    )
