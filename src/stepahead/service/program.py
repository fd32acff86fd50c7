"""The program `stepahead run`: builds everything from the settings, and ends in good order when told to."""

import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib.metadata import version
from types import FrameType

import torch

from stepahead.contract.errors import SettingsError
from stepahead.contract.reasons import DropCounter
from stepahead.contract.settings import Settings
from stepahead.forecasting.engine import Engine
from stepahead.learning.trainer import InlineTrainer, Trainer
from stepahead.network.device import device_of
from stepahead.service.arrival_clock import ArrivalClock
from stepahead.service.arrivals import Arrivals
from stepahead.service.loop import Loop
from stepahead.service.notify import Notifier
from stepahead.service.outcomes import OutcomeDoor
from stepahead.service.output import Output, own_topics
from stepahead.service.recovery import Knowledge, resume
from stepahead.service.redelivery import RecentForecasts
from stepahead.service.settings_text import mask_url
from stepahead.service.state_directory import state_directory
from stepahead.service.trainer_process import ProcessTrainer, trainer_command
from stepahead.service.unforeseen import Unforeseen
from stepahead.service.watch import Watch
from stepahead.storage.filesystem import Filesystem
from stepahead.telemetry.ledger import Ledger
from stepahead.telemetry.log import Log, make_log
from stepahead.wire.decoder import Decoder
from stepahead.wire.delivery import Will
from stepahead.wire.encoder import offline_status, status_topic
from stepahead.wire.event import EventKind, SessionEvent
from stepahead.wire.paired_session import PairedSession
from stepahead.wire.session import Session
from stepahead.wire.speaker import Speaker
from stepahead.wire.topic_template import own_output_error
from stepahead.wire.topics import parse_filter
from stepahead.wire.units import Units

__all__ = ["run"]

SWITCH_S = 0.001
REMEMBERED_FORECASTS = 131_072
"""More than the 65,535 messages that a broker may deliver again, with room for messages of several readings."""


def run(
    settings: Settings,
    filesystem: Filesystem | None = None,
    around_trainer: Callable[[Trainer], Trainer] = lambda trainer: trainer,
) -> int:
    """Forecast the feeds of a broker until SIGTERM or Ctrl-C.

    Args:
        settings: all of them.
        filesystem: the door to the disk.
        around_trainer: may stand between the engine and who fine-tunes.

    Returns:
        The exit code: 0 after an end in good order.

    Raises:
        SettingsError: the settings cannot work, such as filters that match our own output or a GPU that is not there.
        BrokerError: the broker refused the first connection for good.
    """
    filters = [parse_filter(subscription.filter) for subscription in settings.subscriptions]
    error = own_output_error(filters, own_topics(settings))
    if error is not None:
        raise SettingsError(f"subscriptions: {error}")
    log = make_log(level=settings.service.log_level, form=settings.service.log_format)
    torch.set_num_threads(settings.service.threads)
    notifier = Notifier(os.environ, lambda text: log.warning("service_manager", text=text))
    stop = Stop()
    trainer, failures = make_trainer(settings, log)
    door = OutcomeDoor(around_trainer(trainer))
    engine = Engine(settings, door)
    drops = DropCounter()
    decoder = Decoder(
        settings.subscriptions,
        engine.intern,
        drops,
        settings.publish.prefix,
        settings.broker.max_payload_bytes,
        settings.sparkplug,
        Unforeseen(log),
    )
    output = Output(settings, filters, engine.table, drops, SessionLog(log), decoder.units.of)
    knowledge = Knowledge(engine, door, RecentForecasts(REMEMBERED_FORECASTS), Arrivals(), decoder.sparkplug)
    log_start(settings, log)
    disk = ThreadPoolExecutor(1, "disk")
    keeper, release = resume(settings, knowledge, state_directory(settings), log, filesystem=filesystem, beside=disk)
    output.recall(knowledge.recent)
    events = SessionLog(log)
    watch, page = open_page(settings, engine, decoder.units, log)
    will = Will(status_topic(settings.publish.prefix), offline_status())
    arrival_ns = ArrivalClock(log, knowledge.arrivals.newest_ns)
    texts = [topic_filter.text for topic_filter in filters]
    listening = Session(settings.broker, texts, will, events, wall_ns=arrival_ns, optional=output.optional_filters)
    ours = settings.broker.model_copy(update={"client_id": f"{settings.broker.client_id}-out"})
    speaker_events = SessionLog(log, f"{ours.client_id}: ")
    session = PairedSession(listening, Speaker(Session(ours, [], None, speaker_events, clean=True)))
    loop = Loop(
        settings,
        session,
        decoder,
        drops,
        engine,
        output.encoder,
        door,
        knowledge.recent,
        knowledge.arrivals,
        keeper,
        log,
        version("stepahead"),
        failures,
        watch,
        questions=output.questions,
        edge_node=output.edge_node,
        announcer=output.announcer,
    )
    if watch is not None:
        door.on_result = watch.judged_by_gate
    events.on_connected = loop.connected_anew
    speaker_events.on_connected = loop.may_speak_anew
    try:
        with stop, page:
            loop.run(stop.asked, notifier)
    finally:
        engine.close()
        release()
        notifier.close()
    return 0


def open_page(
    settings: Settings, engine: Engine, units: Units, log: Log
) -> tuple[Watch | None, AbstractContextManager[object]]:
    """The watch that the loop reports to and the server that shows it; without one nothing is loaded or noted."""
    http = settings.http
    if not http.enabled:
        return None, nullcontext()
    # Imported here: a service without the page does not carry uvicorn, Starlette and prometheus-client in its memory.
    from stepahead.dashboard.guard import is_loopback
    from stepahead.dashboard.server import PageServer
    from stepahead.service.face import Face

    watch = Watch(Ledger(time.time))
    face = Face(settings, watch, engine.table.keys, engine.table.find, version("stepahead"), unit_of=units.of)
    server = PageServer(http, face, lambda text: log.error("http", text=text))
    log.info("http", page=server.url, token=http.token is not None)
    if not is_loopback(http.host) and http.token is None:
        log.warning("http", text=f"{http.host} shows the feeds to the whole network: set http.token_file")
    # A thread that answers a browser gives the interpreter back to the loop after 1 ms, not 5.
    sys.setswitchinterval(SWITCH_S)
    return watch, server


def make_trainer(settings: Settings, log: Log) -> tuple[Trainer, Callable[[], int]]:
    """Who fine-tunes, and the count of those that never came back.

    In the deterministic setting a fine-tune has its place between two readings and no time limit; a process of its
    own would only be waited for.
    """
    device = device_of(settings.engine.device)
    if settings.engine.deterministic:
        return InlineTrainer(settings.learning, clock=lambda: 0.0, device=device), lambda: 0
    command = partial(trainer_command, device=str(device))
    trainer = ProcessTrainer(settings.learning, lambda text: log.warning("fine_tune_failed", text=text), command)
    return trainer, lambda: trainer.failures


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
        device=settings.engine.device,
        http=settings.http.enabled,
        pid=os.getpid(),
    )


class SessionLog:
    """Turns a session's events into log lines: one per change, however often an attempt fails.

    Args:
        log: where to.
        prefix: what each text begins with.
    """

    def __init__(self, log: Log, prefix: str = "") -> None:
        self._log = log
        self._prefix = prefix
        self._last = ""
        self.on_connected: Callable[[bool], None] = lambda session_present: None

    def __call__(self, event: SessionEvent) -> None:
        """Take an event."""
        text = self._prefix + event.text
        if event.kind in (EventKind.CONNECTED, EventKind.SUBSCRIBED, EventKind.CLIENT):
            self._log.info(str(event.kind), text=text)
            if event.kind is EventKind.CONNECTED:
                self.on_connected(bool(event.session_present))
        elif event.retry_in_s is None and event.kind is EventKind.DISCONNECTED:  # our own good-bye
            self._log.info(str(event.kind), text=text)
        elif event.text != self._last:
            self._log.warning(str(event.kind), text=text, retrying=event.retry_in_s is not None)
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
