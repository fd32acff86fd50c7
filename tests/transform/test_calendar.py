import datetime as dt
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepahead.transform.calendar import CALENDAR_FEATURES, calendar_features

HOUR = 3_600 * 10**9
DAY = 24 * HOUR


def features(time_ns: int, period: int = HOUR, span: int = 30 * DAY) -> list[float]:
    table = calendar_features(np.array([time_ns]), np.array([period]), np.array([span]))
    assert table.dtype == np.float32
    assert table.shape == (1, len(CALENDAR_FEATURES))
    row: list[float] = table[0].tolist()
    return row


@given(time_ns=st.integers(-(2**63), 2**63 - 1))
def test_the_angles_are_those_of_the_calendar(time_ns: int) -> None:
    moment = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=time_ns // 1000)
    midnight = dt.datetime.combine(moment.date(), dt.time())
    of_day = (moment - midnight) / dt.timedelta(days=1)
    of_week = (moment.weekday() + of_day) / 7
    angles = [2 * math.pi * of_day, 4 * math.pi * of_day, 2 * math.pi * of_week]
    expected = [f(angle) for angle in angles for f in (math.sin, math.cos)]
    assert features(time_ns) == pytest.approx(expected, abs=2e-7)


@pytest.mark.parametrize(
    ("period", "span", "day", "week"),
    [
        (6 * HOUR, 2 * DAY, True, False),
        (6 * HOUR + 1, 30 * DAY, False, True),
        (HOUR, 2 * DAY - 1, False, False),
        (HOUR, 14 * DAY - 1, True, False),
        (HOUR, 14 * DAY, True, True),
        (DAY, 14 * DAY, False, True),
        (DAY + 1, 99 * DAY, False, False),
        (0, 99 * DAY, False, False),
    ],
)
def test_only_a_series_that_can_know_them_gets_them(period: int, span: int, day: bool, week: bool) -> None:
    row = np.array(features(DAY + 5 * HOUR, period, span))
    assert (row[:4] != 0).all() == day
    assert (row[:4] == 0).all() != day
    assert (row[4:] != 0).all() == week
    assert (row[4:] == 0).all() != week
