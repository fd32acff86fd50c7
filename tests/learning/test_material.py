"""Material is what the engine draws; what the networks are shown is computed from it, anywhere, to the same bits."""

from dataclasses import replace

import numpy as np
import pytest

from stepahead.learning.features import window_inputs
from tests.learning.drawn import END_NS, MINUTE_NS, material, noise

STEPS = 16


@pytest.mark.parametrize("members", [1, 3])
def test_lessons_are_cut_in_order_and_standardized_by_todays_scale(members: int) -> None:
    drawn = material(count=5, steps=STEPS, members=members)
    request = drawn.request()
    assert [len(batches) for batches in request.batches] == [2, 2]
    lessons = drawn.lessons
    inputs, diff = window_inputs(lessons.windows, lessons.scale, lessons.center, clip=8.0)
    for number, batch in enumerate(batch for batches in request.batches for batch in batches):
        mine = slice(number * 5 * members, (number + 1) * 5 * members)
        np.testing.assert_array_equal(batch.inputs, inputs[mine, :-1])
        np.testing.assert_array_equal(batch.targets[:, :, 0], diff[mine, 1:])
        np.testing.assert_array_equal(batch.series, lessons.windows.series.reshape(-1)[mine])
    raw = lessons.windows.diff / lessons.scale[..., None]
    np.testing.assert_allclose(diff, np.clip(raw, -8, 8).reshape(diff.shape), rtol=1e-6)


def test_the_newest_steps_are_examined_and_everything_before_is_learned() -> None:
    """A step counts by its distance from its series' newest reading, whichever window it lies in."""
    rng = np.random.default_rng(1)
    sample = noise(rng, 8, STEPS)
    age = np.arange(8)  # steps from a window's end to its series' newest reading
    windows = replace(sample.windows, end_ns=END_NS - MINUTE_NS * age)
    sample = replace(sample, windows=windows)
    drawn = replace(material(count=2, steps=STEPS), lessons=sample, exam=sample, held_out=4)
    request = drawn.request()
    to_now = age[:, None] + np.arange(STEPS - 2, -1, -1)
    examined = request.exam.weight[:, :, 0] == 1
    np.testing.assert_array_equal(examined, to_now < 4)
    learned = np.concatenate([batch.weight[:, :, 0] for batches in request.batches for batch in batches]) == 1
    np.testing.assert_array_equal(learned, ~examined)


def test_targets_beyond_the_window_are_not_scored() -> None:
    drawn = material(steps=STEPS)
    shape = replace(drawn.shape, horizon=3)
    exam = replace(drawn, shape=shape, held_out=STEPS).request().exam
    for k in range(3):
        assert (exam.weight[:, STEPS - 1 - k :, k] == 0).all()
        np.testing.assert_array_equal(exam.targets[:, : STEPS - 1 - k, k], exam.targets[:, k:, 0][:, : STEPS - 1 - k])
