import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stepahead.forecasting.rounds import split_rounds


@given(st.lists(st.integers(0, 5), max_size=40))
def test_every_reading_is_in_one_round_no_series_twice_and_order_is_kept(series: list[int]) -> None:
    slots = np.array(series, np.int32)
    rounds = split_rounds(slots, slots, np.zeros(len(slots), np.int64))
    assert sorted(np.concatenate([*rounds, np.arange(0)]).tolist()) == list(range(len(slots)))
    seen: dict[int, list[int]] = {}
    for rows in rounds:
        assert len(set(slots[rows].tolist())) == len(rows)
        assert (np.diff(rows) > 0).all()
        for row in rows:
            seen.setdefault(int(slots[row]), []).append(int(row))
    assert all(rows == sorted(rows) for rows in seen.values())
    assert len(rounds) == max((series.count(s) for s in set(series)), default=0)


def test_members_of_a_unit_with_one_time_share_a_round() -> None:
    #                  unit 0 (slots 0-2), unit 3 (slot 3)
    slots = np.array([0, 1, 2, 3, 0, 1, 3, 0, 0], np.int32)
    unit = np.array([0, 0, 0, 3, 0, 0, 3, 0, 0], np.int32)
    times = np.array([1, 1, 1, 1, 2, 2, 2, 3, 3])
    rounds = [rows.tolist() for rows in split_rounds(slots, unit, times)]
    assert rounds == [[0, 1, 2, 3], [4, 5, 6], [7], [8]]


def test_a_member_that_speaks_twice_at_one_time_goes_to_the_next_round() -> None:
    slots = np.array([0, 1, 0, 1], np.int32)
    unit = np.zeros(4, np.int32)
    assert [r.tolist() for r in split_rounds(slots, unit, np.ones(4, np.int64))] == [[0, 1], [2, 3]]
