"""What the journal of a service holds: everything that the engine is told, in the order in which it is told.

| kind | meaning |
|---|---|
| `settings` | a run began; text of the settings that the engine depends on |
| `series` | keys that got slots, from slot `first` on |
| `outcome` | a fine-tune came to its end, and the engine was told when it had taken `at` readings; arrays: weights |
| `arrivals` | messages whose readings have the time of their arrival; see `Arrivals` |
| `edge_nodes` | births and deaths of Sparkplug edge nodes, and where they are in their sequence |
| `batch` | readings, as they were cut, and how many messages had come by then |
"""

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from stepahead.contract.errors import StateError
from stepahead.contract.records import Readings
from stepahead.contract.settings import Settings
from stepahead.forecasting.engine import Engine
from stepahead.service.arrivals import Arrivals, Mark
from stepahead.service.outcomes import Outcome, OutcomeDoor, outcome_of, outcome_parts
from stepahead.storage.record import Record
from stepahead.wire.sparkplug_host import SparkplugHost

__all__ = [
    "arrivals_record",
    "batch_record",
    "edge_nodes_record",
    "outcome_record",
    "repeat_record",
    "series_record",
    "settings_record",
    "settings_text",
]

SECTIONS = (
    "groups", "cadence", "transform", "network", "replay", "learning", "experts", "interval", "engine",
)  # fmt: skip


def settings_text(settings: Settings) -> dict[str, object]:
    """The sections that the engine's answers depend on, as plain values."""
    dumped = settings.model_dump(mode="json")
    return {name: dumped[name] for name in SECTIONS}


def settings_record(settings: Settings, epoch: int | None = None) -> Record:
    """A run began; in a cluster, an epoch of the shard."""
    told = {} if epoch is None else {"epoch": epoch}
    return Record("settings", {"settings": settings_text(settings), **told})


def series_record(first: int, keys: Sequence[str]) -> Record:
    """Series were born."""
    return Record("series", {"first": first, "keys": list(keys)})


def batch_record(batch: Readings, mark: Mark) -> Record:
    """Readings are about to be stepped, so many messages after the first.

    Example:
        >>> batch_record(Readings.of([0], [10], [20.5]), Mark(1, 10)).arrays["value"].tolist()
        [20.5]
    """
    return Record("batch", mark._asdict(), {"series": batch.series, "time_ns": batch.time_ns, "value": batch.value})


def outcome_record(outcome: Outcome) -> Record:
    """An outcome is about to be let in."""
    return Record("outcome", *outcome_parts(outcome))


def arrivals_record(columns: Mapping[str, NDArray[Any]]) -> Record:
    """Messages came that have no time of their own."""
    return Record("arrivals", {}, columns)


def edge_nodes_record(changes: Sequence[Mapping[str, Any]]) -> Record:
    """Edge nodes were born, died or went on."""
    return Record("edge_nodes", {"nodes": list(changes)})


def repeat_record(
    record: Record, engine: Engine, door: OutcomeDoor, arrivals: Arrivals, sparkplug: SparkplugHost | None = None
) -> Readings | None:
    """Tell the engine what a record says it was told; for a batch, give its readings back to be stepped.

    Raises:
        StateError: the record does not fit what the engine knows.
    """
    match record.kind:
        case "settings":
            return None
        case "series":
            for slot, key in enumerate(record.meta["keys"], start=record.meta["first"]):
                if engine.intern(key) != slot:
                    raise StateError(f"the journal gives series {key!r} the slot {slot}, which is taken")
            return None
        case "outcome":
            door.let_in(outcome_of(record.meta, record.arrays))
            return None
        case "arrivals":
            arrivals.take(record.arrays)
            return None
        case "edge_nodes":
            if sparkplug is not None:
                sparkplug.take_changes(record.meta["nodes"])
            return None
        case "batch":
            if record.meta:
                arrivals.take_mark(Mark(**record.meta))
            return Readings(record.arrays["series"], record.arrays["time_ns"], record.arrays["value"])
    raise StateError(f"the journal holds a record of kind {record.kind!r}, which this release does not know")
