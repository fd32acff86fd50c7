"""Our exponential function is NumPy's, to single precision."""

import numpy as np

from stepahead.contract.compiled import compiled
from stepahead.contract.exponential import exp


@compiled
def each(x: np.ndarray, answer: np.ndarray) -> None:
    for i in range(len(x)):
        answer[i] = exp(x[i])


def test_it_is_numpys_to_two_in_ten_million() -> None:
    x = np.concatenate((np.linspace(-87, 88, 100_003), np.linspace(-1e-6, 1e-6, 11))).astype(np.float32)
    answer = np.empty_like(x)
    each(x, answer)
    np.testing.assert_allclose(answer, np.exp(x.astype(np.float64)), rtol=2e-7)


def test_it_stays_finite_and_positive() -> None:
    x = np.array([-np.inf, -1e30, -100.0, 100.0, 1e30, np.inf], np.float32)
    answer = np.empty_like(x)
    each(x, answer)
    assert np.isfinite(answer).all()
    assert (answer > 0).all()
    assert (np.diff(answer) >= 0).all()


def test_many_at_a_time_are_each_alone() -> None:
    x = np.random.default_rng(0).normal(size=37).astype(np.float32)
    together, alone = np.empty_like(x), np.empty(1, np.float32)
    each(x, together)
    for i in range(len(x)):
        each(x[i : i + 1].copy(), alone)
        assert alone[0] == together[i]
