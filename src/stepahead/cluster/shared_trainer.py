"""The trainer of a cluster: gathers windows of all shards, fine-tunes, examines, and hands out what the gate let in.

Its state, the weights and their optimisers, lies in `trainer/` beside the shards, behind a fence as theirs. A version
is on the disk before anybody hears of it, so no two trainers ever hand out different weights under one number.
"""

import hmac
import select
import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from stepahead.cluster.channel import MOST_WAITING_BYTES, Channel, loaded, unloaded
from stepahead.cluster.directory import ClusterDirectory
from stepahead.cluster.epoch import FencedFilesystem, claim, read_epoch
from stepahead.cluster.share import Share, merged, share_from
from stepahead.contract.errors import BrokenLawError, StateError
from stepahead.contract.settings import Settings
from stepahead.forecasting.cohort import Cohort, cohorts_of
from stepahead.forecasting.series import SeriesTable
from stepahead.learning.gate import judge
from stepahead.learning.tuner import TuneResult, tune
from stepahead.service.tuning_message import result_parts
from stepahead.storage.snapshot import SnapshotStore
from stepahead.telemetry.log import Log

__all__ = ["SharedTrainer"]

SNAPSHOTS = "snapshots"
KEPT = 2
HELLO_S = 2.0


class SharedTrainer:
    """Turned by one thread; `report` may be asked by others.

    A fine-tune is begun when all shards together have taken as many readings as one engine with all series would wait
    for. It learns from the newest share of each shard that has sent one since the last.

    Args:
        settings: of the cluster.
        root: the cluster's state directory.
        host: address to listen on for owners.
        secret: what owners must know.
        log: told of each adoption and failure.
        clock: monotonic seconds.

    Raises:
        FencedError: another trainer began at the same moment.
        StateError: the state is damaged, or does not fit the settings.
    """

    def __init__(
        self,
        settings: Settings,
        root: Path,
        host: str,
        secret: bytes,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._learning = settings.learning
        self._secret = secret
        self._log = log
        self._clock = clock
        directory = ClusterDirectory.trainer(root)
        self.fence = claim(directory, read_epoch(directory)[0] + 1, f"trainer at {host}", mark=SNAPSHOTS)
        self._disk = FencedFilesystem(self.fence)
        self._store = SnapshotStore(directory / SNAPSHOTS, keep=KEPT, filesystem=self._disk)
        self._cohorts = {cohort.name: cohort for cohort in cohorts_of(settings, SeriesTable(1, settings.groups))}
        self._pool: dict[str, dict[int, Share]] = {name: {} for name in self._cohorts}
        self._positions: dict[str, dict[int, int]] = {name: {} for name in self._cohorts}
        self._series: dict[str, dict[int, int]] = {name: {} for name in self._cohorts}
        self._drifted: dict[str, set[int]] = {name: set() for name in self._cohorts}
        self._offers: dict[str, TuneResult] = {}
        self._shares = Counter[int]()
        self._judged = {"adopted": 0, "kept": 0}
        self._restore()
        self._channels: list[Channel] = []
        self._newcomers: list[tuple[Channel, float]] = []
        self._listener = socket.create_server((host, 0), backlog=1024)
        self._listener.setblocking(False)

    def _restore(self) -> None:
        snapshot = self._store.load_newest()
        if snapshot is None:
            return
        for text in snapshot.passed_over:
            self._log.error("state_damaged", text=text)
        stored = snapshot.state["cohorts"]
        if set(stored) != set(self._cohorts):
            raise StateError(f"the trainer's groups {sorted(stored)} are not those of the settings")
        for name, cohort in self._cohorts.items():
            try:
                cohort.load_state_dict(stored[name]["cohort"])
            except BrokenLawError as error:
                raise StateError(f"the trainer's state does not fit the settings: {error}") from error
            for kept, counts in (("positions", self._positions), ("series", self._series)):
                counts[name] = {int(shard): count for shard, count in stored[name][kept].items()}
            if cohort.ensemble.version:
                unknown = np.full(cohort.ensemble.members, np.nan)
                self._offers[name] = offer(cohort, (unknown, unknown, unknown, unknown))

    def state_dict(self) -> dict[str, Any]:
        """All that the next trainer goes on from: weights, optimisers, versions, schedules, and what was read."""
        return {
            "cohorts": {
                name: {
                    "cohort": cohort.state_dict(),
                    "positions": {str(shard): count for shard, count in self._positions[name].items()},
                    "series": {str(shard): count for shard, count in self._series[name].items()},
                }
                for name, cohort in self._cohorts.items()
            }
        }

    @property
    def address(self) -> tuple[str, int, int]:
        """Host and port for owners, and our epoch."""
        host, port = self._listener.getsockname()[:2]
        return host, port, self.fence.epoch

    def report(self) -> dict[str, Any]:
        """How it goes: `versions`, `tunes` by network and result, how many members were `judged`, `shares` by shard."""
        return {
            "versions": {name: cohort.ensemble.version for name, cohort in self._cohorts.items()},
            "tunes": {name: tally_of(cohort) for name, cohort in self._cohorts.items()},
            "judged": dict(self._judged),
            "shares": dict(self._shares),
        }

    def turn(self, patience_s: float) -> None:
        """Wait for shares at most so long, take them, and fine-tune when it is time.

        Raises:
            FencedError: there is a newer trainer.
        """
        self._wait(patience_s)
        self._welcome()
        for channel in self._channels:
            channel.write()
            for frame in list(channel.frames()):
                self._hear(channel, frame)
        self._channels = [channel for channel in self._channels if channel.closed is None]

    def _hear(self, channel: Channel, frame: bytes) -> None:
        try:
            self._take(share_from(*unloaded(msgspec.msgpack.decode(frame))))
        except (msgspec.MsgspecError, ValueError, KeyError, TypeError) as error:
            channel.close(f"not understood: {error}")
            self._log.warning("share_refused", text=str(error))

    def _wait(self, patience_s: float) -> None:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        for channel in (*self._channels, *(newcomer for newcomer, _ in self._newcomers)):
            if channel.closed is None:
                poll.register(channel.socket, select.POLLIN | (select.POLLOUT if channel.waiting_bytes else 0))
        poll.poll(1000 * patience_s)

    def _welcome(self) -> None:
        """Let owners in that know the secret, and tell them of the newest weights."""
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            pass
        else:
            self._newcomers.append((Channel(sock), self._clock()))
        for newcomer in list(self._newcomers):
            channel, since_s = newcomer
            frames = list(channel.frames())
            if frames:
                self._let_in(channel, frames)
            elif self._clock() - since_s > HELLO_S:
                channel.close("no hello")
            if frames or channel.closed is not None:
                self._newcomers.remove(newcomer)

    def _let_in(self, channel: Channel, frames: list[bytes]) -> None:
        hello, *shares = frames
        if not self._knows_secret(hello):
            self._log.warning("owner_refused", text="a connection that does not know the secret")
            channel.close("refused")
            return
        self._channels.append(channel)
        for result in self._offers.values():
            channel.send(loaded(result_parts(result)))
        for frame in shares:
            self._hear(channel, frame)

    def _knows_secret(self, frame: bytes) -> bool:
        try:
            return hmac.compare_digest(msgspec.msgpack.decode(frame)["secret"], self._secret)
        except (msgspec.MsgspecError, KeyError, TypeError):
            return False

    def _take(self, share: Share) -> None:
        name, cohort = share.cohort, self._cohorts[share.cohort]
        self._shares[share.shard] += 1
        self._pool[name][share.shard] = share
        self._positions[name][share.shard] = share.position
        self._series[name][share.shard] = share.series
        cohort.series = sum(self._series[name].values())
        position = sum(self._positions[name].values())
        if share.since_drift == 1:
            self._drifted[name].add(share.shard)
            if 2 * sum(self._series[name][shard] for shard in self._drifted[name]) >= cohort.series:
                cohort.schedule.drifted(position, cohort.series)
                self._drifted[name].clear()
        if cohort.schedule.remaining(position) == 0:
            cohort.schedule.begun(position, cohort.series)
            self._tune(cohort)

    def _tune(self, cohort: Cohort) -> None:
        shares = [share for _, share in sorted(self._pool[cohort.name].items())]
        self._pool[cohort.name] = {}
        cohort.tally.begun += 1
        batches = cohort.ensemble.members * self._learning.steps
        try:
            lessons = merged([share.lessons for share in shares], batches)
            exam = merged([share.exam for share in shares], 1)
            material = cohort.material(lessons, exam, cohort.schedule.since_drift)
            result = tune(material.request(), self._learning, clock=self._clock)
        except (MemoryError, RuntimeError, ValueError, IndexError) as error:
            cohort.tally.failed += 1
            self._log.warning("fine_tune_failed", text=f"{type(error).__name__}: {error}".splitlines()[0])
            return
        before = cohort.ensemble.version
        verdict = judge(result)
        adopted = int(verdict.adopt.sum())
        self._judged["adopted"] += adopted
        self._judged["kept"] += len(verdict.adopt) - adopted
        cohort.adopt(result, verdict)
        if cohort.ensemble.version > before:
            losses = (result.train_loss, result.champion_loss, result.challenger_loss, result.doubt)
            self._hand_out(offer(cohort, losses), [share.shard for share in shares])

    def _hand_out(self, result: TuneResult, shards: list[int]) -> None:
        """Write it down, then tell everybody."""
        try:
            self._store.write(self.state_dict(), position=0)
            self.fence.check()  # whoever begins from now on finds this version; who has begun may not have
        except StateError as error:  # the next version goes out when the disk is back
            self._log.error("disk", trouble=str(error))
            return
        self._offers[result.cohort] = result
        content = loaded(result_parts(result))
        for channel in self._channels:
            if channel.waiting_bytes < MOST_WAITING_BYTES:
                channel.send(content)
            else:
                channel.close("does not read")  # it gets the newest when it comes again
        self._log.info("adopted", network=result.cohort, version=result.version, shards=len(shards))

    def close(self) -> None:
        """Let go."""
        for channel in (*self._channels, *(newcomer for newcomer, _ in self._newcomers)):
            channel.close()
        self._listener.close()
        self._disk.abandon()


def offer(cohort: Cohort, losses: tuple[Any, Any, Any, Any]) -> TuneResult:
    """The live weights as a result that every shard takes as it is."""
    return TuneResult(
        cohort.name, cohort.tally.begun, cohort.ensemble.weights, [], *losses, False, version=cohort.ensemble.version
    )


def tally_of(cohort: Cohort) -> dict[str, int]:
    """Fine-tunes by result; drifts are found by the shards."""
    tally = cohort.tally
    return {"begun": tally.begun, "adopted": tally.adopted, "rejected": tally.rejected, "failed": tally.failed}
