"""Which client drives the connection."""

from collections.abc import Callable

from stepahead.contract.settings import BrokerSettings
from stepahead.wire.delivery import Will
from stepahead.wire.event import SessionEvent
from stepahead.wire.stock_client import StockClient

__all__ = ["make_client"]


def make_client(
    settings: BrokerSettings, will: Will | None, wall_ns: Callable[[], int], on_event: Callable[[SessionEvent], None]
) -> StockClient:
    """The client that the settings ask for."""
    return StockClient(settings, will, wall_ns)
