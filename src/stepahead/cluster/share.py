"""A share: the windows that one shard gives to a fine-tune of all shards, and several shares as one material.

Axes: N windows, G series of a unit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.forecasting.cohort import EXAMINED_UNITS
from stepahead.learning.material import Material, Sample
from stepahead.network.ensemble import Weights
from stepahead.network.lstm import EMBEDDED_SERIES
from stepahead.replay.history import Windows
from stepahead.service.parcel import Parts
from stepahead.service.tuning_message import sample_arrays, sample_from

__all__ = ["Share", "first_row", "merged", "share_from", "share_of", "share_parts", "turned"]

PLAIN = ("cohort", "shard", "position", "series", "since_drift")


@dataclass(frozen=True, slots=True)
class Share:
    """What one shard gives.

    Attributes:
        cohort: name of the group whose network learns from it.
        shard: its number.
        position: readings that its engine has taken.
        series: of the cohort, there.
        since_drift: fine-tunes since drift was found there, from 1; None when there was none.
        lessons: windows to train on, batch by batch, equally many each.
        exam: newest windows of some units.
    """

    cohort: str
    shard: int
    position: int
    series: int
    since_drift: int | None
    lessons: Sample
    exam: Sample


def share_of(material: Material, shard: int, first: int, position: int, series: int, sharers: int) -> Share:
    """Of what a shard would learn from alone, as much as makes one fine-tune with the others' shares.

    Args:
        material: as its engine drew it.
        shard, position, series: see `Share`.
        first: row of the embedding at which the shard's series begin, see `first_row`.
        sharers: shards that have series.
    """
    batches = len(material.weights) * material.steps
    each = len(material.lessons) // batches
    kept = spread(each, -(-each // max(1, sharers)))
    lessons = material.lessons[(np.arange(batches)[:, None] * each + kept).ravel()]
    exam = material.exam[spread(len(material.exam), -(-EXAMINED_UNITS // max(1, sharers)))]
    moved = (moved_by(lessons, first), moved_by(exam, first))
    return Share(material.cohort, shard, position, series, material.since_drift, *moved)


def spread(n: int, most: int) -> NDArray[np.int64]:
    """Evenly spaced numbers below n, as many as there may be: a batch begins with its newest windows.

    Example:
        >>> spread(8, 3).tolist(), spread(2, 3).tolist()
        ([0, 2, 5], [0, 1])
    """
    count = min(n, most)
    return np.arange(count) * n // max(count, 1)


def moved_by(sample: Sample, first: int) -> Sample:
    """The same windows of series whose numbers are higher by so many."""
    windows = replace(sample.windows, series=sample.windows.series + np.int32(first))
    return Sample(windows, sample.scale, sample.center, sample.last_ns)


def first_row(shard: int, shards: int) -> int:
    """Row of the embedding at which the series of a shard begin, so that few shards share rows.

    Example:
        >>> [first_row(shard, 8) for shard in (0, 1, 7)], first_row(4095, 4096)
        ([0, 128, 896], 1023)
    """
    return shard * max(1, EMBEDDED_SERIES // shards) % EMBEDDED_SERIES


def turned(weights: Sequence[Weights], first: int) -> list[Weights]:
    """The weights of all shards as one shard sees them: its series, from 0 on, at the rows that are theirs.

    Example:
        >>> table = np.arange(EMBEDDED_SERIES, dtype=np.float32)[:, None]
        >>> float(turned([{"embedding": table}], 128)[0]["embedding"][2, 0])
        130.0
    """
    return [{**member, "embedding": np.roll(member["embedding"], -first, axis=0)} for member in weights]


def merged(samples: Sequence[Sample], batches: int) -> Sample:
    """Several samples of so many batches as one, of which each batch holds windows of all.

    Args:
        samples: of equal G and T; not empty.
        batches: of equally many windows each, in each sample.
    """

    def column(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
        parts = [array.reshape(batches, len(array) // batches, *array.shape[1:]) for array in arrays]
        return np.concatenate(parts, axis=1).reshape(-1, *arrays[0].shape[1:])

    windows = Windows(
        *(column([getattr(sample.windows, field.name) for sample in samples]) for field in fields(Windows))
    )
    return Sample(
        windows, *(column([getattr(sample, name) for sample in samples]) for name in ("scale", "center", "last_ns"))
    )


def share_parts(share: Share) -> Parts:
    """Head and arrays of a share."""
    arrays = sample_arrays("lessons", share.lessons) | sample_arrays("exam", share.exam)
    return {name: getattr(share, name) for name in PLAIN}, arrays


def share_from(head: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Share:
    """The share of a message."""
    return Share(
        **{name: head[name] for name in PLAIN},
        lessons=sample_from("lessons", arrays),
        exam=sample_from("exam", arrays),
    )
