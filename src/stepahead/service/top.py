"""`stepahead top`: the live table of a running service, from what it publishes."""

import os
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import msgspec
from rich.console import Console
from rich.live import Live

from stepahead.contract.settings import BrokerSettings
from stepahead.service.settings_text import mask_url
from stepahead.telemetry.livetable import live_table, plain_line
from stepahead.telemetry.scoreboard import Scoreboard
from stepahead.wire.delivery import Delivery
from stepahead.wire.encoder import status_topic
from stepahead.wire.event import SessionEvent
from stepahead.wire.session import Session

__all__ = ["Top", "guest"]

FRAME_S = 0.25
LINE_S = 5.0
PORTION = 5000


def guest(broker: BrokerSettings) -> BrokerSettings:
    """The broker's settings for one who only listens: a name of its own, and no session that outlives it.

    Example:
        >>> visitor = guest(BrokerSettings(client_id="stepahead"))
        >>> visitor.client_id.startswith("stepahead-top-"), visitor.qos, visitor.session_expiry_s
        (True, 0, 0)
    """
    name = f"stepahead-top-{os.getpid()}-{secrets.token_hex(3)}"
    return broker.model_copy(update={"client_id": name, "qos": 0, "session_expiry_s": 0})


class Top:
    """Listens to forecasts and status and draws the demo's table, until told to stop.

    Args:
        broker: where the service publishes.
        prefix: what its topics start with.
        console: where the table goes; a plain line every five seconds when that is no terminal.
        seconds: how long; None = until Ctrl-C.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        broker: BrokerSettings,
        prefix: str,
        console: Console,
        seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.board = Scoreboard()
        self.undecodable = 0
        self._prefix = prefix
        self._console = console
        self._seconds = seconds
        self._clock = clock
        self._status = status_topic(prefix).encode()
        self._source = f"{mask_url(broker.url)} {prefix}"
        self._session = Session(guest(broker), [f"{prefix}/forecast/#", f"{prefix}/status"], None, self._told)
        self._decoder = msgspec.json.Decoder(dict[str, object])

    def run(self) -> None:
        """Draw until the time is over or Ctrl-C.

        Raises:
            BrokerError: the broker refuses us for good.
        """
        began_s = self._clock()
        drawn = self._console.is_terminal and not self._console.is_dumb_terminal
        with ExitStack() as stack:
            stack.callback(self._session.close, 1.0)
            live = stack.enter_context(Live(console=self._console, screen=True, auto_refresh=False)) if drawn else None
            frame_s = line_s = began_s
            while (now_s := self._clock()) - began_s < (float("inf") if self._seconds is None else self._seconds):
                deliveries = self._session.receive(FRAME_S / 2, PORTION)
                self.take(deliveries, now_s)
                self._session.acknowledge(deliveries)
                if live is not None and now_s >= frame_s + FRAME_S:
                    frame_s = now_s
                    width, height = self._console.size
                    table = live_table(self.board, width, height, now_s, now_s - began_s, self._source)
                    live.update(table, refresh=True)
                elif live is None and now_s >= line_s + LINE_S:
                    line_s = now_s
                    line = plain_line(self.board, now_s, now_s - began_s)
                    self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def take(self, deliveries: Sequence[Delivery], now_s: float) -> None:
        """Score messages; what is no JSON object is counted."""
        for message in deliveries:
            try:
                content = self._decoder.decode(message.payload)
            except (msgspec.DecodeError, UnicodeDecodeError):
                self.undecodable += 1
                continue
            if message.topic == self._status:
                self.board.take_status(content)
            else:
                self.board.forecast(content, now_s)

    def _told(self, event: SessionEvent) -> None:
        if event.retry_in_s is not None:
            self.board.take_status({"status": event.text})
