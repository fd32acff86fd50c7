"""One forecast, as `Forecaster.update` gives it, and many, as a pandas frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stepahead.contract.records import STATUS_NAMES, FloatArray, Forecasts

if TYPE_CHECKING:
    import pandas

__all__ = ["Forecast", "forecast_of", "frame_of"]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected of a series' next reading.

    Attributes:
        series: name.
        value: the forecast, in the sensor's unit.
        mean: what the next reading is expected to be on average: for sums over series and for squared errors.
        lower, upper: bounds at the first of the levels.
        level: its coverage, in (0, 1).
        issued_at, valid_at: time of the reading that the forecast was made from, and of the one that is forecast,
            datetime64[ns], UTC.
        observed: the reading that the forecast was made from.
        error: `observed` less the forecast made for it; None when there was none.
        anomaly: whether `observed` was improbable given the forecast made for it.
        p: its conformal p-value in (0, 1]; None when there was no forecast.
        status: "warming" until network and interval have seen enough of the series, then "ok".
        path: the K steps ahead, `value` first (K = `network.horizon`).
        intervals: level -> (lower, upper), all levels.
        model: version of the weights.
    """

    series: str
    value: float
    mean: float
    lower: float
    upper: float
    level: float
    issued_at: np.datetime64
    valid_at: np.datetime64
    observed: float
    error: float | None
    anomaly: bool
    p: float | None
    status: str
    path: tuple[float, ...]
    intervals: dict[float, tuple[float, float]]
    model: int


def forecast_of(forecasts: Forecasts, row: int, name: str, levels: Sequence[float]) -> Forecast:
    """One row of what the engine answered."""
    path = tuple(forecasts.value[row].tolist())
    lower, upper = forecasts.lower[row].tolist(), forecasts.upper[row].tolist()
    return Forecast(
        series=name,
        value=path[0],
        mean=float(forecasts.mean[row]),
        lower=lower[0],
        upper=upper[0],
        level=levels[0],
        issued_at=np.datetime64(int(forecasts.issued_at_ns[row]), "ns"),
        valid_at=np.datetime64(int(forecasts.valid_at_ns[row]), "ns"),
        observed=float(forecasts.observed[row]),
        error=_known(forecasts.error, row),
        anomaly=bool(forecasts.anomaly[row]),
        p=_known(forecasts.score, row),
        status=STATUS_NAMES[forecasts.status[row]],
        path=path,
        intervals=dict(zip(levels, zip(lower, upper, strict=True), strict=True)),
        model=int(forecasts.model[row]),
    )


def frame_of(forecasts: Forecasts, names: Sequence[str], index: Any = None) -> "pandas.DataFrame":
    """All rows as a pandas frame with the columns of `Forecast` up to `status`.

    Args:
        forecasts: n rows.
        names: of all series, by slot.
        index: row labels of the readings; None = numbers.
    """
    import pandas

    slots, of_row = np.unique(forecasts.series, return_inverse=True)
    utc = {"unit": "ns", "utc": True}
    return pandas.DataFrame(
        {
            "series": np.array([names[slot] for slot in slots], dtype=object)[of_row],
            "value": forecasts.value[:, 0],
            "mean": forecasts.mean,
            "lower": forecasts.lower[:, 0],
            "upper": forecasts.upper[:, 0],
            "issued_at": pandas.to_datetime(forecasts.issued_at_ns, **utc),
            "valid_at": pandas.to_datetime(forecasts.valid_at_ns, **utc),
            "observed": forecasts.observed,
            "error": forecasts.error,
            "anomaly": forecasts.anomaly,
            "p": forecasts.score,
            "status": np.array(STATUS_NAMES, dtype=object)[forecasts.status],
        },
        index=None if index is None else index[forecasts.reading],
    )


def _known(column: FloatArray, row: int) -> float | None:
    return None if np.isnan(column[row]) else float(column[row])
