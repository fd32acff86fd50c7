"""The numbers behind the pictures have a batch twin; that the pictures are drawn is tested with the command."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from stepahead.contract.settings import IntervalSettings, Settings
from stepahead.evaluation.evaluate import Evaluation, evaluate, scored_range
from stepahead.evaluation.figures.calibration import rolling_coverage
from stepahead.evaluation.figures.drawing import draw_all
from stepahead.evaluation.figures.running_error import running_ratio
from stepahead.evaluation.figures.weights import mean_weights, whole_network
from stepahead.evaluation.page import report_page
from stepahead.evaluation.recording import Recording
from tests.evaluation.conftest import FakeEngine

MakeRecording = Callable[..., Recording]


def evaluated(recording: Recording, **settings: object) -> Evaluation:
    rows = len(recording)
    return evaluate(recording, Settings(**settings), FakeEngine, scored_range(rows, None, None), peers=["holtwinters"])


def test_the_running_ratio_ends_at_the_ratio_of_the_scores(make_recording: MakeRecording) -> None:
    evaluation = evaluated(make_recording(rows=200, columns=1, missing=0.2))
    for name, score in evaluation.scores.models.items():
        assert running_ratio(evaluation, name)[-1] == pytest.approx(score.mae_ratio)


def test_the_running_ratio_is_the_ratio_of_the_rows_so_far(make_recording: MakeRecording) -> None:
    recording = make_recording(rows=100, columns=1, missing=0.0)
    evaluation = evaluated(recording)
    error = np.abs(recording.value - evaluation.forecast["lstm"])[20:, 0]
    naive = np.abs(np.diff(recording.value[:, 0]))[19:]
    expected = [error[:n].sum() / naive[:n].sum() for n in range(1, 81)]
    np.testing.assert_allclose(running_ratio(evaluation, "lstm"), expected)


@pytest.mark.parametrize("block", [1, 7, 30, 31])
def test_rolling_coverage_is_the_rolling_mean_of_pandas(block: int) -> None:
    inside = np.random.default_rng(0).random((30, 1)) < 0.7
    expected = pd.Series(inside[:, 0].astype(float)).rolling(block).mean()
    np.testing.assert_allclose(rolling_coverage(inside, np.ones_like(inside), block), expected, atol=1e-12)


def test_weights_are_averaged_over_columns_and_blocks(make_recording: MakeRecording) -> None:
    evaluation = evaluated(make_recording(rows=60, missing=0.0))
    middle, names, mean = mean_weights(evaluation)
    assert (middle.tolist(), names) == (list(range(60)), ["persistence", "lstm"])
    assert np.isnan(mean[:, 0]).all()
    np.testing.assert_array_equal(mean[:, 1:], 0.5)


def test_the_networks_are_one_area() -> None:
    one = np.ones((2, 1), np.float32)
    summed = whole_network({"a": one, "lstm0": one, "lstm1": one, "lstm": 0 * one})
    assert {name: weight.tolist() for name, weight in summed.items()} == {"a": [[1], [1]], "lstm": [[2], [2]]}


@pytest.mark.parametrize(("rows", "levels"), [(6, (0.9,)), (120, (0.9, 0.5, 0.05))])
def test_recordings_short_flat_and_strange_are_drawn(rows: int, levels: tuple[float, ...]) -> None:
    value = np.column_stack([np.ones(rows), np.arange(rows) % 5 * 1e200, np.full(rows, np.nan)])
    recording = Recording("odd <b>", ("a b", "a/b: °C", "a/b"), np.arange(rows, dtype=np.int64) * 10**9, value)
    evaluation = evaluated(recording, interval=IntervalSettings(levels=levels))
    pictures = draw_all(evaluation)
    assert all(picture.png.startswith(b"\x89PNG") for picture in pictures)
    assert len({picture.name for picture in pictures}) == len(pictures)
    page = report_page(evaluation, pictures)
    assert "odd &lt;b&gt;" in page
    assert "<b>" not in page
