"""Fine-tunes as messages: a head of plain values and raw arrays, for the trainer's process and for the journal."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.settings import LearningSettings
from stepahead.learning.material import Material, Sample
from stepahead.learning.tuner import TuneResult
from stepahead.network.ensemble import Weights
from stepahead.network.lstm import NetworkShape
from stepahead.replay.history import Windows
from stepahead.service.parcel import Parts

__all__ = ["material_of", "material_parts", "result_of", "result_parts", "sample_arrays", "sample_from"]

LOSSES = ("train_loss", "champion_loss", "challenger_loss", "doubt")
PLAIN = ("cohort", "number", "steps", "clip", "held_out", "since_drift")
TODAY = ("scale", "center", "last_ns")


def material_parts(material: Material, settings: LearningSettings) -> Parts:
    """Head and arrays of the material of a fine-tune, with the settings that it is done by."""
    arrays = _member_arrays("weights", material.weights) | _member_arrays("optimisers", material.optimisers)
    arrays |= sample_arrays("lessons", material.lessons) | sample_arrays("exam", material.exam)
    head = {name: getattr(material, name) for name in PLAIN}
    head |= {
        "shape": asdict(material.shape),
        "members": len(material.weights),
        "optimisers": len(material.optimisers),
        "learning": settings.model_dump(mode="json"),
    }
    return head, arrays


def material_of(head: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> tuple[Material, LearningSettings]:
    """The material of a message."""
    material = Material(
        **{name: head[name] for name in PLAIN},
        shape=NetworkShape(**head["shape"]),
        weights=_members("weights", head["members"], arrays),
        optimisers=_members("optimisers", head["optimisers"], arrays),
        lessons=sample_from("lessons", arrays),
        exam=sample_from("exam", arrays),
    )
    return material, LearningSettings.model_validate(head["learning"])


def result_parts(result: TuneResult) -> Parts:
    """Head and arrays of a result."""
    arrays = _member_arrays("weights", result.weights) | _member_arrays("optimisers", result.optimisers)
    arrays |= {name: getattr(result, name) for name in LOSSES}
    head = {
        "cohort": result.cohort,
        "number": result.number,
        "members": len(result.weights),
        "gave_up": result.gave_up,
        "optimisers": len(result.optimisers),
        "version": result.version,
    }
    return head, arrays


def result_of(head: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> TuneResult:
    """The result of a message."""
    return TuneResult(
        cohort=head["cohort"],
        number=head["number"],
        weights=_members("weights", head["members"], arrays),
        optimisers=_members("optimisers", head.get("optimisers", head["members"]), arrays),
        gave_up=head["gave_up"],
        version=head.get("version"),  # earlier releases had none
        **{name: arrays[name] for name in LOSSES},
    )


def _member_arrays(what: str, members: Sequence[Weights]) -> dict[str, NDArray[Any]]:
    return {f"{what}/{m}/{name}": array for m, member in enumerate(members) for name, array in member.items()}


def _members(what: str, count: int, arrays: Mapping[str, NDArray[Any]]) -> list[Weights]:
    members: list[dict[str, NDArray[np.float32]]] = [{} for _ in range(count)]
    for path, array in arrays.items():
        kind, _, rest = path.partition("/")
        if kind == what:
            number, _, name = rest.partition("/")
            members[int(number)][name] = array
    return list(members)


def sample_arrays(what: str, sample: Sample) -> dict[str, NDArray[Any]]:
    """Arrays of windows drawn, under a name."""
    windows = {f"{what}/{field.name}": getattr(sample.windows, field.name) for field in fields(Windows)}
    return windows | {f"{what}/{name}": getattr(sample, name) for name in TODAY}


def sample_from(what: str, arrays: Mapping[str, NDArray[Any]]) -> Sample:
    """The windows that a message holds under a name."""
    windows = Windows(*(arrays[f"{what}/{field.name}"] for field in fields(Windows)))
    return Sample(windows, *(arrays[f"{what}/{name}"] for name in TODAY))
