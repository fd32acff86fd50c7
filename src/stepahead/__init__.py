"""stepahead: streaming one-step-ahead forecasts for live sensor feeds, learned while it runs."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepahead.contract.settings import Settings
    from stepahead.library.forecast import Forecast
    from stepahead.library.forecaster import Forecaster

__all__ = ["Forecast", "Forecaster", "Settings"]


def __getattr__(name: str) -> Any:
    """The public names, imported when first asked for: PyTorch alone takes a second."""
    if name == "Forecaster":
        from stepahead.library.forecaster import Forecaster

        return Forecaster
    if name == "Forecast":
        from stepahead.library.forecast import Forecast

        return Forecast
    if name == "Settings":
        from stepahead.contract.settings import Settings

        return Settings
    raise AttributeError(f"module 'stepahead' has no attribute {name!r}")
