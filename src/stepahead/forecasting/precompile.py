"""Compiles every loop of the engine into the cache of Numba: `python -m stepahead.forecasting.precompile`.

Run once after an installation (about 11 s), so that no service pays for it at its first readings; where the cache is
up to date nothing is compiled.
"""

import numpy as np

from stepahead.contract.records import Readings
from stepahead.contract.settings import Settings
from stepahead.forecasting.engine import Engine

__all__ = ["main"]


def main(layers: tuple[int, ...] = (1, 2)) -> None:
    """Step engines that between them call everything that is compiled.

    Args:
        layers: of the LSTM; the second and further ones have a loop of their own.

    Example:
        >>> main(layers=(1,))
    """
    for number in layers:
        engine = Engine(Settings.model_validate({"network": {"layers": number}, "learning": {"enabled": False}}))
        slot = engine.intern("series")
        for minute in range(4):
            engine.step(Readings.of([slot], [minute * 60_000_000_000], [float(minute % 3)]))
        ensemble = engine.cohorts[0].ensemble
        blank, inputs = ensemble.newborn_state(1), np.zeros((1, 1, ensemble.shape.features), np.float32)
        ensemble.rerun(inputs, np.zeros(1, np.intp), blank, np.zeros(1, np.intp))


if __name__ == "__main__":
    main()
