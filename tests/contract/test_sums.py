"""Sums of several terms at a time are the sums of one after the other, and depend on their number alone."""

import numpy as np
import pytest

from stepahead.contract.sums import product


@pytest.mark.parametrize("number", [0, 1, 7, 8, 9, 31, 32, 33, 100, 1000])
def test_it_is_the_scalar_product(number: int) -> None:
    rng = np.random.default_rng(number)
    a, b = rng.normal(size=(2, number))
    assert product(a, b, number, 2.0) == pytest.approx(2.0 + a @ b, abs=1e-12)
    single = product(a.astype(np.float32), b.astype(np.float32), number, np.float32(2.0))
    assert single == pytest.approx(2.0 + a @ b, abs=1e-4)


def test_where_the_numbers_lie_does_not_matter_to_the_bit() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 53)).astype(np.float32)
    answers = set()
    for shift in range(40):
        room = rng.normal(size=(2, 120)).astype(np.float32)
        room[0, shift : shift + 53], room[1, 40 - shift : 93 - shift] = a, b
        answers.add(float(product(room[0, shift:], room[1, 40 - shift :], 53, np.float32(0.0))))
    assert len(answers) == 1
