"""Records and state trees come back from their bytes as the very same values."""

import json
import math
import struct
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from stepahead.contract.errors import StateError
from stepahead.storage.filesystem import OsFilesystem
from stepahead.storage.plain import dump_plain, load_plain, plain_chunks
from stepahead.storage.record import DTYPES, Record, decode_record, encode_record
from stepahead.storage.tensors import HashedReader, HashedWriter, read_tensors, write_tensors
from stepahead.storage.tree import FlatState, flatten, unflatten

dtypes = st.sampled_from(sorted(DTYPES)).map(np.dtype)
arrays = dtypes.flatmap(lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, max_dims=3, min_side=0)))
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
scalars = dtypes.flatmap(lambda dtype: npst.arrays(dtype, ())).map(lambda array: array[()])
trees = st.recursive(
    arrays | scalars | plain.filter(lambda leaf: type(leaf) is not dict),
    lambda inner: st.dictionaries(st.text(alphabet="a/~.é", max_size=3), inner, max_size=4),
    max_leaves=12,
).filter(lambda tree: type(tree) is dict)


@settings(deadline=None)
@given(kind=st.text(), meta=st.dictionaries(st.text(), plain, max_size=3), columns=st.dictionaries(st.text(), arrays))
def test_a_record_comes_back(kind: str, meta: Any, columns: Any, same_record: Any) -> None:
    record = Record(kind, meta, columns)
    back = decode_record(encode_record(record), "here")
    assert same_record(back, record)
    assert all(array.flags.writeable and array.flags.owndata for array in back.arrays.values())


@settings(deadline=None)
@given(tree=trees)
def test_a_state_tree_comes_back(tree: Any, same_state: Any) -> None:
    assert same_state(unflatten(flatten(tree)), tree)


@settings(deadline=None)
@given(value=plain)
def test_plain_values_come_back_and_chunks_are_the_whole(value: Any, same_state: Any) -> None:
    assert same_state(load_plain(dump_plain(value), "here"), value)
    assert b"".join(plain_chunks(value)) == json.dumps(value, separators=(",", ":")).encode()


def test_a_long_table_is_encoded_in_pieces() -> None:
    table = [f"plant/{number}" for number in range(10_000)]
    pieces = list(plain_chunks({"table": table}))
    assert load_plain(b"".join(pieces), "here") == {"table": table}
    assert max(map(len, pieces)) < 4096 * 16


def test_a_generator_of_128_bits_comes_back() -> None:
    generator = np.random.default_rng(7)
    state = unflatten(flatten({"rng": generator.bit_generator.state}))["rng"]
    other = np.random.default_rng(0)
    other.bit_generator.state = state
    assert other.random(3).tolist() == generator.random(3).tolist()


def test_big_endian_and_strided_arrays_are_stored_as_their_values() -> None:
    given = np.arange(12, dtype=">f8").reshape(3, 4)[:, ::2]
    back = decode_record(encode_record(Record("a", {}, {"x": given})), "here").arrays["x"]
    assert back.dtype == np.dtype("<f8")
    assert back.tolist() == [[0.0, 2.0], [4.0, 6.0], [8.0, 10.0]]


@pytest.mark.parametrize(
    "array",
    [np.array(["a"]), np.array([None]), np.array([1j]), np.array(["2020"], dtype="M8[s]"), np.zeros(1, "f4,i4")],
    ids=lambda array: str(array.dtype),
)
def test_other_dtypes_are_refused(array: Any) -> None:
    with pytest.raises(TypeError, match="dtype"):
        encode_record(Record("a", {}, {"x": array}))
    with pytest.raises(TypeError, match="state /x: dtype"):
        flatten({"x": array})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_float_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        encode_record(Record("a", {"x": value}))
    with pytest.raises(ValueError, match=r"/a/b: .* not finite"):
        flatten({"a": {"b": [value]}})


@pytest.mark.parametrize("leaf", [(1,), {1}, b"a", object(), [np.zeros(1)], [np.float64(1)], {1: 2}])
def test_leaves_that_would_not_come_back_are_refused(leaf: Any) -> None:
    with pytest.raises(TypeError):
        flatten({"a": leaf})


def test_what_is_nested_too_deep_is_refused() -> None:
    deep: Any = 1
    for _ in range(100):
        deep = {"a": deep}
    with pytest.raises(TypeError, match="deeper"):
        flatten(deep)
    with pytest.raises(StateError):
        load_plain(b"[" * 100_000, "here")


@pytest.mark.parametrize("text", [b"NaN", b"[Infinity]", b"{", b"", b"\xff", b"1 2"])
def test_what_is_not_json_is_refused(text: bytes) -> None:
    with pytest.raises(StateError, match="here"):
        load_plain(text, "here")


@pytest.mark.parametrize(
    "head",
    [
        ["a", {}, [["x", "<f8", [2**40]]]],
        ["a", {}, [["x", "<f8", [-1]]]],
        ["a", {}, [["x", "<f8", [True]]]],
        ["a", {}, [["x", "|O", [1]]]],
        ["a", {}, [["x", "<f8", [1] * 33]]],
        ["a", {}, []],
        ["a", []],
        [1, {}, []],
        {},
    ],
    ids=str,
)
def test_a_head_that_lies_is_refused(head: Any) -> None:
    text = json.dumps(head).encode()
    with pytest.raises(StateError):
        decode_record(struct.pack("<I", len(text)) + text + bytes(8), "here")
    for body in (b"", b"\xff\xff\xff\xff", struct.pack("<I", len(text) + 1) + text):
        with pytest.raises(StateError):
            decode_record(body, "here")


@settings(deadline=None, max_examples=50)
@given(columns=st.dictionaries(st.text(alphabet="/ab~", min_size=1), arrays, max_size=5))
def test_the_library_reads_our_safetensors_and_we_read_the_librarys(
    tmp_path_factory: Any, columns: Any, same_state: Any
) -> None:
    path = tmp_path_factory.mktemp("tensors") / "a.safetensors"
    file = OsFilesystem().create(path)
    write_tensors(HashedWriter(file), columns)
    file.close()
    assert same_state(safetensors.numpy.load_file(path), columns)
    path.write_bytes(safetensors.numpy.save(columns))
    with path.open("rb") as opened:
        assert same_state(read_tensors(HashedReader(opened), path.stat().st_size, "here"), columns)


@pytest.mark.parametrize(
    ("values", "words"),
    [({"a": 1}, "pointer"), ({"/a": 1, "/a/b": 2}, "below a leaf"), ({"/a/b": 2, "/a": 1}, "twice")],
)
def test_names_that_no_tree_has_are_refused(values: Any, words: str) -> None:
    with pytest.raises(StateError, match=words):
        unflatten(FlatState(values=values))
