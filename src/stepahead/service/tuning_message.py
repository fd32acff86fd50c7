"""Fine-tunes as messages between two processes: a JSON head and raw arrays, no pickle.

A message is the length of the head (uint32, little-endian), the head as JSON, and the arrays one after another in C
order. The head holds plain values and, under `arrays`, name, dtype and shape of each.
"""

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.settings import LearningSettings
from stepahead.learning.tuner import Sequences, TuneRequest, TuneResult
from stepahead.network.ensemble import Weights
from stepahead.network.lstm import NetworkShape

__all__ = ["read_message", "request_of", "request_parts", "result_of", "result_parts", "write_message"]

Parts = tuple[dict[str, Any], dict[str, NDArray[Any]]]

LENGTH = struct.Struct("<I")
LOSSES = ("train_loss", "champion_loss", "challenger_loss")


def write_message(file: IO[bytes], head: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write one message; the arrays are not copied.

    Example:
        >>> import io
        >>> file = io.BytesIO()
        >>> write_message(file, {"number": 3}, {"loss": np.array([0.5])})
        >>> _ = file.seek(0)
        >>> read_message(file)
        ({'number': 3}, {'loss': array([0.5])})
    """
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    described = [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()]
    text = json.dumps({**head, "arrays": described}).encode()
    file.write(LENGTH.pack(len(text)) + text)
    for array in arrays.values():
        if array.size:
            file.write(array.reshape(-1).view(np.uint8).data)
    file.flush()


def read_message(file: IO[bytes]) -> Parts:
    """Read one message.

    Raises:
        EOFError: the other side is gone.
    """
    head = json.loads(_exactly(file, LENGTH.unpack(_exactly(file, LENGTH.size))[0]))
    arrays = {}
    for name, dtype, shape in head.pop("arrays"):
        array = np.empty(math.prod(shape), dtype)
        view = array.view(np.uint8).data if array.size else memoryview(b"")
        while len(view):
            count = file.readinto(view)  # type: ignore[attr-defined]  # BinaryIO lacks it, every binary file has it
            if not count:
                raise EOFError
            view = view[count:]
        arrays[name] = array.reshape(shape)
    return head, arrays


def _exactly(file: IO[bytes], count: int) -> bytes:
    parts = []
    while count:
        part = file.read(count)
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def request_parts(request: TuneRequest, settings: LearningSettings) -> Parts:
    """Head and arrays of a request."""
    arrays = _member_arrays("weights", request.weights) | _member_arrays("optimisers", request.optimisers)
    for m, batches in enumerate(request.batches):
        for step, batch in enumerate(batches):
            arrays |= _sequence_arrays(f"batch/{m}/{step}", batch)
    arrays |= _sequence_arrays("exam", request.exam)
    head = {
        "cohort": request.cohort,
        "number": request.number,
        "shape": asdict(request.shape),
        "members": len(request.weights),
        "optimisers": len(request.optimisers),
        "steps": [len(batches) for batches in request.batches],
        "learning": settings.model_dump(mode="json"),
    }
    return head, arrays


def request_of(head: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> tuple[TuneRequest, LearningSettings]:
    """The request of a message."""
    batches = [
        [_sequences(f"batch/{m}/{step}", arrays) for step in range(count)] for m, count in enumerate(head["steps"])
    ]
    request = TuneRequest(
        cohort=head["cohort"],
        number=head["number"],
        shape=NetworkShape(**head["shape"]),
        weights=_members("weights", head["members"], arrays),
        optimisers=_members("optimisers", head["optimisers"], arrays),
        batches=batches,
        exam=_sequences("exam", arrays),
    )
    return request, LearningSettings.model_validate(head["learning"])


def result_parts(result: TuneResult) -> Parts:
    """Head and arrays of a result."""
    arrays = _member_arrays("weights", result.weights) | _member_arrays("optimisers", result.optimisers)
    arrays |= {name: getattr(result, name) for name in LOSSES}
    head = {
        "cohort": result.cohort,
        "number": result.number,
        "members": len(result.weights),
        "gave_up": result.gave_up,
    }
    return head, arrays


def result_of(head: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> TuneResult:
    """The result of a message."""
    return TuneResult(
        cohort=head["cohort"],
        number=head["number"],
        weights=_members("weights", head["members"], arrays),
        optimisers=_members("optimisers", head["members"], arrays),
        gave_up=head["gave_up"],
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


def _sequence_arrays(prefix: str, sequences: Sequences) -> dict[str, NDArray[Any]]:
    return {f"{prefix}/{field.name}": getattr(sequences, field.name) for field in fields(Sequences)}


def _sequences(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Sequences:
    return Sequences(*(arrays[f"{prefix}/{field.name}"] for field in fields(Sequences)))
