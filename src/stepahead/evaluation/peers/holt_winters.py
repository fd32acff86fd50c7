"""River's online Holt's linear trend (HoltWinters without a season)."""

from river.time_series import HoltWinters

__all__ = ["Holt", "make"]


class Holt:
    """River's `HoltWinters(alpha=0.3, beta=0.1)`, the rates of its own example.

    Its season is left out: its additive form starts the season from ratios and not from differences.
    """

    def __init__(self) -> None:
        self._model = HoltWinters(alpha=0.3, beta=0.1)
        self._seen = 0

    def forecast(self) -> float:
        """The next value; NaN before the third reading."""
        return float(self._model.forecast(horizon=1)[0]) if self._seen >= 2 else float("nan")

    def learn(self, value: float, time_ns: int) -> None:
        """Take in one reading."""
        self._model.learn_one(value)
        self._seen += 1


def make(season: int | None, seed: int) -> Holt:
    """One peer for one column."""
    return Holt()
