"""What a fine-tune is made from, as the engine draws it: windows as they were kept, and how they are read today.

Axes: N windows, G series of a unit, B = N·G sequences, T steps, K horizon. The engine decides which windows; turning
them into inputs is the larger part of the work and left to whoever fine-tunes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stepahead.contract.records import FloatArray, IntArray
from stepahead.learning.features import window_inputs
from stepahead.learning.tuner import Sequences, TuneRequest
from stepahead.network.ensemble import Weights
from stepahead.network.lstm import NetworkShape
from stepahead.replay.history import Windows

__all__ = ["Material", "Sample"]


@dataclass(frozen=True, slots=True)
class Sample:
    """Windows drawn, and today's view of their series.

    Attributes:
        windows: N of them.
        scale, center: float64[N, G], of each series' difference.
        last_ns: int64[N, G], time of each series' newest reading.
    """

    windows: Windows
    scale: FloatArray
    center: FloatArray
    last_ns: IntArray

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, rows: slice | IntArray) -> "Sample":
        return Sample(self.windows[rows], self.scale[rows], self.center[rows], self.last_ns[rows])


@dataclass(frozen=True, slots=True)
class Material:
    """All that one fine-tune needs, complete in itself.

    Attributes:
        cohort: name of the group whose network this is.
        number: running number of the fine-tune in its cohort, from 1.
        shape: sizes of the network.
        weights: champion, one dict a member.
        optimisers: AdamW's moments, one dict a member; empty before the first fine-tune.
        lessons: windows to train on, for one member after the other, step by step, equally many each.
        steps: gradient steps of a member.
        exam: each series' newest window.
        clip: standardized values are clipped to ± this.
        held_out: newest steps of a series: examined, never trained on.
        since_drift: running number since the last drift, from 1; None when there was none.
    """

    cohort: str
    number: int
    shape: NetworkShape
    weights: Sequence[Weights]
    optimisers: Sequence[Weights]
    lessons: Sample
    steps: int
    exam: Sample
    clip: float
    held_out: int
    since_drift: int | None = None

    def request(self) -> TuneRequest:
        """The fine-tune to be done: a function of what stands here alone, to the bit, wherever it is computed."""
        members = len(self.weights)
        each = len(self.lessons) // (members * self.steps)
        lessons = [
            self._sequences(self.lessons[at : at + each], exam=False) for at in range(0, len(self.lessons), each)
        ]
        return TuneRequest(
            self.cohort,
            self.number,
            self.shape,
            self.weights,
            self.optimisers,
            [lessons[m * self.steps : (m + 1) * self.steps] for m in range(members)],
            self._sequences(self.exam, exam=True),
            self.since_drift,
        )

    def _sequences(self, sample: Sample, exam: bool) -> Sequences:
        """Inputs and targets: an exam scores each series' newest steps, a lesson everything before."""
        windows = sample.windows
        inputs, diff = window_inputs(windows, sample.scale, sample.center, self.clip)  # [B, T, F], [B, T]
        B, T = diff.shape
        members, horizon = windows.series.shape[1], self.shape.horizon
        end_ns = np.repeat(windows.end_ns, members)
        period_ns = np.maximum(np.repeat(windows.period_ns, members), 1)
        age = (sample.last_ns.ravel() - end_ns) // period_ns  # [B], steps from the window's end to now
        age = np.minimum(age, 1 << 30)
        targets = np.zeros((B, T - 1, horizon), np.float32)
        weight = np.zeros((B, T - 1, horizon), np.float32)
        for k in range(horizon):
            targets[:, : T - 1 - k, k] = diff[:, 1 + k :]
            steps_to_now = age[:, None] + np.arange(T - 2 - k, -1, -1)  # [B, T - 1 - k]
            newest = steps_to_now < self.held_out
            weight[:, : T - 1 - k, k] = newest if exam else ~newest
        return Sequences(inputs[:, :-1], windows.series.ravel().astype(np.int64), targets, weight)
