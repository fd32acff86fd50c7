"""A station: one shard at work, the parts of `stepahead run` with a session, a disk and topics of its own."""

import math
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from importlib.metadata import version
from typing import Any

from stepahead.cluster.epoch import Fence, FencedFilesystem
from stepahead.cluster.shard_session import OwnSession, RoutedSession, ShardSession
from stepahead.cluster.trainer_link import SharedDoor
from stepahead.contract.reasons import DropCounter
from stepahead.contract.settings import Settings
from stepahead.forecasting.engine import Engine
from stepahead.service.arrivals import REMEMBERED_MESSAGES, Arrivals
from stepahead.service.loop import Loop
from stepahead.service.outcomes import OutcomeDoor
from stepahead.service.output import Output
from stepahead.service.recovery import Knowledge, resume
from stepahead.service.redelivery import RecentForecasts
from stepahead.service.watch import Watch
from stepahead.telemetry.log import Log
from stepahead.wire.decoder import Decoder
from stepahead.wire.encoder import TOPICS
from stepahead.wire.topics import parse_filter
from stepahead.wire.units import Units

__all__ = ["Station", "settings_of_shard"]

REMEMBERED_FORECASTS = 131_072


def settings_of_shard(settings: Settings, shard: int) -> Settings:
    """The settings of one shard: forecasts on the usual topics, the status of the shard on one of its own.

    Example:
        >>> publish = settings_of_shard(Settings(), 7).publish
        >>> publish.prefix, publish.topic, publish.ask
        ('stepahead/v1/shard/7', 'stepahead/v1/forecast/{series}', False)
    """
    publish = settings.publish
    topic = (publish.topic or TOPICS["batch" if publish.mode == "batch" else "each"]).replace(
        "{prefix}", publish.prefix
    )
    # A question goes to all shards, and all but one would have to keep silent: nobody is asked in a cluster.
    ours = {"prefix": f"{publish.prefix}/shard/{shard}", "topic": topic, "ask": False}
    return settings.model_copy(update={"publish": publish.model_copy(update=ours)})


class Station:
    """Serves one shard from its creation to `finish` or `abandon`. Everything that it touches is handed to it.

    Args:
        settings: of the cluster.
        shard: its number.
        fence: of the epoch that was claimed for it.
        make_session: makes the session; told the newest arrival that was written down.
        door: through which its engine learns.
        disk: commits journals beside the stream; shared, and not closed.
        wake: called, from another thread, when such a commit is over.
        log: of the shard.
        show: gives the watch by which it is shown; none = nobody looks.

    Raises:
        FencedError: the shard was claimed by another owner meanwhile.
        StateError: the state is damaged, does not fit the settings, or is held by another process.
    """

    def __init__(
        self,
        settings: Settings,
        shard: int,
        fence: Fence,
        make_session: Callable[[int], OwnSession | RoutedSession],
        door: OutcomeDoor,
        disk: Executor,
        wake: Callable[[], None],
        log: Log,
        show: Callable[[Engine, Units], Watch] | None = None,
    ) -> None:
        self.shard = shard
        self.fence = fence
        ours = settings_of_shard(settings, shard)
        self._engine = Engine(ours, door)
        if isinstance(door, SharedDoor):
            door.seat.engine = self._engine
        drops = DropCounter()
        filters = [parse_filter(subscription.filter) for subscription in ours.subscriptions]
        output = Output(ours, filters, self._engine.table, drops, lambda event: None)
        decoder = Decoder(
            ours.subscriptions,
            self._engine.intern,
            drops,
            settings.publish.prefix,
            ours.broker.max_payload_bytes,
            ours.sparkplug,
        )
        # Packet identifiers are given out over all shards in turn where one router reads for them all.
        share = settings.cluster.shards if settings.cluster.readings == "router" else 1
        arrivals = Arrivals(max(1, REMEMBERED_MESSAGES // share))
        recent = RecentForecasts(REMEMBERED_FORECASTS)
        knowledge = Knowledge(self._engine, door, recent, arrivals, decoder.sparkplug)
        self._disk = FencedFilesystem(fence)
        self._commits = Shared(disk, wake)
        keeper, self._release = resume(
            ours, knowledge, fence.directory, log, filesystem=self._disk, beside=self._commits, epoch=fence.epoch
        )
        # On the disk before anything is served: what an older owner writes from now on is superseded by this record.
        self._keeper = keeper
        self._keeper.commit(time.monotonic(), company=False)
        self.newest_ns = arrivals.newest_ns
        self.session: ShardSession = (session := make_session(arrivals.newest_ns))
        watch = None if show is None else show(self._engine, decoder.units)
        if watch is not None:
            door.on_result = watch.judged_by_gate
        self.loop = Loop(
            ours,
            session,
            decoder,
            drops,
            self._engine,
            output.encoder,
            door,
            recent,
            arrivals,
            keeper,
            log,
            version("stepahead"),
            watch=watch,
            announcer=output.announcer,
        )
        session.on_connected = self.loop.connected_anew

    def turn(self) -> None:
        """Do what there is to do; never waits.

        Raises:
            FencedError: the shard is somebody else's now.
        """
        self.loop.turn(0.0)

    def wants_turn_in_s(self, now_s: float) -> float:
        """Seconds until there is something to do whatever comes; infinite when nothing is."""
        if self.loop.waiting or self._commits.over:
            return 0.0
        return math.inf if self._commits.running else self.loop.due_in_s(now_s)

    def figures(self) -> dict[str, Any]:
        """How it goes, for the controller."""
        loop = self.loop
        return {
            "epoch": self.fence.epoch,
            "series": loop.series,
            "readings": loop.readings,
            "forecasts": loop.forecasts,
            "waiting": loop.waiting,
            "lag_s": loop.lag_s,
            "model": loop.model,
            "dropped": dict(loop.drops),
            "position": self._keeper.position,
            "trouble": self._keeper.trouble,
        }

    def finish(self) -> None:
        """Drain, snapshot, and let go."""
        try:
            self.loop.finish()
        finally:
            self._end()

    def abandon(self) -> None:
        """Let go without a word and without a write: the shard is somebody else's."""
        self.session.drop()
        self._end()

    def _end(self) -> None:
        self._disk.abandon()
        self._engine.close()
        self._release()


class Shared(Executor):
    """An executor that is not ours to shut down, and says when it is done."""

    def __init__(self, executor: Executor, wake: Callable[[], None]) -> None:
        self._executor = executor
        self._wake = wake
        self._last: Future[Any] | None = None
        self._noticed = True

    @property
    def running(self) -> bool:
        """Whether something is under way."""
        return self._last is not None and not self._last.done()

    @property
    def over(self) -> bool:
        """Whether something is over since this was asked and true."""
        if self._noticed or self.running:
            return False
        self._noticed = True
        return True

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> "Future[Any]":
        """Hand on."""
        self._noticed = False
        self._last = self._executor.submit(function, *arguments, **named)
        self._last.add_done_callback(lambda future: self._wake())
        return self._last

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for what was submitted here."""
        if wait and self._last is not None:
            self._last.exception()
