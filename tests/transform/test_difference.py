import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stepahead.transform.difference import Difference

SLOT = np.array([0], dtype=np.int32)
Floats = NDArray[np.float64]
orders = st.integers(0, 4)
lags = st.sampled_from([0, 1, 3, 7])


def stream(bank: Difference, values: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    steps = [bank.update(SLOT, np.array([x])) for x in values]
    return np.array([d[0] for d, _ in steps]), np.array([r[0] for _, r in steps])


def batch_twin(values: Floats, lag: int, order: int) -> Floats:
    seasonal = values[lag:] - values[: len(values) - lag] if lag else values
    return np.diff(seasonal, n=order)


@given(values=st.lists(st.floats(-1e300, 1e300), min_size=0, max_size=40), lag=lags, order=orders)
def test_the_stream_equals_numpy_diff_to_the_bit(values: list[float], lag: int, order: int) -> None:
    x = np.array(values)
    diff, ready = stream(Difference(lag, order, 4, capacity=1), x)
    wait = lag + order
    assert ready.tolist() == [i >= wait for i in range(len(x))]
    assert diff[:wait].tolist() == [0.0] * min(wait, len(x))
    if len(x) > wait:
        assert diff[wait:].tolist() == batch_twin(x, lag, order).tolist()


@given(
    values=st.lists(st.floats(-1e300, 1e300), min_size=20, max_size=40),
    lag=lags,
    order=orders,
)
def test_the_true_next_difference_gives_the_true_next_value(values: list[float], lag: int, order: int) -> None:
    x = np.array(values)
    bank = Difference(lag, order, 4, capacity=1)
    stream(bank, x[:-1])
    before = bank.state_dict()
    value = bank.invert(SLOT, batch_twin(x, lag, order)[-1:])[0]
    involved = np.abs(x[len(x) - 1 - lag - order :]).max()
    bound = 3 * 2 ** (order + bool(lag)) * 2.0**-53
    assert abs(value / 2**10 - x[-1] / 2**10) <= bound * involved / 2**10 + 1e-320
    for name, array in bank.state_dict().items():
        assert array.tolist() == before[name].tolist()


@given(values=st.lists(st.integers(-(2**40), 2**40), min_size=20, max_size=40), lag=lags, order=orders)
def test_integers_come_back_exactly(values: list[int], lag: int, order: int) -> None:
    x = np.array(values, dtype=np.float64)
    bank = Difference(lag, order, 4, capacity=1)
    stream(bank, x[:12])
    ahead = batch_twin(x, lag, order)[12 - len(x) :]
    assert bank.invert_path(SLOT, ahead[None, :])[0].tolist() == x[12:].tolist()


@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=20, max_size=20),
    diffs=st.lists(st.floats(-1e6, 1e6), min_size=12, max_size=12),
    lag=lags,
    order=orders,
)
def test_a_path_is_one_inversion_after_another(values: list[float], diffs: list[float], lag: int, order: int) -> None:
    bank, stepped = Difference(lag, order, 4, capacity=1), Difference(lag, order, 4, capacity=1)
    stream(bank, np.array(values))
    stream(stepped, np.array(values))
    path = bank.invert_path(SLOT, np.array([diffs]))[0]
    for diff, value in zip(diffs, path, strict=True):
        assert stepped.invert(SLOT, np.array([diff]))[0] == pytest.approx(value, rel=1e-9, abs=1e-3)
        stepped.update(SLOT, np.array([value]))


def test_a_path_of_no_steps_is_empty() -> None:
    assert Difference(capacity=1).invert_path(SLOT, np.empty((1, 0))).shape == (1, 0)


@pytest.mark.parametrize("lag", [0, 5])
@pytest.mark.parametrize("order", [1, 3])
def test_short_history_gives_the_last_reading(lag: int, order: int) -> None:
    bank = Difference(lag, order, capacity=1)
    assert not bank.invertible(SLOT)[0]
    assert bank.invert(SLOT, np.array([9.0]))[0] == 0.0
    for i in range(lag + order):
        assert not bank.invertible(SLOT)[0]
        bank.update(SLOT, np.array([20.0 + i]))
        if not bank.invertible(SLOT)[0]:
            assert bank.invert_path(SLOT, np.array([[9.0, 1.0]]))[0].tolist() == [20.0 + i, 20.0 + i]
    assert bank.invertible(SLOT)[0]


def test_every_slot_has_its_own_order_and_changing_it_forgets_history() -> None:
    slots = np.arange(4, dtype=np.int32)
    bank = Difference(capacity=4)
    bank.set_order(slots, np.arange(4, dtype=np.int8))
    x = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0])
    for value in x:
        diff, ready = bank.update(slots, np.full(4, value))
    assert ready.all()
    assert diff.tolist() == [np.diff(x, n=d)[-1] for d in range(4)]
    bank.set_order(slots[2:3], 1)
    assert bank.invertible(slots).tolist() == [True, True, False, True]
    bank.restart(slots)
    assert bank.order.tolist() == [0, 1, 1, 3]
    assert bank.count.tolist() == [0] * 4


def test_huge_values_and_forecasts_stay_finite() -> None:
    bank = Difference(2, 4, 4, capacity=1)
    largest = np.finfo(np.float64).max
    for i in range(20):
        diff, _ = bank.update(SLOT, np.array([largest if i // 2 % 2 else -largest]))
        path = bank.invert_path(SLOT, np.full((1, 256), largest))
        assert np.isfinite(diff).all()
        assert np.isfinite(path).all()


@pytest.mark.parametrize("arguments", [(-1, 1, 3), (0, 4, 3), (0, -1, 3), (0, 1, 5)])
def test_arguments_out_of_range_are_refused(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Difference(*arguments)


@pytest.mark.parametrize("order", [-1, 4])
def test_an_order_out_of_range_is_refused(order: int) -> None:
    with pytest.raises(ValueError, match="expected 0 to 3"):
        Difference(capacity=1).set_order(SLOT, order)
