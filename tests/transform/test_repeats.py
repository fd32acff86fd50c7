"""Runs of equal values are counted per series, from the second value on, up to a bound."""

from itertools import groupby

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stepahead.transform.repeats import MOST, Repeats


@given(st.lists(st.sampled_from([0.0, 1.0, -2.5]), min_size=1, max_size=40))
def test_runs_are_those_of_groupby(values: list[float]) -> None:
    repeats, slot = Repeats(capacity=1), np.array([0], np.int32)
    same = [now == before for before, now in zip([None, *values], values, strict=False)]
    got = [int(repeats.update(slot, np.array([again]))[0]) for again in same]
    assert got == [place for _, group in groupby(values) for place, _ in enumerate(group)]


def test_a_run_is_counted_up_to_its_bound_and_ends_with_the_series() -> None:
    repeats, slot = Repeats(capacity=1), np.array([0], np.int32)
    for _ in range(MOST + 50):
        run = repeats.update(slot, np.array([True]))
    assert run.tolist() == [MOST]
    repeats.reset(slot)
    assert repeats.update(slot, np.array([False])).tolist() == [0]
    assert repeats.update(slot, np.array([True])).tolist() == [1]


@given(st.lists(st.tuples(*[st.booleans()] * 3), min_size=1, max_size=20))
def test_series_together_equal_each_alone(rows: list[tuple[bool, ...]]) -> None:
    together, alone = Repeats(capacity=3), [Repeats(capacity=1) for _ in range(3)]
    for row in np.array(rows):
        runs = together.update(np.arange(3, dtype=np.int32), row)
        for column, one in enumerate(alone):
            assert one.update(np.array([0], np.int32), row[column : column + 1])[0] == runs[column]
