"""Forecast first, learn after: not one row of the future leaks, and the test can tell."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from stepahead.contract.errors import BrokenLawError, UsageError
from stepahead.contract.records import Forecasts, Readings
from stepahead.contract.settings import EngineSettings, Settings
from stepahead.evaluation.evaluate import evaluate, scored_range
from stepahead.evaluation.prequential import Play, play_engine, settings_for_evaluation
from stepahead.evaluation.recording import Recording
from tests.evaluation.conftest import FakeEngine

MakeRecording = Callable[..., Recording]
SETTINGS = Settings()


def engines() -> list[Any]:
    if find_spec("stepahead.forecasting.engine") is None:
        return [FakeEngine]
    from stepahead.forecasting.engine import Engine  # type: ignore[import-not-found, unused-ignore]

    return [FakeEngine, Engine]


def play(recording: Recording, engine: Any) -> Play:
    settings = settings_for_evaluation(SETTINGS, recording, 0, False)
    running = engine(settings)
    try:
        return play_engine(recording, running, settings.interval.levels)
    finally:
        running.close()


def with_another_future(recording: Recording, row: int) -> Recording:
    value = recording.value.copy()
    value[row:] = 1000.0 - 3.0 * np.nan_to_num(value[row:])
    time_ns = recording.time_ns.copy()
    time_ns[row:] = time_ns[row - 1] + 7 * (1 + np.arange(len(time_ns) - row)) * 10**9
    return Recording(recording.name, recording.columns, time_ns, value)


def differs_before(one: Play, other: Play, row: int) -> bool:
    """Whether any forecast for a row up to and including `row`, which are made from rows before it, differs."""
    names = one.forecast.keys()
    pairs = [(one.forecast[n], other.forecast[n]) for n in names] + [(one.lower, other.lower), (one.upper, other.upper)]
    pairs += [(one.weights[n], other.weights[n]) for n in one.weights]
    return any(a[: row + 1].tobytes() != b[: row + 1].tobytes() for a, b in pairs)


class LeakyEngine(FakeEngine):
    """Has been shown the whole recording beforehand and lets a millionth of the next value through."""

    future: np.ndarray[Any, np.dtype[np.float64]]

    def step(self, readings: Readings) -> Forecasts:
        answer = super().step(readings)
        following = self.future[min(len(self.steps), len(self.future) - 1)]
        answer.value[:, 0] += 1e-6 * following
        return answer


@pytest.mark.parametrize("engine", engines(), ids=lambda e: e.__module__.rsplit(".", 1)[-1])
@pytest.mark.parametrize("row", [1, 30, 170, 239])
def test_not_one_row_of_the_future_leaks(make_recording: MakeRecording, engine: Any, row: int) -> None:
    recording = make_recording(rows=240, columns=2)
    assert not differs_before(play(recording, engine), play(with_another_future(recording, row), engine), row)


def test_a_leak_would_be_found(make_recording: MakeRecording) -> None:
    recording = make_recording(rows=60, missing=0.0)
    changed = with_another_future(recording, 30)

    def leaky(known: Recording) -> Any:
        def make(settings: Settings) -> LeakyEngine:
            engine = LeakyEngine(settings)
            engine.future = known.value[:, 0]
            return engine

        return make

    assert differs_before(play(recording, leaky(recording)), play(changed, leaky(changed)), 30)


def test_each_forecast_stands_beside_the_reading_it_was_made_for(make_recording: MakeRecording) -> None:
    recording = make_recording(missing=0.3)
    played = play(recording, FakeEngine)
    for column in range(3):
        rows = np.flatnonzero(recording.present[:, column])
        value = recording.value[rows, column]
        np.testing.assert_array_equal(played.forecast["lstm"][rows[2:], column], value[1:-1] + np.diff(value)[:-1])
        published = value[1:-1] + 0.5 * np.diff(value)[:-1]
        np.testing.assert_array_equal(played.forecast["stepahead"][rows[2:], column], published)
        np.testing.assert_array_equal(played.upper[rows[2:], column, 0], published + 1)
        assert np.isnan(played.forecast["stepahead"][: rows[0] + 1, column]).all()


def test_a_row_is_one_batch_of_its_finite_cells(make_recording: MakeRecording, engine_class: type[FakeEngine]) -> None:
    recording = make_recording(missing=0.5)
    played = play(recording, engine_class)
    engine = engine_class.made[0]
    batches = iter(engine.steps)
    for row in range(len(recording)):
        here = recording.value[row][recording.present[row]]
        if len(here):
            batch = next(batches)
            np.testing.assert_array_equal(batch.value, here)
            assert set(batch.time_ns.tolist()) == {row * 10**9}
    assert next(batches, None) is None
    assert played.readings == recording.present.sum()


def test_repeated_times_are_counted_and_keep_the_forecast_pending() -> None:
    recording = Recording("x", ("a",), np.array([0, 1, 1, 2]) * 10**9, np.array([[1.0], [2.0], [9.0], [3.0]]))
    played = play(recording, FakeEngine)
    assert played.refused == 1
    np.testing.assert_array_equal(played.forecast["lstm"][2:, 0], [3.0, 3.0])


def test_the_engine_is_deterministic_seeded_and_closed(
    make_recording: MakeRecording, engine_class: type[FakeEngine]
) -> None:
    recording = make_recording()
    evaluate(recording, SETTINGS, engine_class, scored_range(60, None, None), seed=5)
    engine = engine_class.made[0]
    assert engine.settings.engine.deterministic
    assert engine.settings.learning.seed == 5
    assert engine.closed


def test_a_group_is_made_of_the_columns(make_recording: MakeRecording, engine_class: type[FakeEngine]) -> None:
    evaluate(make_recording(), SETTINGS, engine_class, scored_range(60, None, None), group=True)
    engine = engine_class.made[0]
    (group,) = engine.settings.groups
    assert [f"{group.prefix}/{member}" for member in group.members] == list(engine.slots)


def test_a_group_of_one_is_refused(make_recording: MakeRecording) -> None:
    with pytest.raises(UsageError, match="--group: needs 2 to 64 columns"):
        evaluate(make_recording(columns=1), SETTINGS, FakeEngine, scored_range(60, None, None), group=True)


def test_more_columns_than_series_are_refused_and_the_engine_is_closed(
    make_recording: MakeRecording, engine_class: type[FakeEngine]
) -> None:
    settings = SETTINGS.model_copy(update={"engine": EngineSettings(max_series=2)})
    with pytest.raises(UsageError, match=r"engine\.max_series: 3 columns"):
        evaluate(make_recording(), settings, engine_class, scored_range(60, None, None))
    assert engine_class.made[0].closed


def test_a_forecast_that_is_not_finite_stops_loudly(make_recording: MakeRecording) -> None:
    class BrokenEngine(FakeEngine):
        def publish(self, slot: int) -> float:
            return float("nan")

    with pytest.raises(BrokenLawError, match="row 0"):
        play(make_recording(missing=0.0), BrokenEngine)


def test_rows_after_the_scored_range_are_not_played(make_recording: MakeRecording) -> None:
    done: list[int] = []
    result = evaluate(
        make_recording(missing=0.0), SETTINGS, FakeEngine, scored_range(60, 20, 50), peers=["holtwinters"],
        advance=done.append,
    )  # fmt: skip
    assert (result.play.readings, result.rows, sum(done)) == (150, 60, 100)
    assert result.scores.cells.sum() == 90


def test_speed_is_readings_by_seconds_in_the_engine(make_recording: MakeRecording) -> None:
    ticks = iter(float(i) for i in range(10_000))
    result = evaluate(
        make_recording(rows=10, columns=2, missing=0.0), SETTINGS, FakeEngine, scored_range(10, None, None),
        clock=lambda: next(ticks),
    )  # fmt: skip
    # The fake clock moves one second a look: one in the engine per row, 21 looks after the first in all.
    assert (result.play.seconds, result.readings_per_second, result.seconds) == (10.0, 2.0, 21.0)


@pytest.mark.parametrize(
    ("first", "end", "message"),
    [(100, None, "--score-from 100"), (-1, None, "--score-from -1"), (50, 50, "--score-from 50"),
     (None, 101, "--score-to 101: must be 1 to 100"), (None, 0, "--score-to 0")],
)  # fmt: skip
def test_a_scored_range_beyond_the_file_is_refused(first: int | None, end: int | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        scored_range(100, first, end)


def test_nothing_to_score_is_an_error() -> None:
    value = np.full((10, 1), np.nan)
    value[0] = 1.0
    with pytest.raises(UsageError, match="no reading to score in rows 2 to 9"):
        evaluate(Recording("x", ("a",), np.arange(10), value), SETTINGS, FakeEngine, scored_range(10, None, None))
