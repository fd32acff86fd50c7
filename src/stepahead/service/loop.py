"""The loop: receive, decode, step, publish, acknowledge, over and over, in one thread."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from stepahead.contract.reasons import DropCounter
from stepahead.contract.records import Forecasts, IntArray, Readings, Status
from stepahead.contract.settings import Settings
from stepahead.forecasting.cohort import Tally
from stepahead.forecasting.engine import Engine
from stepahead.service.announcer import Announcer
from stepahead.service.arrivals import Arrivals
from stepahead.service.batches import cut_batches
from stepahead.service.edge_node import EdgeNode
from stepahead.service.intake import Intake
from stepahead.service.keeper import Keeper
from stepahead.service.notify import Notifier
from stepahead.service.outbox import Outbox
from stepahead.service.outcomes import OutcomeDoor
from stepahead.service.ports import LoopSession, Reader, Writer
from stepahead.service.questions import Questions
from stepahead.service.redelivery import RecentForecasts
from stepahead.service.status import StatusReport, vitals
from stepahead.service.watch import Watch
from stepahead.telemetry.log import Log
from stepahead.wire.decoder import Decoded
from stepahead.wire.delivery import Delivery
from stepahead.wire.encoder import encode_status, offline_status, status_topic
from stepahead.wire.stock_client import Row

__all__ = ["Loop"]

IDLE_S = 0.25
"""Longest wait for messages: how soon a signal to stop is noticed."""
FULL_S = 0.05
TURN_S = 0.5
"""A turn shall take no longer: meanwhile nobody keeps the connection alive, and no signal to stop is heard."""
FIRST_MESSAGES = 8
STATUS_EVERY_S = 1.0
VITALS_EVERY_S = 60.0
REDELIVERED = 8
"""The flag DUP of a delivery (MQTT 3.1.1 §3.3.1.1)."""
BELIEVED_S = 3600.0
"""A reading that is older when it comes was recorded earlier, or its clock is wrong."""
AHEAD_S = 0.05
"""New weights are used so much later than they came: by then they are on the disk, and no forecast waits for that."""
MOST_AHEAD = 256
"""Or the readings of a feed that has become slow meanwhile would wait too long for them."""
NAMED = 5
DRAIN_S = 1.5
GOODBYE_S = 1.5
EDGE_GOODBYE_S = 0.5


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
        watch: what live page and metrics see; none = nobody looks.
        clock: monotonic seconds.
        wall_ns: UTC nanoseconds since 1970.
        sleep: waits for the disk when nothing more can be taken.
        questions: answers them; none = nobody may ask.
        edge_node: where forecasts go, when not to `session`.
        announcer: makes what is to be published about new series.
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
        watch: Watch | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], None] = time.sleep,
        questions: Questions | None = None,
        edge_node: EdgeNode | None = None,
        announcer: Announcer | None = None,
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
        self._watch = watch
        self._clock = clock
        self._wall_ns = wall_ns
        self._sleep = sleep
        self._questions = questions
        self._qos: int = settings.broker.qos
        self._topic = status_topic(settings.publish.prefix)
        self._edge_node = edge_node
        self._announcer = announcer
        self._outbox = Outbox(session, settings.broker.qos, settings.publish.retain, edge_node)
        self._intake = Intake(session, settings.broker.queue_messages, clock)
        self._most = min(FIRST_MESSAGES, settings.service.max_batch)  # messages taken in one turn
        self._ahead = 0  # readings from the end of a fine-tune to where its weights are used
        self._caught_up = False  # what was delivered in a life before ours has been answered
        self.readings = 0
        self.lag_s: float | None = None
        now_s = clock()
        self._paced = (now_s, 0)
        self._report = StatusReport(self, version, now_s)
        self._next_status_s = now_s
        self._next_vitals_s = now_s + VITALS_EVERY_S

    @property
    def series(self) -> int:
        """Series known."""
        return len(self._engine.table)

    @property
    def away(self) -> int:
        """Series whose state lies on the disk because they have been silent for long."""
        return self._engine.hibernation.away

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

    def run(self, stopping: Callable[[], bool], notifier: Notifier | None = None) -> None:
        """Turn until told to stop, then end in good order: see `finish`; whoever started us hears of both."""
        while not stopping():
            self.turn()
            if notifier is not None:
                notifier.turned()
        if notifier is not None:
            notifier.stopping()
        self.finish()

    def connected_anew(self, session_present: bool) -> None:
        """Told of a new connection: the broker may hold our last will, and may deliver again what is unanswered."""
        self._next_status_s = self._clock()
        self._intake.connected_anew(session_present)
        self._reader.sparkplug.doubt()

    def may_speak_anew(self, session_present: bool) -> None:
        """Told of a new connection that we only speak by: the first word is our status."""
        self._next_status_s = self._clock()

    def due_in_s(self, now_s: float) -> float:
        """Seconds until acknowledgements that wait for the disk want a turn; infinite when none do."""
        return self._keeper.due_in_s(now_s) if self._outbox.unsafe else math.inf

    def turn(self, patience_s: float = IDLE_S) -> None:
        """Take what is there, or wait for it a little; answer it; tell how it goes.

        Args:
            patience_s: longest wait for messages; 0 = this thread turns other loops too, and waits for no disk either.
        """
        deliveries = self._receive(patience_s)
        if deliveries:
            began_s = self._clock()
            self._take(deliveries)
            self._adapt(len(deliveries), self._clock() - began_s)
        else:
            self._end_waits()
        # Acknowledgements may share an fsync with those that come; forecasts that wait for the disk shall not.
        self._send(company=bool(deliveries) or not self._outbox.held or not patience_s)
        if self._edge_node is not None and self._session.connected:  # an attempt to connect takes time
            self._edge_node.turn()
        now_s = self._clock()
        self._keeper.care(now_s)
        if now_s >= self._next_status_s:
            self._tell(now_s)

    def _receive(self, patience_s: float) -> list[Delivery]:
        if self._keeper.full:
            self._intake.read(0.0, 1, 0.0)
            self._sleep(min(FULL_S, patience_s))
            return []
        now_s = self._clock()
        # While forecasts wait for the disk, only what is there already is company for them.
        wait_s = 0.0 if self._outbox.held else min(patience_s, max(0.0, self._next_status_s - now_s))
        if self._outbox.unsafe:
            wait_s = min(wait_s, self._keeper.due_in_s(now_s))
        self._intake.read(wait_s, self._most, self._service.max_batch_delay_s)
        return self._intake.take(self._most)

    def _adapt(self, messages: int, took_s: float) -> None:
        """Take more messages at once when they are there and go fast, fewer when a turn took too long."""
        if took_s > TURN_S:
            # Not below the first portion: on a machine that is starved a turn has its price, however little it takes.
            least = min(FIRST_MESSAGES, self._service.max_batch)
            self._most = max(least, int(messages * TURN_S / took_s))
        elif messages == self._most and 2 * took_s < TURN_S:
            self._most = min(2 * self._most, self._service.max_batch)

    def _take(self, deliveries: Sequence[Delivery]) -> None:
        """Answer deliveries: every reading that the engine accepts, and every one delivered again, gets a forecast."""
        self._caught_up = self._caught_up or not any(message.flags & REDELIVERED for message in deliveries)
        read = deliveries
        asked = [] if self._questions is None else self._questions.among(deliveries)
        if asked:
            apart = set(map(id, asked))
            read = [message for message in deliveries if id(message) not in apart]
        decoded = self._reader.decode(self._arrivals.recall(read))
        columns = self._arrivals.note(read, decoded)
        if columns is not None:
            self._keeper.note_arrivals(columns)
        self._answer_all(deliveries, read, decoded)
        if self._questions is not None and asked:
            self._session.publish_many(self._questions.answer(asked), self._qos, False)
        now_ns = self._wall_ns()
        times = [int(decoded.readings.time_ns.max())] if len(decoded.readings) else []
        # A reading's own time tells of the broker's queue too; it does not count where a recording is played.
        ages_s = [(now_ns - time_ns) / 1e9 for time_ns in (*times, deliveries[0].received_ns)]
        # None when the clock was set forward meanwhile.
        self.lag_s = max((age_s for age_s in ages_s if age_s <= BELIEVED_S), default=None)

    def _end_waits(self) -> None:
        """Answer readings that waited for a message which others had overtaken, and which does not come."""
        decoded = self._reader.overdue(self._wall_ns())
        if len(decoded.readings) or self._reader.sparkplug.busy:
            self._answer_all([], [], decoded)

    def _stale(self, slots: Sequence[int]) -> list[Row]:
        """The newest forecasts of series whose source died, marked so; what was learned of them stays."""
        newest = self._recent.newest(slots)
        if newest is None:
            return []
        return self._writer.encode(replace(newest, status=np.full(len(newest), Status.STALE, np.int8)), None, ())

    def _answer_all(self, deliveries: Sequence[Delivery], read: Sequence[Delivery], decoded: Decoded) -> None:
        """Write down what is known of edge nodes, step every batch, and do what edge nodes call for.

        Args:
            deliveries: to be acknowledged with the forecasts.
            read: those that `decoded.message` counts; none = it is not known which.
            decoded: their readings.
        """
        edge_nodes = self._reader.sparkplug
        changes = edge_nodes.changes()
        if changes:
            self._keeper.note_edge_nodes(changes)
        rows: list[Row] = []
        answered = 0
        for part in cut_batches(decoded.message, self._service.max_batch):
            message = decoded.message[part]
            for forecasts, at in self._answer(decoded.readings[part]):
                rows += self._writer.encode(forecasts, message[at] if read else None, read)
                answered += len(forecasts)
                if self._announcer is not None and (news := self._announcer.new(forecasts)):
                    self._session.publish_many(news, 1, True)
        if edge_nodes.stale:
            rows += self._stale(edge_nodes.take_stale())
        self._outbox.add(deliveries, rows, self._keeper.position, self._keeper.binding, answered)
        if edge_nodes.commands:
            self._session.publish_many(edge_nodes.take_commands(), 0, False)

    def _send(self, company: bool) -> None:
        """Publish what may go out, commit, and acknowledge what is safe."""
        self._hand_out(self._keeper.durable)
        self._hand_out(self._keeper.commit(self._clock(), company))

    def _hand_out(self, durable: int) -> None:
        began_s, before = self._clock(), self._outbox.forecasts
        self._outbox.send(durable, anyway=self._keeper.trouble is not None)
        if self._watch is not None and self._outbox.forecasts > before:
            self._watch.publish.observe(self._clock() - began_s)

    def _answer(self, batch: Readings) -> list[tuple[Forecasts, IntArray]]:
        """Forecasts, and the rows of the batch that they answer, rising."""
        # What a life before ours answered and did not get on the disk comes first, and gets the same forecast again:
        # with the weights of then.
        outcome = self._door.arrived() if self._caught_up else None
        if outcome is not None:
            outcome = replace(outcome, at=self._engine.position + self._ahead)
            self._keeper.note_outcome(outcome)
            self._door.let_in(outcome)
        self._keeper.note_batch(batch, self._arrivals.mark())
        began_s = self._clock()
        forecasts = self._engine.step(batch)
        self._keeper.note_taken(self._engine.position)
        if self._watch is not None:
            self._watch.stepped(forecasts, len(batch), self._clock() - began_s)
        self._recent.add(forecasts)
        if self._questions is not None:
            self._questions.note(forecasts)
        self.readings += len(batch)
        if len(forecasts) == len(batch):
            return [(forecasts, forecasts.reading)]
        dropped = np.delete(np.arange(len(batch)), forecasts.reading)
        left = batch[dropped]
        found = self._recent.find(self._engine.table.reading_id(left.series, left.time_ns, left.value))
        if found is None:
            return [(forecasts, forecasts.reading)]
        again, at = found
        at = dropped[at]
        if again.value.shape[1:] != forecasts.value.shape[1:] or again.lower.shape[1:] != forecasts.lower.shape[1:]:
            return [(forecasts, forecasts.reading), (again, at)]  # made before horizon or levels were changed
        rows = np.concatenate((forecasts.reading, at))
        order = np.argsort(rows, kind="stable")
        return [(Forecasts.concatenate((forecasts, again))[order], rows[order])]

    def _look_ahead(self, now_s: float) -> None:
        """Reckon how many readings come in the time that weights need to the disk."""
        since_s, readings = self._paced
        if now_s - since_s >= STATUS_EVERY_S:
            rate = (self.readings - readings) / (now_s - since_s)
            self._ahead = min(int(AHEAD_S * rate), MOST_AHEAD)
            self._paced = (now_s, self.readings)

    def _tell(self, now_s: float) -> None:
        """Publish the status; now and then write a line."""
        self._next_status_s = now_s + STATUS_EVERY_S
        fields = self._report.fields(now_s)
        self._look_ahead(now_s)
        if self._session.connected:  # or statuses would pile up for a broker that is away
            durability = {"mode": self._keeper.mode, "trouble": self._keeper.trouble}
            self._session.publish(self._topic, encode_status("online", **fields, durability=durability), 1, True)
        if self._watch is not None:
            self._watch.tell(fields, self._engine, self._session, self._keeper)
        troubles = {
            **fields["drops"],
            "publish_refused": self._session.refused_out,
            "lost_qos0": self._session.lost_qos0,
            "edge_node_missed": 0 if self._edge_node is None else self._edge_node.missed,
        }
        for reason, total in troubles.items():  # the log bounds how often it tells of one
            self._log.warning("dropped", reason=reason, total=total)
        lost = self._engine.hibernation.lost
        if lost:
            some = ", ".join(lost[:NAMED]) + (f" and {len(lost) - NAMED} more" if len(lost) > NAMED else "")
            self._log.error("state_damaged", text=f"what was known of silent series cannot be read; anew begin {some}")
            lost.clear()
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
            if self._edge_node is not None:
                self._edge_node.close(EDGE_GOODBYE_S)
            session.publish(self._topic, offline_status(), 1, True)
            session.flush(DRAIN_S)
        safe = session.close(GOODBYE_S)
        self._keeper.close()
        self._log.info(
            "stopped", readings=self.readings, forecasts=self.forecasts, dropped=sum(self.drops.values()), safe=safe
        )
