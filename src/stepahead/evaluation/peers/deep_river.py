"""deep-river's online LSTM forecaster, fed with values less their running mean over their running deviation."""

from river.stats import Mean, Var

__all__ = ["DeepRiverLSTM", "make"]

WINDOW = 24


class DeepRiverLSTM:
    """`deep_river.forecasting.LSTMForecaster` with its own defaults and a window of 24 readings.

    Args:
        seed: of its weights.
    """

    def __init__(self, seed: int) -> None:
        # Not at the top: the package cannot be installed beside our torch without force, and this module
        # is read by the tests all the same.
        from deep_river.forecasting import LSTMForecaster

        self._model = LSTMForecaster(window_size=WINDOW, seed=seed)
        self._mean, self._variance = Mean(), Var()
        self._seen = 0

    def forecast(self) -> float:
        """The next value; NaN until the window is filled."""
        if self._seen <= WINDOW:
            return float("nan")
        return float(self._model.forecast(1)[0]) * self._deviation() + self._mean.get()

    def learn(self, value: float, time_ns: int) -> None:
        """Take in one reading."""
        self._seen += 1
        self._mean.update(value)
        self._variance.update(value)
        self._model.learn_one((value - self._mean.get()) / self._deviation())

    def _deviation(self) -> float:
        return float(self._variance.get() ** 0.5) or 1.0


def make(season: int | None, seed: int) -> DeepRiverLSTM:
    """One peer for one column."""
    return DeepRiverLSTM(seed)
