"""A cohort: the series that share a network, with everything that learns for them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.records import FloatArray, SlotArray
from stepahead.contract.settings import Settings
from stepahead.forecasting.features import CONTEXT, feature_count, season_steps, window_inputs
from stepahead.learning.drift import DriftDetector
from stepahead.learning.gate import Verdict
from stepahead.learning.schedule import Schedule
from stepahead.learning.tuner import Sequences, TuneRequest, TuneResult
from stepahead.network.ensemble import Ensemble, Weights
from stepahead.network.lstm import NetworkShape
from stepahead.replay.buffer import ReplayBuffer
from stepahead.replay.history import History, Windows
from stepahead.transform.cadence import Cadence
from stepahead.transform.calendar import DAY_NS, WEEK_NS
from stepahead.transform.standardize import Standardizer

__all__ = ["Banks", "Cohort", "Tally"]

OVERLAP = 4
"""Windows of a series start a quarter of a window apart, so each step is learned from in four positions."""
SIGNAL_READINGS = 16
"""Errors averaged to one signal for the drift detector: it costs about a microsecond a signal."""
EXAMINED_UNITS = 64
RECOMPUTED_SERIES = 1024
"""Most series whose hidden state is recomputed at an adoption. Beyond, states of the old weights live on under the
new ones, which a few small gradient steps have moved little, and fade within the LSTM's own memory."""


@dataclass(frozen=True, slots=True)
class Banks:
    """The engine's banks that a cohort reads."""

    cadence: Cadence
    scaler: Standardizer
    history: History
    hidden: NDArray[np.float32]


@dataclass(slots=True)
class Tally:
    """Fine-tunes by result, and drifts found."""

    begun: int = 0
    adopted: int = 0
    rejected: int = 0
    failed: int = 0
    drifts: int = 0


class Cohort:
    """One network with its replay buffer, schedule, drift detector and optimiser.

    Args:
        name: the group's name, or "default".
        members: G, series of a unit.
        settings: of the engine.
        number: 0 for the default cohort; separates the seeds.
    """

    def __init__(self, name: str, members: int, settings: Settings, number: int) -> None:
        learning, network = settings.learning, settings.network
        seed = learning.seed + 1_000_003 * number
        self.name = name
        self.members = members
        self._settings = settings
        self.shape = NetworkShape(
            features=feature_count(members),
            hidden=network.hidden,
            layers=network.layers,
            embedding=network.embedding,
            horizon=network.horizon,
        )
        self.ensemble = Ensemble(self.shape, network.members, seed, fixed_blocks=settings.engine.deterministic)
        self.replay = ReplayBuffer(members, learning.window_steps, len(CONTEXT), settings.replay.max_bytes, seed)
        self.schedule = Schedule(learning)
        self.drift = DriftDetector()
        self.tally = Tally()
        self.series = 0
        self._generator = np.random.Generator(np.random.PCG64(seed + 1))
        self._optimisers: list[Weights] = []
        self._errors = np.empty(0)

    @property
    def stride(self) -> int:
        """Steps between the starts of two windows of a series."""
        return max(1, self._settings.learning.window_steps // OVERLAP)

    def due(self, units: SlotArray, history: History) -> SlotArray:
        """Those units that have just completed a window; they come up in turn, not together."""
        turn = (history.cursor[units] + units * 7) % self.stride == 0
        return self.complete(units[turn], history)

    def observe_errors(self, scaled: FloatArray) -> None:
        """Note the errors of scored readings, in units of their series' usual error, in order of arrival."""
        if self._settings.learning.drift and len(scaled):
            self._errors = np.concatenate((self._errors, scaled))

    def look_for_drift(self, position: int) -> None:
        """Feed what was noted to the drift detector; a drift brings the next fine-tune forward."""
        signals = len(self._errors) // SIGNAL_READINGS
        if not signals:
            return
        head = self._errors[: signals * SIGNAL_READINGS].reshape(signals, SIGNAL_READINGS)
        self._errors = self._errors[signals * SIGNAL_READINGS :]
        drifts = sum(self.drift.update(head.mean(axis=1)))
        if drifts:
            self.tally.drifts += drifts
            self.schedule.drifted(position, self.series)

    def request(self, banks: Banks, units: SlotArray) -> TuneRequest | None:
        """Draw the material of the next fine-tune; None while there is nothing to learn from.

        Args:
            banks: of the engine, as they stand now.
            units: int32[U], first slots of this cohort's units.
        """
        exam_units = self.complete(units, banks.history)
        if not len(self.replay) or not len(exam_units):
            return None
        learning, replay = self._settings.learning, self._settings.replay
        self.tally.begun += 1
        networks, steps = self.ensemble.members, learning.steps
        each = -(-learning.windows // self.members)
        recent = len(units) * -(-replay.recent_steps // self.stride)
        batches = [
            [
                self._sequences(self.replay.sample(each, replay.recent_share, recent), banks, exam=False)
                for _ in range(steps)
            ]
            for _ in range(networks)
        ]
        chosen = self._generator.permutation(len(exam_units))[:EXAMINED_UNITS]
        exam = self._sequences(newest_windows(exam_units[np.sort(chosen)], self.members, banks), banks, exam=True)
        return TuneRequest(
            self.name, self.tally.begun, self.shape, self.ensemble.weights, self._optimisers, batches, exam
        )

    def adopt(self, result: TuneResult, verdict: Verdict) -> None:
        """Swap in the members that passed the gate, with their optimisers."""
        if not verdict.any:
            if result.gave_up:
                self.tally.failed += 1
            else:
                self.tally.rejected += 1
            return
        old_optimisers = self._optimisers or [{} for _ in verdict.adopt]
        self._optimisers = _chosen(verdict, result.optimisers, old_optimisers)
        weights = _chosen(verdict, result.weights, self.ensemble.weights)
        self.ensemble.adopt(weights, self.ensemble.version + 1)
        self.tally.adopted += 1

    def recompute_hidden(self, banks: Banks, units: SlotArray) -> None:
        """Run the new weights over each series' newest steps, from a blank state to today's.

        A series whose run is shorter than a window keeps its state: it came from the old weights less than a window
        of steps ago and is replaced at the next adoption.
        """
        units = self.complete(units, banks.history)
        if not len(units) or len(units) * self.members > RECOMPUTED_SERIES:
            return
        windows = newest_windows(units, self.members, banks)
        scale, center = self._scales(windows, banks)
        inputs, _ = window_inputs(windows, scale, center, self._settings.transform.clip)
        slots = windows.series.ravel()
        banks.hidden[slots] = self.ensemble.run(inputs, slots)

    def complete(self, units: SlotArray, history: History) -> SlotArray:
        """Those units whose members all have a window's run."""
        runs = history.run[units[:, None] + np.arange(self.members)]
        return np.asarray(units[(runs >= history.steps).all(axis=1)])

    def _scales(self, windows: Windows, banks: Banks) -> tuple[FloatArray, FloatArray]:
        slots = windows.series.ravel()
        shape = windows.series.shape
        return banks.scaler.scale(slots).reshape(shape), banks.scaler.center(slots).reshape(shape)

    def _sequences(self, windows: Windows, banks: Banks, exam: bool) -> Sequences:
        """Inputs and targets of windows: an exam scores each series' newest steps, training everything before."""
        scale, center = self._scales(windows, banks)
        inputs, diff = window_inputs(windows, scale, center, self._settings.transform.clip)  # [B, T, F], [B, T]
        B, T = diff.shape
        horizon, held_out = self.shape.horizon, self._settings.learning.held_out
        slots = windows.series.ravel()
        end_ns = np.repeat(windows.end_ns, self.members)
        period_ns = np.maximum(np.repeat(windows.period_ns, self.members), 1)
        age = (banks.cadence.last_ns[slots] - end_ns) // period_ns  # [B], steps from the window's end to now
        age = np.minimum(age, 1 << 30)
        targets = np.zeros((B, T - 1, horizon), np.float32)
        weight = np.zeros((B, T - 1, horizon), np.float32)
        for k in range(horizon):
            targets[:, : T - 1 - k, k] = diff[:, 1 + k :]
            steps_to_now = age[:, None] + np.arange(T - 2 - k, -1, -1)  # [B, T - 1 - k]
            newest = steps_to_now < held_out
            weight[:, : T - 1 - k, k] = newest if exam else ~newest
        return Sequences(inputs[:, :-1], slots.astype(np.int64), targets, weight)

    def state_dict(self) -> dict[str, Any]:
        """Everything that learns, generators included."""
        return {
            "weights": {str(m): dict(member) for m, member in enumerate(self.ensemble.weights)},
            "optimisers": {str(m): dict(member) for m, member in enumerate(self._optimisers)},
            "version": self.ensemble.version,
            "replay": self.replay.state_dict(),
            "schedule": self.schedule.state_dict(),
            "drift": self.drift.state_dict(),
            "tally": asdict(self.tally),
            "series": self.series,
            "generator": json.dumps(self._generator.bit_generator.state),
            "errors": self._errors.copy(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.ensemble.adopt(_in_order(state["weights"]), int(state["version"]))
        self._optimisers = _in_order(state["optimisers"])
        self.replay.load_state_dict(state["replay"])
        self.schedule.load_state_dict(state["schedule"])
        self.drift.load_state_dict(state["drift"])
        self.tally = Tally(**state["tally"])
        self.series = int(state["series"])
        self._generator.bit_generator.state = json.loads(state["generator"])
        self._errors = np.array(state["errors"])


def newest_windows(units: SlotArray, members: int, banks: Banks) -> Windows:
    """Cut the newest window of each of these units out of their history."""
    cadence, history = banks.cadence, banks.history
    period_ns = cadence.period_ns(units)
    return history.windows(
        (units[:, None] + np.arange(members)).astype(np.int32),
        end_ns=cadence.last_ns[units],
        period_ns=period_ns,
        span_ns=cadence.span_ns(units),
        day_steps=season_steps(DAY_NS, period_ns, history.memory),
        week_steps=season_steps(WEEK_NS, period_ns, history.memory),
    )


def _chosen(verdict: Verdict, new: Sequence[Weights], old: Sequence[Weights]) -> list[Weights]:
    return [new[m] if adopt else old[m] for m, adopt in enumerate(verdict.adopt)]


def _in_order(members: dict[str, Weights]) -> list[Weights]:
    return [dict(members[str(m)]) for m in range(len(members))]
