"""The owner: serves the shards that it is told to, one thread for all, and tells how they are."""

import hmac
import math
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import torch

from stepahead.cluster.channel import Channel
from stepahead.cluster.directory import ClusterDirectory
from stepahead.cluster.epoch import Fence, claim
from stepahead.cluster.shard_session import OwnSession, RoutedSession
from stepahead.cluster.sharding import filters_of
from stepahead.cluster.station import Station, settings_of_shard
from stepahead.cluster.trainer_link import LinkedSeat, SharedDoor, TrainerAddress, TrainerLink
from stepahead.cluster.training_room import TrainingRoom
from stepahead.contract.errors import FencedError, StateError
from stepahead.contract.settings import Settings
from stepahead.forecasting.engine import Engine
from stepahead.learning.trainer import InlineTrainer, Trainer
from stepahead.service.arrival_clock import ArrivalClock
from stepahead.service.outcomes import OutcomeDoor
from stepahead.service.program import SessionLog
from stepahead.service.trainer_process import ProcessTrainer
from stepahead.service.watch import Watch
from stepahead.storage.lock import holder_of
from stepahead.telemetry.log import Log
from stepahead.wire.delivery import Will
from stepahead.wire.encoder import offline_status, status_topic
from stepahead.wire.session import Session
from stepahead.wire.speaker import Speaker
from stepahead.wire.units import Units

if TYPE_CHECKING:
    from stepahead.cluster.gallery import Gallery

__all__ = ["Owner", "Training"]

Training = tuple[TrainerAddress | None, int]
"""Where the trainer of all shards is, and how many shards have series."""

IDLE_S = 1.0
"""Longest wait of an owner that serves nothing."""
LOCK_LOOK_S = 0.02
ALL_EVERY_S = 0.5
"""So often every station is turned, to publish its status, take snapshots, and look at its fence."""
LOCK_S = 10.0
"""So long an owner that was fenced off may take to notice it; it looks several times a second."""
HELLO_S = 2.0
DISK_THREADS = 4
"""Journals committed side by side: file systems put several fsyncs into one write."""


class Owner:
    """Serves shards from `start` to `stop`. Orders come as the whole of what is wanted, so none can be missed.

    Args:
        settings: of the cluster.
        root: the cluster's state directory.
        name: of this owner.
        host: address to listen on for routers.
        secret: what routers must know.
        log: where to.
    """

    def __init__(self, settings: Settings, root: Path, name: str, host: str, secret: bytes, log: Log) -> None:
        self._settings = settings
        self._root = root
        self._name = name
        self._secret = secret
        self._log = log
        self._routed = settings.cluster.readings == "router"
        self._wanted: Mapping[int, int] = {}
        self._stations: dict[int, Station] = {}
        self._claimed: dict[int, tuple[Fence, float]] = {}
        self._refused: dict[int, tuple[int, str]] = {}
        self._figures: dict[int, dict[str, Any]] = {}
        self._disk = ThreadPoolExecutor(DISK_THREADS, "disk")
        self._gallery = gallery_of(settings)
        self._failures = 0
        self._room: TrainingRoom | None = None
        self._link = TrainerLink(secret) if settings.cluster.weights == "shared" else None
        self._training: Training = (None, 1)
        self._speaker: Speaker | None = None
        self._newcomers: list[tuple[Channel, float]] = []
        self._listener = socket.create_server((host, 0), backlog=1024) if self._routed else None
        self._waker, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._stopping = False
        self._more = False
        self._next_all_s = 0.0
        self._all = False
        self._thread = threading.Thread(target=self._run, name="owner", daemon=True)
        self.failed: str | None = None
        """Why nothing is served any more."""

    def start(self) -> None:
        """Begin to serve."""
        if self._listener is not None:
            self._listener.setblocking(False)
            broker = self._settings.broker
            ours = broker.model_copy(update={"client_id": f"{broker.client_id}-{self._name}"})
            self._speaker = Speaker(Session(ours, [], None, SessionLog(self._log), clean=True))
        if self._link is None and not self._settings.engine.deterministic:
            self._room = TrainingRoom(self._make_trainer)
        self._thread.start()

    def _make_trainer(self) -> Trainer:
        return ProcessTrainer(self._settings.learning, self._tune_failed)

    def _tune_failed(self, text: str) -> None:
        self._failures += 1
        self._log.warning("fine_tune_failed", text=text)

    @property
    def address(self) -> tuple[str, int] | None:
        """Where routers connect; None when there are none."""
        return None if self._listener is None else self._listener.getsockname()[:2]

    def attend(self, wanted: Mapping[int, int], training: Training = (None, 1)) -> dict[str, Any]:
        """Take orders and tell how things are; from any thread.

        Args:
            wanted: shard -> epoch, all that shall be served here; the rest is let go of.
            training: where the trainer of all shards is, None = nowhere; and how many shards have series.

        Returns:
            `shards`: shard -> figures of those that are served; `refused`: shard -> epoch and why it is not;
            `address`: for routers; `failed`: why nothing is served; `pid`, `fine_tunes_failed`, `shares_lost`.
        """
        self._training = training
        if wanted != self._wanted:
            self._wanted = dict(wanted)
            self._wake()
        return {
            "shards": self._figures,
            "refused": dict(self._refused),
            "address": self.address,
            "failed": self.failed,
            "pid": os.getpid(),
            "fine_tunes_failed": self._failures,
            "shares_lost": 0 if self._link is None else self._link.lost,
        }

    def ask(self, question: bytes) -> bytes:
        """See `Gallery.ask`; from any thread. Empty where there is no page."""
        return b"" if self._gallery is None else self._gallery.ask(question)

    def stop(self, timeout_s: float) -> bool:
        """Finish all shards in good order; whether that was reached in time."""
        self._stopping = True
        self._wake()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _wake(self) -> None:
        try:
            self._waker.send(b"\0")
        except BlockingIOError:
            return  # many are in it already

    def _run(self) -> None:
        # Said by this very thread: each has a number of its own, and products are rounded differently for another one.
        torch.set_num_threads(self._settings.service.threads)
        try:
            while not (self._stopping and not self._stations):
                self._reconcile()
                self._turn(self._ready())
        except Exception as error:  # whatever it is: nothing is served any more, and the controller must know
            self.failed = f"{type(error).__name__}: {error}"
            self._log.error("owner_failed", text=self.failed)
            for shard in list(self._stations):
                self._abandon(shard, self.failed)
        finally:
            self._figures = {}
            if self._room is not None:
                self._room.close()
            if self._link is not None:
                self._link.close()
            if self._speaker is not None:
                self._speaker.session.close(1.0)
            for channel, _ in self._newcomers:
                channel.close()
            for sock in (self._listener, self._waker, self._woken):
                if sock is not None:
                    sock.close()
            self._disk.shutdown()

    def _reconcile(self) -> None:
        """One step from what is served to what is wanted."""
        wanted = {} if self._stopping else self._wanted
        self._more = False  # the next step waits for nothing but a turn of those that are served
        for shard, station in self._stations.items():
            if wanted.get(shard) != station.fence.epoch:
                self._finish(shard)
                self._more = True
                break
        for shard in [shard for shard, (fence, _) in self._claimed.items() if wanted.get(shard) != fence.epoch]:
            del self._claimed[shard]
        for shard, epoch in wanted.items():
            if shard in self._stations or self._refused.get(shard, (0, ""))[0] >= epoch:
                continue
            if self._open(shard, epoch):
                self._more = True
                break

    def _open(self, shard: int, epoch: int) -> bool:
        """Claim a shard and begin to serve it; False when that waits for the owner before it."""
        try:
            if shard not in self._claimed:
                fence = claim(ClusterDirectory.shard(self._root, shard), epoch, self._name)
                self._claimed[shard] = (fence, time.monotonic())
            fence, since_s = self._claimed[shard]
            holder = holder_of(fence.directory)
            if holder is not None:  # the owner before has been fenced off by now, and lets go when it notices
                if time.monotonic() - since_s > LOCK_S:
                    raise StateError(f"{fence.directory} is held by process {holder}, which does not let go")
                return False
            del self._claimed[shard]
            log = self._log.bind(shard=shard)
            make_session = self._session_maker(shard, fence, log)
            door = self._door(shard)
            station = Station(
                self._settings, shard, fence, make_session, door, self._disk, self._wake, log, self._show(shard)
            )
        except (FencedError, StateError) as error:
            self._claimed.pop(shard, None)
            self._refused[shard] = (epoch, str(error))
            self._log.error("shard_refused", shard=shard, epoch=epoch, text=str(error))
            return True
        self._stations[shard] = station
        self._figures = self._figures | {shard: station.figures()}
        return True

    def _show(self, shard: int) -> Callable[[Engine, Units], Watch] | None:
        """What shows a shard; None where there is no page."""
        return None if self._gallery is None else partial(self._gallery.open, shard)

    def _door(self, shard: int) -> OutcomeDoor:
        """Through which a shard's engine learns."""
        settings = self._settings
        if self._link is not None:
            return SharedDoor(LinkedSeat(self._link, shard, settings.cluster.shards))
        if self._room is not None:
            return OutcomeDoor(self._room.seat())
        return OutcomeDoor(InlineTrainer(settings.learning, clock=lambda: 0.0))

    def _session_maker(self, shard: int, fence: Fence, log: Log) -> Callable[[int], OwnSession | RoutedSession]:
        speaker = self._speaker

        def make(newest_ns: int) -> OwnSession | RoutedSession:
            if speaker is not None:
                return RoutedSession(speaker, fence)
            broker = self._settings.broker
            ours = broker.model_copy(update={"client_id": f"{broker.client_id}-shard-{shard}"})
            will = Will(status_topic(settings_of_shard(self._settings, shard).publish.prefix), offline_status())
            events = SessionLog(log)
            clock = ArrivalClock(log, newest_ns)
            own = OwnSession(Session(ours, filters_of(self._settings, shard), will, events, wall_ns=clock), fence)
            events.on_connected = own.heard_connected
            return own

        return make

    def _finish(self, shard: int) -> None:
        station = self._stations.pop(shard)
        try:
            station.finish()
        except FencedError as error:
            station.abandon()
            self._log.warning("shard_fenced", shard=shard, text=str(error))
        self._forget(shard)  # only now may another be told to serve it

    def _abandon(self, shard: int, why: str) -> None:
        station = self._stations.pop(shard)
        self._forget(shard)
        station.abandon()
        self._refused[shard] = (station.fence.epoch, why)
        self._log.warning("shard_fenced", shard=shard, text=why)

    def _forget(self, shard: int) -> None:
        if self._gallery is not None:
            self._gallery.close(shard)
        self._figures = {other: figures for other, figures in self._figures.items() if other != shard}

    def _ready(self) -> list[int]:
        """Wait until there is something to do; the shards that have it."""
        poll, whose = select.poll(), dict[int, int]()
        now_s = time.monotonic()
        wait_s = max(0.0, self._next_all_s - now_s) if self._stations else IDLE_S
        if self._more:
            wait_s = 0.0
        if self._claimed:
            wait_s = min(wait_s, LOCK_LOOK_S)
        ready: dict[int, None] = {}
        for shard, station in self._stations.items():
            for sock in station.session.sockets:
                descriptor = sock.fileno()
                if descriptor >= 0:
                    whose[descriptor] = shard
                    poll.register(descriptor, select.POLLIN)
            due_s = station.wants_turn_in_s(now_s)
            wait_s = min(wait_s, max(0.0, due_s))
            if due_s <= 0:
                ready[shard] = None
        for other in self._others():
            poll.register(other, select.POLLIN)
        found = [descriptor for descriptor, _ in poll.poll(math.ceil(wait_s * 1000))]
        self._welcome(found)
        ready.update(dict.fromkeys(whose[descriptor] for descriptor in found if descriptor in whose))
        now_s = time.monotonic()
        self._all = now_s >= self._next_all_s
        if self._all:
            self._next_all_s = now_s + ALL_EVERY_S
            return list(self._stations)
        return list(ready)

    def _others(self) -> list[int]:
        """Descriptors beside those of the stations."""
        found = [self._woken.fileno()]
        if self._listener is not None:
            found.append(self._listener.fileno())
        if self._speaker is not None and self._speaker.session.socket is not None:
            found.append(self._speaker.session.socket.fileno())
        if self._link is not None and self._link.socket is not None:
            found.append(self._link.socket.fileno())
        found += [channel.socket.fileno() for channel, _ in self._newcomers if channel.closed is None]
        return [descriptor for descriptor in found if descriptor >= 0]

    def _turn(self, ready: Sequence[int]) -> None:
        if self._speaker is not None:
            self._speaker.session.receive(0.0, 1)
            for station in self._stations.values():
                station.session.settle()
        if self._link is not None:
            self._link.direct(*self._training)
            self._link.turn()
        for shard in ready:
            station = self._stations[shard]
            try:
                if self._all:
                    station.fence.check()
                station.turn()
            except FencedError as error:
                self._abandon(shard, str(error))
        if self._all:
            self._figures = {shard: station.figures() for shard, station in self._stations.items()}

    def _welcome(self, found: Sequence[int]) -> None:
        """Let routers in that know the secret and want a shard that is here."""
        if self._woken.fileno() in found:
            self._woken.recv(4096)
        if self._listener is not None and self._listener.fileno() in found:
            sock, _ = self._listener.accept()
            self._newcomers.append((Channel(sock), time.monotonic()))
        for newcomer in list(self._newcomers):
            channel, since_s = newcomer
            frames = list(channel.frames())
            if frames:
                self._let_in(channel, frames[0])
            elif time.monotonic() - since_s > HELLO_S:
                channel.close("no hello")
            if frames or channel.closed:
                self._newcomers.remove(newcomer)

    def _let_in(self, channel: Channel, frame: bytes) -> None:
        try:
            hello = msgspec.msgpack.decode(frame)
            known = hmac.compare_digest(hello["secret"], self._secret)
            station = self._stations.get(hello["shard"])
            fits = station is not None and station.fence.epoch == hello["epoch"]
        except (msgspec.MsgspecError, KeyError, TypeError):
            known = False
        if not known:
            self._log.warning("router_refused", text="a connection that does not know the secret")
            channel.close("refused")
        elif not fits or station is None or not isinstance(station.session, RoutedSession):
            channel.send({"ok": False})
            channel.flush(0.1)
            channel.close("not here")
        else:
            channel.send({"ok": True, "newest_ns": station.newest_ns})
            station.session.attach(channel)


def gallery_of(settings: Settings) -> "Gallery | None":
    """What shows our shards to the page; None where there is none."""
    if not settings.http.enabled:
        return None
    # Imported here: without the page an owner does not carry what it is made of in its memory.
    from stepahead.cluster.gallery import Gallery

    return Gallery(settings)
