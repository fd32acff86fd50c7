"""The season: the calendar's where it fits, what repeats where it does not, nothing where nothing repeats."""

import numpy as np
import pytest

from stepahead.experts.memory import Memory
from stepahead.experts.season import Season, calendar, repeating

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("period_s", "length", "daily"),
    [
        (3600.0, 24, True),
        (3600.9, 24, True),
        (1800.0, 48, True),
        (300.0, 288, True),
        (86400.0, 7, False),
        (1.0, 0, False),
        (7000.0, 0, False),
        (0.0, 0, False),
    ],
)
def test_the_calendar_fits_where_so_many_periods_make_a_day_or_a_week(
    period_s: float, length: int, daily: bool
) -> None:
    found, is_day = calendar(np.array([int(period_s * SECOND)]), 338)
    assert (found[0], is_day[0]) == (length, daily)


@pytest.mark.parametrize("lag", [5, 12, 50, 160])
def test_what_repeats_is_found(lag: int) -> None:
    random = np.random.default_rng(lag)
    shape = np.tile(random.normal(size=lag) * 3, 80)[:340]
    assert repeating((shape + random.normal(size=340) * 0.5)[None, :], np.array([340], dtype=np.int16))[0] == lag


def test_noise_and_walks_hardly_ever_repeat() -> None:
    random = np.random.default_rng(1)
    noise = random.normal(size=(200, 340))
    count = np.full(200, 340, dtype=np.int16)
    assert (repeating(noise, count) > 0).sum() == 0
    assert (repeating(noise.cumsum(axis=1), count) > 0).mean() < 0.2
    assert (repeating(np.zeros((200, 340)), count) == 0).all()


def test_a_series_of_unknown_period_gets_its_own_season_after_two_searches() -> None:
    random = np.random.default_rng(4)
    season, memory = Season(0, 340, capacity=1), Memory(340, capacity=1)
    slot, no = np.array([0]), np.array([False])
    found = []
    for t in range(900):
        value = np.array([10 * np.sin(2 * np.pi * t / 30) + random.normal()])
        memory.append(slot, value, np.array([1.5]), no)
        season.search(slot, memory)
        season.update(slot, np.array([SECOND]))
        found.append(int(season.length[0]))
    assert found[300] == 0
    assert found[-1] in (29, 30, 31)
    assert not season.daily[0]


def test_a_season_that_was_set_is_kept() -> None:
    season = Season(12, 340, capacity=2)
    assert season.update(np.array([0, 1]), np.array([3600 * SECOND, 0])).all()
    assert season.length.tolist() == [12, 12]
    assert not season.update(np.array([0, 1]), np.array([3600 * SECOND, 0])).any()
