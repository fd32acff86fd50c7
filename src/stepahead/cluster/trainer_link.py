"""The link to the trainer: shares of an owner's shards go, adopted weights come; the stream waits for neither."""

import errno
import socket
import time
from collections.abc import Callable
from dataclasses import replace

import msgspec

from stepahead.cluster.channel import MOST_WAITING_BYTES, Channel, loaded, unloaded
from stepahead.cluster.share import first_row, share_of, share_parts, turned
from stepahead.forecasting.engine import Engine
from stepahead.learning.material import Material
from stepahead.learning.tuner import TuneResult
from stepahead.service.outcomes import Outcome, OutcomeDoor
from stepahead.service.parcel import Parts
from stepahead.service.tuning_message import result_of

__all__ = ["LinkedSeat", "SharedDoor", "TrainerAddress", "TrainerLink"]

TrainerAddress = tuple[str, int, int]
"""Host and port of the trainer, and its epoch."""

RETRY_S = 0.5
MOST_SHARE_BYTES = 2**26
"""Of one share: 64 MiB are 20 times what the default settings draw for one shard alone."""


class TrainerLink:
    """An owner's connection to the trainer. What cannot be handed over at once is left: there is always a next time.

    Args:
        secret: what the trainer asks for.
        clock: monotonic seconds.
    """

    def __init__(self, secret: bytes, clock: Callable[[], float] = time.monotonic) -> None:
        self._secret = secret
        self._clock = clock
        self._address: TrainerAddress | None = None
        self._epoch = 0
        self._channel: Channel | None = None
        self._retry_s = 0.0
        self._offers: dict[str, TuneResult] = {}
        self.sharers = 1
        """Shards of the whole cluster that have series."""
        self.lost = 0
        """Shares that the trainer could not be given."""

    @property
    def socket(self) -> socket.socket | None:
        """What to wait on."""
        return None if self._channel is None or self._channel.closed else self._channel.socket

    def direct(self, address: TrainerAddress | None, sharers: int) -> None:
        """Told where the trainer is; an address of an older epoch is of one that is gone."""
        self.sharers = max(1, sharers)
        if address == self._address or (address is not None and address[2] < self._epoch):
            return
        if address is not None:
            self._epoch = address[2]
        self._address, self._retry_s = address, 0.0
        self.close()

    def turn(self) -> None:
        """Connect, send what waits, hear of new weights; never waits."""
        if self._channel is None or self._channel.closed is not None:
            now_s = self._clock()
            if self._address is None or now_s < self._retry_s:
                return
            self._retry_s = now_s + RETRY_S
            self._connect(self._address)
        channel = self._channel
        assert channel is not None
        channel.write()
        for frame in channel.frames():
            try:
                result = result_of(*unloaded(msgspec.msgpack.decode(frame)))
            except (msgspec.MsgspecError, ValueError, KeyError, TypeError) as error:
                channel.close(f"not understood: {error}")
                return
            if (result.version or 0) > (self.newest(result.cohort) or 0):
                self._offers[result.cohort] = result

    def _connect(self, address: TrainerAddress) -> None:
        host, port, _ = address
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        self._channel = Channel(sock)
        code = sock.connect_ex((host, port))
        if code not in (0, errno.EINPROGRESS):
            self._channel.close(errno.errorcode.get(code, str(code)))
        self._channel.send({"secret": self._secret})

    def give(self, parts: Parts) -> None:
        """Hand a share over, if the trainer takes it and it is not too large."""
        channel, size = self._channel, sum(array.nbytes for array in parts[1].values())
        full = channel is None or channel.closed is not None or channel.waiting_bytes >= MOST_WAITING_BYTES
        if channel is None or full or size > MOST_SHARE_BYTES:
            self.lost += 1
        else:
            channel.send(loaded(parts))

    def newest(self, cohort: str) -> int | None:
        """Newest version of a network that was heard of."""
        result = self._offers.get(cohort)
        return None if result is None else result.version

    def offers(self) -> list[TuneResult]:
        """The newest weights of each network."""
        return list(self._offers.values())

    def close(self) -> None:
        """End the connection; twice is fine."""
        if self._channel is not None:
            self._channel.close()


class LinkedSeat:
    """A `Trainer` that gives its shard's share to the trainer of all, and gets whatever was adopted since.

    Args:
        link: of the owner.
        shard: its number.
        shards: how many there are.
    """

    busy = False
    not_before = 0

    def __init__(self, link: TrainerLink, shard: int, shards: int) -> None:
        self._link = link
        self._shard = shard
        self._first = first_row(shard, shards)
        self.engine: Engine | None = None
        """Whose weights are to be kept up to date."""

    def submit(self, material: Material) -> None:
        """Give a share of it away."""
        assert self.engine is not None
        series = next(cohort.series for cohort in self.engine.cohorts if cohort.name == material.cohort)
        sharers = self._link.sharers
        share = share_of(material, self._shard, self._first, self.engine.position, series, sharers)
        self._link.give(share_parts(share))

    def poll(self) -> TuneResult | None:
        """Weights that are newer than the engine's, if there are any."""
        assert self.engine is not None
        versions = {cohort.name: cohort.ensemble.version for cohort in self.engine.cohorts}
        for result in self._link.offers():
            if (result.version or 0) > versions.get(result.cohort, 0):
                return replace(result, weights=turned(result.weights, self._first))
        return None

    def wait(self) -> TuneResult | None:
        """Nothing to wait for: the deterministic setting has weights of each shard."""
        return None

    def close(self) -> None:
        """The link stays."""


class SharedDoor(OutcomeDoor):
    """The door of an engine that only gives material: weights come when the trainer has some, asked for or not.

    So the engine waits for nothing, and what it gives, and when, follows from its readings alone.
    """

    def __init__(self, seat: LinkedSeat) -> None:
        super().__init__(seat)
        self.seat = seat

    def submit(self, material: Material) -> None:
        """Hand material on, unless history is repeated."""
        if not self._held:
            self.seat.submit(material)

    def arrived(self) -> Outcome | None:
        """Weights that the engine has not got yet; call it between two batches, and `let_in` what it gives."""
        if self.coming is not None:
            return None
        result = self.seat.poll()
        return None if result is None else Outcome(result)
