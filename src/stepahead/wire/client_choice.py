"""Which client drives the connection."""

from collections.abc import Callable

import paho.mqtt

from stepahead.contract.settings import BrokerSettings
from stepahead.wire.delivery import Will
from stepahead.wire.event import EventKind, SessionEvent
from stepahead.wire.fast_client import TESTED_WITH, FastClient
from stepahead.wire.stock_client import StockClient

__all__ = ["make_client"]


def make_client(
    settings: BrokerSettings,
    will: Will | None,
    wall_ns: Callable[[], int],
    on_event: Callable[[SessionEvent], None],
    paho_version: str = paho.mqtt.__version__,
) -> StockClient:
    """The client that the settings ask for; paho's own way where the fast one was not tested, and that is said.

    Args:
        settings: `settings.client` is "fast" or "paho".
        will: passed on to the client.
        wall_ns: passed on to the client.
        on_event: told when the fast client was asked for and is not used.
        paho_version: version of the paho-mqtt that is installed.
    """
    if settings.client == "fast":
        if paho_version in TESTED_WITH:
            return FastClient(settings, will, wall_ns)
        tested = ", ".join(sorted(TESTED_WITH))
        text = f"paho-mqtt {paho_version} is not one the fast client was tested with ({tested}): the slower one is used"
        on_event(SessionEvent(EventKind.CLIENT, text))
    return StockClient(settings, will, wall_ns)
