"""Which client drives the connection."""

from collections.abc import Callable

import paho.mqtt

from stepahead.contract.settings import BrokerSettings
from stepahead.wire.address import parse_address
from stepahead.wire.delivery import Will
from stepahead.wire.event import EventKind, SessionEvent
from stepahead.wire.fast_client import TESTED_WITH, FastClient
from stepahead.wire.stock_client import StockClient

__all__ = ["make_client"]


def make_client(
    settings: BrokerSettings,
    will: Will | Callable[[], Will] | None,
    wall_ns: Callable[[], int],
    on_event: Callable[[SessionEvent], None],
    paho_version: str = paho.mqtt.__version__,
    clean: bool = False,
) -> StockClient:
    """The client that the settings ask for; paho's own way where the fast one was not tested, and that is said.

    Args:
        settings: `settings.client` is "fast" or "paho".
        will: passed on to the client.
        wall_ns: passed on to the client.
        on_event: told when the fast client was asked for and is not used.
        paho_version: version of the paho-mqtt that is installed.
        clean: passed on to the client.
    """
    if settings.client == "fast":
        if parse_address(settings.url).websocket_path is not None:
            on_event(SessionEvent(EventKind.CLIENT, "over WebSockets the slower client, broker.client = paho, is used"))
        elif paho_version in TESTED_WITH:
            return FastClient(settings, will, wall_ns, clean)
        else:
            tested = ", ".join(sorted(TESTED_WITH))
            text = f"paho-mqtt {paho_version} is not one the fast client was tested with ({tested}): the slower one"
            on_event(SessionEvent(EventKind.CLIENT, f"{text} is used"))
    return StockClient(settings, will, wall_ns, clean)
