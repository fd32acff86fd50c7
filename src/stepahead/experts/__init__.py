"""Simple forecasters and the mixture that weighs them against the LSTM. Pure."""

from stepahead.experts.autoregression import Autoregression
from stepahead.experts.mixture import Mixture
from stepahead.experts.panel import Panel
from stepahead.experts.regression import RecursiveLeastSquares
from stepahead.experts.season import Season
from stepahead.experts.track import Track
from stepahead.experts.unit import Unit

__all__ = ["Autoregression", "Mixture", "Panel", "RecursiveLeastSquares", "Season", "Track", "Unit"]
