"""The season: the calendar's where it fits, what repeats where it does not, nothing where nothing repeats."""

import numpy as np
import pytest

from stepahead.contract.changes import Changes
from stepahead.contract.records import FloatArray
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
    assert calendar(int(period_s * SECOND), 338) == (length, daily)


def repeats_at(values: FloatArray) -> int:
    return int(repeating(values.astype(np.float32), np.empty(172, np.float32)))


@pytest.mark.parametrize("lag", [5, 12, 50, 160])
def test_what_repeats_is_found(lag: int) -> None:
    random = np.random.default_rng(lag)
    shape = np.tile(random.normal(size=lag) * 3, 80)[:340]
    assert repeats_at(shape + random.normal(size=340) * 0.5) == lag
    # Whatever it drifts along, and where it stands.
    assert repeats_at(shape + random.normal(size=340) * 0.5 + np.arange(340) / 10 + 1000) == lag


def test_what_repeats_is_found_in_what_is_there() -> None:
    wave = np.sin(np.arange(100) * 2 * np.pi / 20)
    assert repeats_at(wave) == 20
    assert repeats_at(wave[:39]) == 0  # less than two of it


def test_noise_and_walks_hardly_ever_repeat() -> None:
    noise = np.random.default_rng(1).normal(size=(200, 340))
    assert not any(repeats_at(row) for row in noise)
    assert np.mean([repeats_at(row) > 0 for row in noise.cumsum(axis=1)]) < 0.2
    assert repeats_at(np.zeros(340)) == 0


def test_a_series_of_unknown_period_gets_its_own_season_after_two_searches() -> None:
    random = np.random.default_rng(4)
    season, changes = Season(0, 340, capacity=1), Changes(340, capacity=1)
    slot, before, found = np.array([0]), np.zeros(1), []
    for t in range(900):
        value = np.array([10 * np.sin(2 * np.pi * t / 30) + random.normal()])
        changes.append(slot, value - before, np.array([t == 0]))
        season.search(slot, changes, value, np.array([t == 0]))
        before = value
        season.update(slot, np.array([SECOND]))
        found.append(int(season.length[0]))
    assert found[330] == 0
    assert found[-1] in (29, 30, 31)
    assert not season.daily[0]


def test_a_season_that_was_set_is_kept() -> None:
    season = Season(12, 340, capacity=2)
    assert season.update(np.array([0, 1]), np.array([3600 * SECOND, 0])).all()
    assert season.length.tolist() == [12, 12]
    assert not season.update(np.array([0, 1]), np.array([3600 * SECOND, 0])).any()
