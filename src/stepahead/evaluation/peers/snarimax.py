"""River's online SNARIMAX, as it comes and with its gradients held."""

from river.linear_model import LinearRegression
from river.optim import SGD
from river.preprocessing import StandardScaler, TargetStandardScaler
from river.time_series import SNARIMAX

__all__ = ["Snarimax", "clipped_snarimax", "default_snarimax"]


class Snarimax:
    """River's `SNARIMAX` behind the protocol of a peer.

    It may diverge, and Python's floats then overflow or turn NaN: from there on it has no forecast.

    Args:
        model: newborn.
    """

    def __init__(self, model: SNARIMAX) -> None:
        self._model = model
        self._order = model.p + model.d
        self._seen = 0
        self._broken = False

    def forecast(self) -> float:
        """The next value; NaN until the lags are filled, or once it has overflowed."""
        if self._broken or self._seen <= self._order:
            return float("nan")
        try:
            return float(self._model.forecast(horizon=1)[0])
        except (OverflowError, ValueError):
            self._broken = True
            return float("nan")

    def learn(self, value: float, time_ns: int) -> None:
        """Take in one reading."""
        self._seen += 1
        if self._broken:
            return
        try:
            self._model.learn_one(value)
        except (OverflowError, ValueError):
            self._broken = True


def default_snarimax(season: int | None, seed: int) -> Snarimax:
    """SNARIMAX(24,1,6) with River's default regressor."""
    return Snarimax(SNARIMAX(p=24, d=1, q=6))


def clipped_snarimax(season: int | None, seed: int) -> Snarimax:
    """SNARIMAX(24,1,3) on scaled inputs and target, gradients clipped at 1: then it does not diverge on raw feeds."""
    regression = LinearRegression(optimizer=SGD(0.01), intercept_lr=0.01, clip_gradient=1.0)
    return Snarimax(SNARIMAX(p=24, d=1, q=3, regressor=StandardScaler() | TargetStandardScaler(regression)))
