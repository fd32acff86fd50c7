import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from stepahead.service.parcel import LENGTH, pack, sealable_memory, unnamed_file, unpack

MOST = 2**20


@contextmanager
def written(data: bytes) -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        yield file.fileno()


def message(head: Any, body: bytes = b"") -> bytes:
    text = json.dumps(head).encode()
    return LENGTH.pack(len(text)) + text + body


@pytest.mark.parametrize("memory", [sealable_memory, unnamed_file])
def test_what_was_packed_comes_out_to_the_bit(memory: Callable[[], int]) -> None:
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "floats": rng.normal(size=(3, 5)).astype(np.float32),
        "turned": rng.normal(size=(4, 6)).T,
        "halves": rng.normal(size=7).astype(np.float16),
        "flags": rng.random(3) < 0.5,
        "none": np.empty((0, 4), np.int64),
        "one": np.array(3.5),
        "odd": np.array([np.nan, -0.0, np.inf]),
    }
    arrays |= {f"many/{k}": np.full(3, k) for k in range(1500)}  # more than the system takes at a time
    descriptor = pack({"number": 7, "name": "ü"}, arrays, MOST, memory)
    head, back = unpack(descriptor, MOST)
    assert head == {"number": 7, "name": "ü"}
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert (back[name].dtype, back[name].shape) == (array.dtype, array.shape)
        assert back[name].tobytes() == array.tobytes()
        back[name][...] = 0  # ours to write to, and not what was packed
    assert unpack(descriptor, MOST)[1]["floats"].tobytes() == arrays["floats"].tobytes()
    os.close(descriptor)


def test_a_packed_parcel_can_neither_be_changed_nor_cut_off() -> None:
    descriptor = pack({}, {"x": np.arange(1000)}, MOST)
    for change in (
        lambda: os.ftruncate(descriptor, 10),
        lambda: os.ftruncate(descriptor, MOST),
        lambda: os.pwrite(descriptor, b"!", 0),
    ):
        with pytest.raises(PermissionError):
            change()
    assert fcntl.fcntl(descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    os.close(descriptor)


def test_a_message_beyond_the_bound_is_refused_and_leaves_nothing_open() -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(ValueError, match="more than 1000"):
        pack({}, {"x": np.zeros(1000)}, 1000)
    assert os.listdir("/proc/self/fd") == before
    descriptor = pack({}, {"x": np.zeros(1000)}, MOST)
    with pytest.raises(ValueError, match="more than 1000"):
        unpack(descriptor, 1000)
    os.close(descriptor)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        LENGTH.pack(2**32 - 1) + b"{}",
        LENGTH.pack(2) + b"{",
        message({"arrays": [["x", "<f8", [3]]]}, bytes(23)),
        message({"arrays": [["x", "<f8", [3]]]}, bytes(25)),
        message({"arrays": [["x", "<f8", [2**40, 2**40]]]}),
        message({"arrays": [["x", "<f8", [-1]]]}),
        message({"arrays": [["x", "|O", [1]]]}, bytes(8)),
        message({"arrays": [["x", "<M8[ns]", [1]]]}, bytes(8)),
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with written(data) as descriptor, pytest.raises(ValueError, match=r"message|JSON|Expecting"):
        unpack(descriptor, MOST)
