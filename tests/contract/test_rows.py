import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepahead.contract.bank import Bank, Column, Composite
from stepahead.contract.errors import StateError
from stepahead.contract.rows import RowForm

COLUMNS = {
    "flag": Column(np.bool_),
    "half": Column(np.float16, (3,)),
    "many": Column(np.float32, (2, 4)),
    "number": Column(np.int64, fill=-1),
    "small": Column(np.int8, (5,)),
}


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 5))
def test_rows_hold_every_bit_of_the_columns(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    bank = Bank(COLUMNS, capacity=9)
    for name, column in COLUMNS.items():
        width = np.dtype(column.dtype).itemsize
        noise = rng.integers(0, 2 if name == "flag" else 256, (9, *column.shape, width)).astype(np.uint8)
        setattr(bank, name, noise.view(column.dtype).reshape(9, *column.shape))
    slots = rng.permutation(9)[:count]
    taken = bank.take(slots)
    form = RowForm(bank.columns)
    rows = form.encode(taken)
    assert rows.shape == (count, form.size)
    assert form.size == bank.bytes_per_series()
    other = Bank(COLUMNS, capacity=9)
    other.put(slots, form.decode(rows))
    for name in COLUMNS:
        assert getattr(other, name)[slots].tobytes() == getattr(bank, name)[slots].tobytes()
        rest = np.setdiff1d(np.arange(9), slots)
        assert (getattr(other, name)[rest] == COLUMNS[name].fill).all()


def test_the_form_does_not_depend_on_the_order_of_the_banks_and_tells_of_itself() -> None:
    a, b = Bank({"x": Column(np.int8)}, 1), Bank({"y": Column(np.float64, (2,))}, 1)
    one, other = RowForm(Composite({"a": a, "b": b}).columns), RowForm(Composite({"b": b, "a": a}).columns)
    assert one.description == other.description == [["a.x", "|i1", []], ["b.y", "<f8", [2]]]
    with pytest.raises(StateError, match="17"):
        one.decode(np.zeros((1, 16), np.uint8))
