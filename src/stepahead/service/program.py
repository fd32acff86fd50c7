"""The program `stepahead run`: builds everything from the settings, and ends in good order when told to."""

import os
import signal
import threading
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from types import FrameType

import torch

from stepahead.contract.errors import SettingsError
from stepahead.contract.reasons import DropCounter
from stepahead.contract.settings import Settings
from stepahead.forecasting.engine import Engine
from stepahead.learning.trainer import InlineTrainer, Trainer
from stepahead.service.arrivals import Arrivals
from stepahead.service.loop import Loop
from stepahead.service.outcomes import OutcomeDoor
from stepahead.service.recovery import Knowledge, resume
from stepahead.service.redelivery import RecentForecasts
from stepahead.service.settings_text import mask_url
from stepahead.service.state_directory import state_directory
from stepahead.service.trainer_process import ProcessTrainer
from stepahead.telemetry.log import Log
from stepahead.wire.decoder import Decoder
from stepahead.wire.delivery import Will
from stepahead.wire.encoder import ForecastEncoder, offline_status, status_topic
from stepahead.wire.event import EventKind, SessionEvent
from stepahead.wire.session import Session
from stepahead.wire.topics import own_output_error, parse_filter

__all__ = ["run"]

REMEMBERED_FORECASTS = 131_072
"""More than the 65,535 messages that a broker may deliver again, with room for messages of several readings."""


def run(settings: Settings) -> int:
    """Forecast the feeds of a broker until SIGTERM or Ctrl-C.

    Returns:
        The exit code: 0 after an end in good order.

    Raises:
        SettingsError: the settings cannot work, such as filters that match our own output.
        BrokerError: the broker refused the first connection for good.
    """
    filters = [parse_filter(subscription.filter) for subscription in settings.subscriptions]
    error = own_output_error(filters, settings.publish.prefix)
    if error is not None:
        raise SettingsError(f"subscriptions: {error}")
    log = Log(level=settings.service.log_level)
    torch.set_num_threads(settings.service.threads)
    stop = Stop()
    trainer, failures = make_trainer(settings, log)
    door = OutcomeDoor(trainer)
    engine = Engine(settings, door)
    knowledge = Knowledge(engine, door, RecentForecasts(REMEMBERED_FORECASTS), Arrivals())
    log_start(settings, log)
    import_what_comes_later()
    keeper, release = resume(settings, knowledge, state_directory(settings), log)
    drops = DropCounter()
    decoder = Decoder(
        settings.subscriptions, engine.intern, drops, settings.publish.prefix, settings.broker.max_payload_bytes
    )
    events = SessionLog(log)
    will = Will(status_topic(settings.publish.prefix), offline_status())
    session = Session(settings.broker, [topic_filter.text for topic_filter in filters], will, events)
    loop = Loop(
        settings,
        session,
        decoder,
        drops,
        engine,
        ForecastEncoder(settings.publish.prefix, settings.interval.levels, engine.table.keys.__getitem__),
        door,
        knowledge.recent,
        knowledge.arrivals,
        keeper,
        log,
        version("stepahead"),
        failures,
    )
    events.on_connected = loop.connected_anew
    try:
        with stop:
            loop.run(stop.asked)
    finally:
        engine.close()
        release()
    return 0


def make_trainer(settings: Settings, log: Log) -> tuple[Trainer, Callable[[], int]]:
    """Who fine-tunes, and the count of those that never came back.

    In the deterministic setting a fine-tune has its place between two readings and no time limit; a process of its
    own would only be waited for.
    """
    if settings.engine.deterministic:
        return InlineTrainer(settings.learning, clock=lambda: 0.0), lambda: 0
    trainer = ProcessTrainer(settings.learning, lambda text: log.warning("fine_tune_failed", text=text))
    return trainer, lambda: trainer.failures


def import_what_comes_later() -> None:
    """Import river beside the stream: it is needed after some hundred readings, and takes a second."""
    threading.Thread(target=import_module, args=("river.drift",), name="imports", daemon=True).start()


def log_start(settings: Settings, log: Log) -> None:
    """One line that says what will be done."""
    log.info(
        "starting",
        broker=mask_url(settings.broker.url),
        client_id=settings.broker.client_id,
        filters=",".join(subscription.filter for subscription in settings.subscriptions),
        publish=settings.publish.prefix,
        max_series=settings.engine.max_series,
        network=f"{settings.network.members}x{settings.network.layers}x{settings.network.hidden}",
        learning=settings.learning.enabled,
        durability=settings.durability.mode,
        threads=settings.service.threads,
        deterministic=settings.engine.deterministic,
        pid=os.getpid(),
    )


class SessionLog:
    """Turns a session's events into log lines: one per change, however often an attempt fails.

    Args:
        log: where to.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._last = ""
        self.on_connected: Callable[[bool], None] = lambda session_present: None

    def __call__(self, event: SessionEvent) -> None:
        """Take an event."""
        if event.kind in (EventKind.CONNECTED, EventKind.SUBSCRIBED, EventKind.CLIENT):
            self._log.info(str(event.kind), text=event.text)
            if event.kind is EventKind.CONNECTED:
                self.on_connected(bool(event.session_present))
        elif event.retry_in_s is None and event.kind is EventKind.DISCONNECTED:  # our own good-bye
            self._log.info(str(event.kind), text=event.text)
        elif event.text != self._last:
            self._log.warning(str(event.kind), text=event.text, retrying=event.retry_in_s is not None)
        self._last = event.text


class Stop:
    """The wish to stop, from SIGTERM or Ctrl-C: the first asks, the second ends the program at once."""

    def __init__(self) -> None:
        self._asked = False

    def asked(self) -> bool:
        """Whether we were told to stop."""
        return self._asked

    def __enter__(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._told)

    def __exit__(self, *exc: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)

    def _told(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            os._exit(128 + number)
        self._asked = True
