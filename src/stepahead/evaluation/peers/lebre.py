"""LEBRE (Lima 2026, doi:10.5281/zenodo.23443154), told the season, with persistence as its reference."""

from lebre import Lebre

__all__ = ["LebrePeer", "make"]

NO_INPUT = (0.0,)


class LebrePeer:
    """`lebre.Lebre` on the past of the series alone: it must have an input, and gets one that never moves."""

    def __init__(self, season: int | None) -> None:
        self._model = Lebre(n_inputs=1, season=season, reference="persistence")

    def forecast(self) -> float:
        """The next value; the model wants each forecast to be followed by its observation."""
        return float(self._model.predict(NO_INPUT).value)

    def learn(self, value: float, time_ns: int) -> None:
        """Take in one reading."""
        self._model.observe(value)


def make(season: int | None, seed: int) -> LebrePeer:
    """One peer for one column."""
    return LebrePeer(season)
