"""What is kept on the disk while the service runs, one class per `durability.mode`."""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import Any, Literal

from numpy.typing import NDArray

from stepahead.contract.errors import StateError
from stepahead.contract.records import Readings
from stepahead.service.arrivals import Mark
from stepahead.service.history_records import (
    arrivals_record,
    batch_record,
    edge_nodes_record,
    outcome_record,
    series_record,
)
from stepahead.service.outcomes import Outcome
from stepahead.storage.journal import Journal
from stepahead.storage.writer import SnapshotWriter
from stepahead.telemetry.log import Log

__all__ = ["MAX_PENDING_BYTES", "JournalKeeper", "Keeper", "SnapshotKeeper"]

MAX_PENDING_BYTES = 64 * 2**20
"""The journal itself refuses at four times as much, so that one more batch always has room."""
UNDER_WAY_S = 0.001
"""While a commit is under way beside the stream, so often it is looked whether it is done."""
RETRY_S = 0.5
"""Between two attempts on a disk that refuses."""
LAST_SNAPSHOT_S = 1.0
"""At the end a snapshot is taken if the one before took no longer: a stop must be through within 5 s."""


class Keeper:
    """Keeps nothing: `durability.mode = "off"`.

    Attributes:
        trouble: what is wrong with the disk, in words; None when nothing is.
        safe_s: when all that had been noted was on the disk, monotonic seconds; None without a journal.
        snapshot_s: when the newest snapshot was written, or the start; None without snapshots.
    """

    mode: Literal["off", "snapshot", "journal"] = "off"
    trouble: str | None = None
    safe_s: float | None = None
    snapshot_s: float | None = None

    @property
    def position(self) -> int:
        """Journal records appended so far."""
        return 0

    @property
    def binding(self) -> int:
        """So many of them must be on the disk before forecasts go out: they hold what could not be had again."""
        return 0

    @property
    def durable(self) -> int:
        """So many of them are on the disk."""
        return 0

    @property
    def full(self) -> bool:
        """Whether nothing more can be taken until the disk takes what waits."""
        return False

    def due_in_s(self, now_s: float) -> float:
        """Seconds until a commit is due."""
        return math.inf

    def note_outcome(self, outcome: Outcome) -> None:
        """An outcome is about to be let in, to be seen at its place."""

    def note_taken(self, position: int) -> None:
        """The engine has taken so many readings: what it forecasts may come of an outcome that was let in."""

    def note_arrivals(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Messages came that have no time of their own."""

    def note_edge_nodes(self, changes: Sequence[Mapping[str, Any]]) -> None:
        """Edge nodes were born, died or went on."""

    def note_batch(self, batch: Readings, mark: Mark) -> None:
        """A batch is about to be stepped."""

    def commit(self, now_s: float, company: bool) -> int:
        """Make safe what was noted.

        Args:
            now_s: monotonic seconds.
            company: more may come and share the fsync: commit only when the commit interval is over.

        Returns:
            So many journal records are on the disk.
        """
        return 0

    def care(self, now_s: float) -> None:
        """Take a snapshot when it is time; call it between two batches."""

    def close(self) -> None:
        """Make everything safe that can be."""


class SnapshotKeeper(Keeper):
    """Takes a snapshot of everything now and then, beside the stream.

    Args:
        writer: of the snapshots.
        capture: a copy of all state.
        every_s: time between two.
        log: told when the disk refuses and when it is back.
        clock: monotonic seconds.
        on_written: told when one is on the disk.
    """

    mode: Literal["off", "snapshot", "journal"] = "snapshot"

    def __init__(
        self,
        writer: SnapshotWriter,
        capture: Callable[[], Mapping[str, Any]],
        every_s: float,
        log: Log,
        clock: Callable[[], float],
        on_written: Callable[[], None] = lambda: None,
    ) -> None:
        self._writer = writer
        self._capture = capture
        self._every_s = every_s
        self._log = log
        self._clock = clock
        self._on_written = on_written
        self._began_s = clock()
        self._next_s = self._began_s + every_s
        self._took_s = 0.0
        self.snapshot_s = self._began_s
        self.snapshots = 0

    def care(self, now_s: float) -> None:
        """Take a snapshot when it is time."""
        if self._writer.busy:
            self._fetch(now_s, wait=False)
        elif now_s >= self._next_s:
            self._begin(now_s)

    def _begin(self, now_s: float) -> None:
        self._began_s, self._next_s = now_s, now_s + self._every_s
        self._writer.start(self._capture(), self.position)

    def _fetch(self, now_s: float, wait: bool) -> None:
        try:
            written = self._writer.wait() if wait else self._writer.poll()
        except StateError as error:
            self._tell(str(error))
            self._next_s = now_s + RETRY_S
            return
        if written is not None:
            self.snapshots += 1
            self.snapshot_s = now_s
            self._took_s = now_s - self._began_s
            self._tell(None)
            self._forget_before(written.oldest_position)
            self._on_written()

    def _forget_before(self, position: int) -> None:
        """The journal is needed from this position on only."""

    def _tell(self, trouble: str | None) -> None:
        if trouble is not None and self.trouble is None:
            self._log.error("disk", trouble=trouble)
        elif trouble is None and self.trouble is not None:
            self._log.info("disk", text="writes again")
        self.trouble = trouble

    def close(self) -> None:
        """Take a last snapshot, so that the next start has nothing to repeat."""
        self._fetch(self._clock(), wait=True)
        if self._took_s <= LAST_SNAPSHOT_S and self.trouble is None:
            self._begin(self._clock())
            self._fetch(self._clock(), wait=True)


class JournalKeeper(SnapshotKeeper):
    """Writes down everything that the engine is told, before it is told.

    Args:
        journal: where to.
        keys: all series keys in slot order, growing.
        max_pending_bytes: when more wait in memory, no more readings are taken until the disk is back.
        beside: one thread, for commits that nobody has to wait for; None = everything is done in the caller's.
        writer, capture, every_s, log, clock, on_written: see `SnapshotKeeper`.
    """

    mode: Literal["off", "snapshot", "journal"] = "journal"

    def __init__(
        self,
        journal: Journal,
        keys: list[str],
        max_pending_bytes: int,
        beside: Executor | None,
        writer: SnapshotWriter,
        capture: Callable[[], Mapping[str, Any]],
        every_s: float,
        log: Log,
        clock: Callable[[], float],
        on_written: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(writer, capture, every_s, log, clock, on_written)
        self._journal = journal
        self._keys = keys
        self._known = len(keys)
        self._max_pending_bytes = max_pending_bytes
        self._beside = beside
        self._under_way: Future[int] | None = None
        self._retry_s = 0.0
        self._full = False
        self._binding = 0
        self._outcome = (0, 0)  # its place in the stream, and where its record ends
        self.safe_s = clock()
        self._asked = (0, self.safe_s)

    @property
    def position(self) -> int:
        """Journal records appended so far."""
        return self._journal.next_position

    @property
    def binding(self) -> int:
        """The newest record that only we know: an arrival time, or what came of a fine-tune."""
        return self._binding

    @property
    def durable(self) -> int:
        """Journal records on the disk."""
        return self._journal.durable_position

    def due_in_s(self, now_s: float) -> float:
        """Seconds until a commit is due; while the disk refuses, until the next attempt."""
        if self._under_way is not None:
            return UNDER_WAY_S
        due_s = self._journal.due_in_s()
        if due_s is None:
            return math.inf
        return due_s if self.trouble is None else max(0.0, self._retry_s - now_s)

    @property
    def full(self) -> bool:
        """Whether the disk has refused for so long that the journal takes no more in memory."""
        return self._full

    def note_outcome(self, outcome: Outcome) -> None:
        """An outcome is about to be let in, to be seen at its place."""
        self._journal.append(outcome_record(outcome))
        self._outcome = (outcome.at, self.position)
        if self._beside is not None and self._under_way is None and self.trouble is None:
            # It is long, and forecasts will wait for it: on its way to the disk while others are made.
            self._under_way = self._beside.submit(self._journal.commit)

    def note_taken(self, position: int) -> None:
        """The engine has taken so many readings: what it forecasts may come of an outcome that was let in."""
        at, end = self._outcome
        if position > at:
            self._binding = max(self._binding, end)

    def note_arrivals(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Messages came that have no time of their own."""
        self._journal.append(arrivals_record(columns))
        self._binding = self.position

    def note_edge_nodes(self, changes: Sequence[Mapping[str, Any]]) -> None:
        """Edge nodes were born, died or went on."""
        self._journal.append(edge_nodes_record(changes))

    def note_batch(self, batch: Readings, mark: Mark) -> None:
        """A batch is about to be stepped; series born since the last one come first."""
        if self._known < len(self._keys):
            self._journal.append(series_record(self._known, self._keys[self._known :]))
            self._known = len(self._keys)
        self._journal.append(batch_record(batch, mark))

    def commit(self, now_s: float, company: bool) -> int:
        """One write and one fsync for what was noted, now or, in company, when the commit interval is over.

        In company it is done beside the stream where there is a thread for it: what it came to, a later call tells.
        """
        if self.trouble is not None and now_s < self._retry_s:
            return self._journal.durable_position
        if company and self._beside is not None:
            durable = self._commit_beside(now_s, self._beside)
        else:
            self._under_way = None  # the journal lets one commit in after the other
            durable = self._settle(now_s, self._journal.commit_due if company else self._journal.commit)
        self._note_safe(durable, now_s)
        return durable

    def _note_safe(self, durable: int, now_s: float) -> None:
        """When readings never stop coming, not all of them are on the disk at any moment: what was there then is."""
        position, at_s = self._asked
        if durable >= position:
            self.safe_s = at_s
            self._asked = (self.position, now_s)
        if durable == self.position:
            self.safe_s = now_s

    def _commit_beside(self, now_s: float, beside: Executor) -> int:
        if self._under_way is not None:
            if not self._under_way.done():
                return self._journal.durable_position
            done, self._under_way = self._under_way, None
            if done.exception() is not None or self.trouble is not None:
                return self._settle(now_s, done.result)
        # Forecasts wait for what binds, and soon for an outcome; only acknowledgements wait for the rest, and may wait
        # for company.
        if max(self._binding, self._outcome[1]) > self._journal.durable_position or self._journal.due_in_s() == 0:
            self._under_way = beside.submit(self._journal.commit)
        return self._journal.durable_position

    def _settle(self, now_s: float, commit: Callable[[], int]) -> int:
        try:
            durable = commit()
        except StateError as error:
            self._retry_s = now_s + RETRY_S
            self._full = self._journal.pending_bytes > self._max_pending_bytes
            self._tell(str(error))
            return self._journal.durable_position
        if self.trouble is not None and not self._journal.pending_bytes:
            self._full = False
            self._tell(None)
        return durable

    def _begin(self, now_s: float) -> None:
        if self.commit(now_s, company=False) == self.position:  # a snapshot stands on a durable journal
            super()._begin(now_s)

    def _forget_before(self, position: int) -> None:
        try:
            self._journal.truncate_before(position)
        except StateError as error:
            self._tell(str(error))

    def close(self) -> None:
        """Commit, take a last snapshot, and give the files back."""
        if self._beside is not None:
            self._beside.shutdown()
        self.commit(self._clock(), company=False)
        super().close()
        try:
            self._journal.close()
        except StateError as error:
            self._tell(str(error))
