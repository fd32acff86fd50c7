"""Resume: the newest whole snapshot, and the journal after it through the same engine."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepahead.contract.errors import StateError
from stepahead.contract.settings import Settings
from stepahead.forecasting.engine import Engine
from stepahead.service.arrivals import Arrivals
from stepahead.service.history_records import repeat_record, settings_record, settings_text
from stepahead.service.keeper import MAX_PENDING_BYTES, JournalKeeper, Keeper, SnapshotKeeper
from stepahead.service.outcomes import OutcomeDoor, outcome_of, outcome_parts
from stepahead.service.redelivery import RecentForecasts
from stepahead.service.shelf import PackShelf
from stepahead.storage.filesystem import Filesystem
from stepahead.storage.journal import Journal
from stepahead.storage.lock import StateLock
from stepahead.storage.packs import PackStore
from stepahead.storage.snapshot import SnapshotStore
from stepahead.storage.verify import JOURNAL, SILENT, SNAPSHOTS
from stepahead.storage.writer import SnapshotWriter
from stepahead.telemetry.log import Log
from stepahead.wire.sparkplug_host import SparkplugHost

__all__ = ["Knowledge", "resume"]


@dataclass(frozen=True, slots=True)
class Knowledge:
    """All that a run knows and the next one needs."""

    engine: Engine
    door: OutcomeDoor
    recent: RecentForecasts
    arrivals: Arrivals
    sparkplug: SparkplugHost | None = None

    def capture(self) -> dict[str, Any]:
        """A copy, as a tree that can be stored; between two batches."""
        coming = self.door.coming
        return {
            "engine": self.engine.state_dict(),
            "waiting": self.door.waiting,
            "coming": {} if coming is None else dict(zip(("head", "arrays"), outcome_parts(coming), strict=True)),
            "recent": self.recent.state_dict(),
            "arrivals": self.arrivals.state_dict(),
            "edge_nodes": [] if self.sparkplug is None else self.sparkplug.state_dict()["nodes"],
            "settings": settings_text(self.engine.settings),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `capture` gave."""
        self.engine.load_state_dict(state["engine"])
        self.door.waiting = bool(state["waiting"])
        self.door.coming = outcome_of(**state["coming"]) if state["coming"] else None
        self.recent.load_state_dict(state["recent"])
        self.arrivals.load_state_dict(state["arrivals"])
        if self.sparkplug is not None:
            self.sparkplug.load_state_dict({"nodes": state.get("edge_nodes", [])})

    def repeat(self, journal: Journal, position: int) -> int:
        """Live through the journal again from a position on; how many readings that were."""
        readings = 0
        for _, record in journal.read(position):
            batch = repeat_record(record, self.engine, self.door, self.arrivals, self.sparkplug)
            if batch is not None:
                self.recent.add(self.engine.step(batch))
                readings += len(batch)
        return readings


def resume(
    settings: Settings,
    knowledge: Knowledge,
    directory: Path,
    log: Log,
    clock: Callable[[], float] = time.monotonic,
    filesystem: Filesystem | None = None,
    max_pending_bytes: int = MAX_PENDING_BYTES,
    beside: Executor | None = None,
    epoch: int | None = None,
) -> tuple[Keeper, Callable[[], None]]:
    """Bring an empty engine to where the last run ended, and give back who keeps what comes.

    Args:
        settings: of this run.
        knowledge: empty; filled.
        directory: of the state.
        log: told what was found.
        clock: monotonic seconds.
        filesystem: the door to the disk.
        max_pending_bytes, beside: see `JournalKeeper`.
        epoch: of a shard in a cluster, written into its journal.

    Returns:
        The keeper, and what to call at the very end.

    Raises:
        StateError: the state is in use, damaged, or does not fit the settings.
    """
    durability = settings.durability
    if durability.mode == "off":
        return Keeper(), lambda: None
    lock = StateLock(directory)
    try:
        store = SnapshotStore(directory / SNAPSHOTS, keep=durability.generations, filesystem=filesystem)
        began_s = clock()
        snapshot = store.load_newest()
        position = 0
        if snapshot is not None:
            position = snapshot.position
            warn_of_changes(snapshot.state["settings"], settings, log)
            for text in snapshot.passed_over:
                log.error("state_damaged", text=text)
            try:
                knowledge.restore(snapshot.state)
            except StateError as error:
                raise StateError(
                    f"the state in {directory} does not fit the settings: {error}. Go back to the settings it was "
                    "made with, or move the directory away to begin anew"
                ) from error
        silent = PackShelf(PackStore(directory / SILENT, filesystem), durability.generations, beside)
        knowledge.engine.hibernation.shelf = silent
        missing = silent.found(knowledge.engine.hibernation.packs)
        if missing:
            log.error("state_damaged", text=f"silent series: packs {', '.join(map(str, missing))} are missing")

        def capture() -> dict[str, Any]:
            silent.captured()
            return knowledge.capture()

        ours = (SnapshotWriter(store), capture, durability.snapshot_every_s, log, clock, silent.written)
        if durability.mode == "snapshot":
            log_resumed(directory, knowledge, 0, clock() - began_s, log)
            return SnapshotKeeper(*ours), lock.release
        journal = Journal(
            directory / JOURNAL,
            at_least=position,
            commit_interval_s=durability.commit_interval_s,
            filesystem=filesystem,
            clock=clock,
        )
        for text in journal.recovery.damages:
            log.error("state_damaged", text=text)
        knowledge.door.hold()
        readings = knowledge.repeat(journal, position)
        knowledge.door.go_on()
        journal.append(settings_record(settings, epoch))
        log_resumed(directory, knowledge, readings, clock() - began_s, log, torn_bytes=journal.recovery.torn_bytes)
        return JournalKeeper(journal, knowledge.engine.table.keys, max_pending_bytes, beside, *ours), lock.release
    except BaseException:
        lock.release()
        raise


def warn_of_changes(before: Mapping[str, Any], settings: Settings, log: Log) -> None:
    """Say which sections of the settings differ from those that the state was made with."""
    now = settings_text(settings)
    changed = [name for name in now if before.get(name) != now[name]]
    if changed:
        log.warning("settings_changed", sections=",".join(changed))


def log_resumed(directory: Path, knowledge: Knowledge, readings: int, took_s: float, log: Log, **more: object) -> None:
    """One line that says where this run goes on from."""
    log.info(
        "resumed",
        state=directory,
        series=len(knowledge.engine.table),
        position=knowledge.engine.position,
        repeated=readings,
        took_s=took_s,
        **more,
    )
