"""One look at a state directory: who holds it, what its files say, and the newest whole snapshot."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stepahead.contract.errors import StateError, UsageError
from stepahead.contract.settings import Settings
from stepahead.storage.lock import holder_of
from stepahead.storage.manifest import Manifest
from stepahead.storage.packs import PackStore
from stepahead.storage.snapshot import SnapshotStore
from stepahead.storage.tree import unflatten
from stepahead.storage.verify import JOURNAL, SILENT, SNAPSHOTS, StateReport, verify_state

__all__ = ["Look", "Stored", "look_at", "open_snapshot"]

LOOKS = 3
"""A running service removes old generations and segments under our eyes; what is damaged stays so at a second look."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a look found.

    Attributes:
        directory: the state directory.
        holder: process that is running on it; None = nobody.
        report: every checksum checked.
    """

    directory: Path
    holder: str | None
    report: StateReport


@dataclass(frozen=True, slots=True)
class Stored:
    """A snapshot that was opened.

    Attributes:
        manifest: generation, schema, journal position, when it was written.
        state: the tree, as `service.recovery.Knowledge.capture` gave it.
        settings: those that the engine had; sections that it does not depend on have their defaults.
        packs: where the state of silent series lies.
    """

    manifest: Manifest
    state: dict[str, Any]
    settings: Settings
    packs: PackStore

    @property
    def keys(self) -> list[str]:
        """Series keys by number."""
        keys: list[str] = self.state["engine"]["series"]
        return keys


def look_at(directory: Path, verify: Callable[[Path], StateReport] = verify_state) -> Look:
    """Check every checksum of a state directory; it may be in use, nothing in it is changed.

    Raises:
        UsageError: there is no such directory, or it is not a state directory.
        StateError: it cannot be read.
    """
    require_state_directory(directory)
    for remaining in reversed(range(LOOKS)):
        holder = holder_of(directory)
        try:
            report = verify(directory)
        except StateError:
            if holder is None or not remaining:
                raise
            continue
        if report.ok or holder is None or not remaining:
            break
    return Look(directory, holder, report)


def require_state_directory(directory: Path) -> None:
    """Refuse what is no state directory before anything is opened.

    Raises:
        UsageError: says what is there instead.
        StateError: the directory may not be looked into.
    """
    try:
        names = {path.name for path in directory.iterdir()}
    except FileNotFoundError:
        raise UsageError(f"{directory}: there is no such directory") from None
    except NotADirectoryError:
        raise UsageError(f"{directory} is a file, not a state directory") from None
    except OSError as error:
        raise StateError(f"{directory} cannot be read: {error.strerror}; state belongs to the service's user") from None
    if not {JOURNAL, SNAPSHOTS} & names:
        raise UsageError(f"{directory} is not a state directory: neither {JOURNAL} nor {SNAPSHOTS} is in it")


def open_snapshot(directory: Path, generation: int | None = None) -> Stored:
    """Open a snapshot, every checksum checked.

    Args:
        directory: the state directory.
        generation: which one; None = the newest that is whole.

    Raises:
        UsageError: not a state directory, or there is no snapshot yet.
        StateError: no snapshot, or the one asked for, is whole, or it was written by another release.
    """
    require_state_directory(directory)
    store = SnapshotStore(directory / SNAPSHOTS)
    if generation is not None:
        if generation not in store.generations():
            there = ", ".join(map(str, store.generations())) or "none"
            raise UsageError(f"{directory} has no snapshot {generation}; there: {there}")
        manifest, state = store.manifest(generation), unflatten(store.load(generation))
    else:
        newest = store.load_newest()
        if newest is None:
            raise UsageError(
                f"{directory} has no snapshot yet, only a journal: one is taken every durability.snapshot_every_s "
                "and at the service's end"
            )
        manifest, state = newest.manifest, newest.state
    try:
        return Stored(manifest, state, Settings.model_validate(state["settings"]), PackStore(directory / SILENT))
    except (KeyError, ValidationError) as error:
        raise StateError(f"snapshot {manifest.generation} holds no settings that this release reads: {error}") from None
