"""The loop: receive, decode, step, publish, acknowledge, over and over, in one thread."""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from stepahead.contract.reasons import DropCounter
from stepahead.contract.records import IntArray, Readings
from stepahead.contract.settings import Settings
from stepahead.forecasting.cohort import Tally
from stepahead.forecasting.engine import Engine
from stepahead.service.arrivals import Arrivals
from stepahead.service.batches import cut_batches
from stepahead.service.intake import Intake
from stepahead.service.keeper import Keeper
from stepahead.service.outbox import Outbox, Row
from stepahead.service.outcomes import OutcomeDoor
from stepahead.service.ports import LoopSession, Reader, Writer
from stepahead.service.redelivery import RecentForecasts
from stepahead.service.status import StatusReport, vitals
from stepahead.telemetry.log import Log, RepeatBound
from stepahead.wire.delivery import Delivery
from stepahead.wire.encoder import encode_status, offline_status, status_topic

__all__ = ["Loop"]

IDLE_S = 0.25
"""Longest wait for messages: how soon a signal to stop is noticed."""
FULL_S = 0.05
TURN_S = 0.5
"""A turn shall take no longer: meanwhile nobody keeps the connection alive, and no signal to stop is heard."""
FIRST_MESSAGES = 8
STATUS_EVERY_S = 1.0
VITALS_EVERY_S = 60.0
TOLD_EVERY_S = 10.0
BELIEVED_S = 3600.0
"""A reading that is older when it comes was recorded earlier, or its clock is wrong."""
DRAIN_S = 1.5
GOODBYE_S = 1.5


class Loop:
    """Answers each reading with a forecast. Everything that it touches is handed to it.

    A reading at a low rate is answered at once; under load, what has piled up meanwhile is stepped as one batch.

    Args:
        settings: of the service and its output.
        session: the broker.
        reader: decodes.
        drops: what `reader` counts.
        engine: forecasts; its trainer must be `door`.
        writer: encodes.
        door: through which outcomes of fine-tunes reach the engine.
        recent: forecasts that may have to be published again.
        arrivals: times of messages that may come again.
        keeper: keeps what the engine is told.
        log: for the line of the minute, and for bad messages at a bounded rate.
        version: of the program.
        failures: how many fine-tunes were begun and never came back.
        clock: monotonic seconds.
        wall_ns: UTC nanoseconds since 1970.
        sleep: waits for the disk when nothing more can be taken.
    """

    def __init__(
        self,
        settings: Settings,
        session: LoopSession,
        reader: Reader,
        drops: DropCounter,
        engine: Engine,
        writer: Writer,
        door: OutcomeDoor,
        recent: RecentForecasts,
        arrivals: Arrivals,
        keeper: Keeper,
        log: Log,
        version: str,
        failures: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._service = settings.service
        self._session = session
        self._reader = reader
        self._reader_drops = drops
        self._engine = engine
        self._writer = writer
        self._door = door
        self._recent = recent
        self._arrivals = arrivals
        self._keeper = keeper
        self._log = log
        self._failures = failures
        self._clock = clock
        self._wall_ns = wall_ns
        self._sleep = sleep
        self._topic = status_topic(settings.publish.prefix)
        self._outbox = Outbox(session, settings.broker.qos, settings.publish.retain)
        self._intake = Intake(session, settings.broker.queue_messages, clock)
        self._most = min(FIRST_MESSAGES, settings.service.max_batch)  # messages taken in one turn
        self.readings = 0
        self.lag_s: float | None = None
        now_s = clock()
        self._report = StatusReport(self, version, now_s)
        self._next_status_s = now_s
        self._next_vitals_s = now_s + VITALS_EVERY_S
        self._bound = RepeatBound(TOLD_EVERY_S)

    @property
    def series(self) -> int:
        """Series known."""
        return len(self._engine.table)

    @property
    def forecasts(self) -> int:
        """Forecasts published so far."""
        return self._outbox.forecasts

    @property
    def waiting(self) -> int:
        """Messages received and not yet answered."""
        return len(self._intake)

    @property
    def model(self) -> int:
        """Newest version of the weights."""
        return max(cohort.ensemble.version for cohort in self._engine.cohorts)

    @property
    def tallies(self) -> list[Tally]:
        """Fine-tunes of each network."""
        return [cohort.tally for cohort in self._engine.cohorts]

    @property
    def trainer_failures(self) -> int:
        """Fine-tunes that were begun and never came back."""
        return self._failures()

    @property
    def drops(self) -> Mapping[str, int]:
        """Dropped messages and readings by reason, of decoder and engine."""
        return DropCounter(self._reader_drops + self._engine.drops).as_dict()

    def run(self, stopping: Callable[[], bool]) -> None:
        """Turn until told to stop, then end in good order: see `finish`."""
        while not stopping():
            self.turn()
        self.finish()

    def connected_anew(self, session_present: bool) -> None:
        """Told of a new connection: the broker may hold our last will, and may deliver again what is unanswered."""
        self._next_status_s = self._clock()
        self._intake.connected_anew(session_present)

    def turn(self) -> None:
        """Take what is there, or wait for it a little; answer it; tell how it goes."""
        deliveries = self._receive()
        if deliveries:
            began_s = self._clock()
            self._take(deliveries)
            self._adapt(len(deliveries), self._clock() - began_s)
        self._send(company=bool(deliveries))
        now_s = self._clock()
        self._keeper.care(now_s)
        if now_s >= self._next_status_s:
            self._tell(now_s)

    def _receive(self) -> list[Delivery]:
        if self._keeper.full:
            self._intake.read(0.0, 1, 0.0)
            self._sleep(FULL_S)
            return []
        # While forecasts wait for the disk, only what is there already is company for them.
        wait_s = 0.0 if self._outbox.held else min(IDLE_S, max(0.0, self._next_status_s - self._clock()))
        self._intake.read(wait_s, self._most, self._service.max_batch_delay_s)
        return self._intake.take(self._most)

    def _adapt(self, messages: int, took_s: float) -> None:
        """Take more messages at once when they are there and go fast, fewer when a turn took too long."""
        if took_s > TURN_S:
            self._most = max(1, int(messages * TURN_S / took_s))
        elif messages == self._most and 2 * took_s < TURN_S:
            self._most = min(2 * self._most, self._service.max_batch)

    def _take(self, deliveries: Sequence[Delivery]) -> None:
        """Answer deliveries: every reading that the engine accepts, and every one delivered again, gets a forecast."""
        decoded = self._reader.decode(self._arrivals.recall(deliveries))
        columns = self._arrivals.note(deliveries, decoded)
        if columns is not None:
            self._keeper.note_arrivals(columns)
        rows: list[Row] = []
        for part in cut_batches(decoded.message, self._service.max_batch):
            rows += self._answer(decoded.readings[part])
        self._outbox.add(deliveries, rows, self._keeper.position)
        now_ns = self._wall_ns()
        times = [int(decoded.readings.time_ns.max())] if len(decoded.readings) else []
        # A reading's own time tells of the broker's queue too; it does not count where a recording is played.
        ages_s = [(now_ns - time_ns) / 1e9 for time_ns in (*times, deliveries[0].received_ns)]
        self.lag_s = max(age_s for age_s in ages_s if age_s <= BELIEVED_S)

    def _send(self, company: bool) -> None:
        """Publish and acknowledge what is safe."""
        durable = self._keeper.commit(self._clock(), company)
        self._outbox.send(durable, anyway=self._keeper.trouble is not None)

    def _answer(self, batch: Readings) -> list[Row]:
        outcome = self._door.arrived()
        if outcome is not None:
            self._keeper.note_outcome(outcome)
            self._door.let_in(outcome)
        self._keeper.note_batch(batch)
        forecasts = self._engine.step(batch)
        self._recent.add(forecasts)
        self.readings += len(batch)
        rows = self._writer.encode(forecasts)
        if len(forecasts) < len(batch):
            again = self._recent.find(self._identities(batch, forecasts.reading))
            if again is not None:
                rows += self._writer.encode(again)
        return rows

    def _identities(self, batch: Readings, accepted: IntArray) -> "np.typing.NDArray[np.uint64]":
        """Ids of the readings that the engine did not accept."""
        dropped = np.delete(np.arange(len(batch)), accepted)
        left = batch[dropped]
        return self._engine.table.reading_id(left.series, left.time_ns, left.value)

    def _tell(self, now_s: float) -> None:
        """Publish the status; now and then write a line."""
        self._next_status_s = now_s + STATUS_EVERY_S
        fields = self._report.fields(now_s)
        if self._session.connected:  # or statuses would pile up for a broker that is away
            durability = {"mode": self._keeper.mode, "trouble": self._keeper.trouble}
            self._session.publish(self._topic, encode_status("online", **fields, durability=durability), 1, True)
        troubles = {
            **fields["drops"],
            "publish_refused": self._session.refused_out,
            "lost_qos0": self._session.lost_qos0,
        }
        for reason, count in self._bound.due(troubles, now_s).items():
            self._log.warning("dropped", reason=reason, count=count)
        if now_s >= self._next_vitals_s:
            self._next_vitals_s = now_s + VITALS_EVERY_S
            self._log.info("vitals", **vitals(fields))

    def finish(self) -> None:
        """Answer what has been received, wait for the broker to have it, acknowledge, leave `offline`, disconnect.

        What was delivered and not taken stays with the broker and comes again at the next start.
        """
        session = self._session
        if session.connected:
            until_s = self._clock() + DRAIN_S
            self._intake.read(0.0, self._most, 0.0)
            while len(self._intake) and self._clock() < until_s and not self._keeper.full:
                self._take(self._intake.take(self._most))
            self._send(company=False)
            session.publish(self._topic, offline_status(), 1, True)
            session.flush(DRAIN_S)
        safe = session.close(GOODBYE_S)
        self._keeper.close()
        self._log.info(
            "stopped", readings=self.readings, forecasts=self.forecasts, dropped=sum(self.drops.values()), safe=safe
        )
