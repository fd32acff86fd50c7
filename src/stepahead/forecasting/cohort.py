"""A cohort: the series that share a network, with everything that learns for them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from stepahead.contract.records import BoolArray, FloatArray, SlotArray
from stepahead.contract.settings import Settings
from stepahead.forecasting.hibernation import Hibernation
from stepahead.forecasting.hidden import HiddenStates, spread_of
from stepahead.forecasting.hindsight import past_context
from stepahead.forecasting.residence import Residence
from stepahead.forecasting.series import SeriesTable
from stepahead.learning.drift import DriftDetector
from stepahead.learning.features import CONTEXT, feature_count, season_steps, window_inputs
from stepahead.learning.gate import Verdict
from stepahead.learning.material import Material, Sample
from stepahead.learning.schedule import Schedule, interval
from stepahead.learning.tuner import TuneResult
from stepahead.network.device_ensemble import DeviceEnsemble
from stepahead.network.ensemble import Ensemble, Weights
from stepahead.network.lstm import NetworkShape
from stepahead.replay.buffer import ReplayBuffer
from stepahead.replay.history import History, Standing, Windows
from stepahead.transform.cadence import Cadence
from stepahead.transform.calendar import DAY_NS, WEEK_NS
from stepahead.transform.compress import Compress
from stepahead.transform.difference import Difference
from stepahead.transform.standardize import Standardizer

__all__ = ["EXAMINED_UNITS", "Banks", "Cohort", "Tally", "cohorts_of", "members_of"]

OVERLAP = 4
"""Windows of a series start a quarter of a window apart, so each step is learned from in four positions."""
SIGNAL_READINGS = 16
SIGNALS_PER_TURN = 4
"""Errors averaged to one signal for the drift detector: 16, and a quarter of the series where that is more. The
detector takes some microseconds a signal; at 10,000 series it was 5% of a step with 16."""
NEW_WINDOWS = 2000
"""Windows of a series start farther apart where more than twice so many would be completed from one fine-tune to the
next: one draws 768, and cutting those of every twelfth series a round was 9% of a step."""
EXAMINED_UNITS = 64


@dataclass(frozen=True, slots=True)
class Banks:
    """The engine's banks that a cohort reads, and how it bounds what it makes of them."""

    residence: Residence
    cadence: Cadence
    compress: Compress
    difference: Difference
    scaler: Standardizer
    level: Standardizer
    history: History
    hidden: HiddenStates
    clip: float


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
        device: where its network is stepped; None = by the compiled loops.
    """

    def __init__(
        self, name: str, members: int, settings: Settings, number: int, device: torch.device | None = None
    ) -> None:
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
        if device is None:
            self.ensemble = Ensemble(self.shape, network.members, seed, fixed_blocks=settings.engine.deterministic)
        else:
            self.ensemble = DeviceEnsemble(self.shape, network.members, seed, device)
        self.replay = ReplayBuffer(members, learning.window_steps, len(CONTEXT), settings.replay.max_bytes, seed)
        self.schedule = Schedule(learning)
        self.drift = DriftDetector()
        self.tally = Tally()
        self.series = 0
        self._generator = np.random.Generator(np.random.PCG64(seed + 1))
        self._optimisers: list[Weights] = []
        self._errors = np.empty(0)
        self._added_at_drift = 0
        # These change only where a fine-tune is due, so that they do not depend on how batches are cut.
        self._thinning = 1
        self._spread = 1

    @property
    def stride(self) -> int:
        """Steps between the starts of two windows of a series."""
        return self._densest * self._thinning

    @property
    def thinning(self) -> int:
        """How many times farther apart windows shall start, from the next fine-tune on."""
        readings = interval(self._settings.learning.every, self.series)
        return max(1, readings // (self.members * self._densest * NEW_WINDOWS))

    @property
    def _densest(self) -> int:
        return max(1, self._settings.learning.window_steps // OVERLAP)

    def due(self, units: SlotArray, banks: Banks) -> BoolArray:
        """Which units have just completed a window; they come up in turn, not together."""
        return banks.history.complete(units, self.members, self.stride, banks.residence.series[units])

    def observe_errors(self, scaled: FloatArray) -> None:
        """Note the errors of readings, in units of their series' usual error, in order of arrival; NaN: not known."""
        if self._settings.learning.drift:
            self._errors = np.concatenate((self._errors, scaled[~np.isnan(scaled)]))

    def look_for_drift(self, position: int) -> bool:
        """Feed what was noted to the drift detector; whether it found one, which brings the next fine-tune forward."""
        each = max(SIGNAL_READINGS, self.series // SIGNALS_PER_TURN)
        signals = len(self._errors) // each
        if not signals:
            return False
        head = self._errors[: signals * each].reshape(signals, each)
        self._errors = self._errors[signals * each :]
        drifts = sum(self.drift.update(head.mean(axis=1)))
        if drifts:
            self.tally.drifts += drifts
            if not self.schedule.hurried:
                self._added_at_drift = self.replay.added
            self.schedule.drifted(position, self.series)
        return drifts > 0

    def draw(self, banks: Banks, units: SlotArray, hibernation: Hibernation) -> Material | None:
        """Draw the material of the next fine-tune; None while there is nothing to learn from.

        Args:
            banks: of the engine, as they stand now.
            units: int32[U], first slots of this cohort's units that are not silent.
            hibernation: knows of those that are away, too.
        """
        self._thinning = self.thinning
        self._spread = spread_of(self.series)
        exam_units = self.complete(units, banks.history)
        if not len(self.replay) or not len(exam_units):
            return None
        learning, replay = self._settings.learning, self._settings.replay
        self.tally.begun += 1
        recent, recent_share = len(units) * -(-replay.recent_steps // self.stride), replay.recent_share
        if self.schedule.hurried:  # after a drift only what came since is worth learning
            recent, recent_share = self._windows_since_drift(), 1.0
        lessons = self.replay.sample(
            -(-learning.windows // self.members), recent_share, recent, batches=self.ensemble.members * learning.steps
        )
        chosen = self._generator.permutation(len(exam_units))[:EXAMINED_UNITS]
        exam = newest_windows(exam_units[np.sort(chosen)], self.members, banks)
        return self.material(sample_of(lessons, hibernation), sample_of(exam, hibernation), self.schedule.since_drift)

    def material(self, lessons: Sample, exam: Sample, since_drift: int | None) -> Material:
        """The material of a fine-tune of today's weights with these windows."""
        learning = self._settings.learning
        return Material(
            self.name,
            self.tally.begun,
            self.shape,
            self.ensemble.weights,
            self._optimisers,
            lessons,
            learning.steps,
            exam,
            self._settings.transform.clip,
            learning.held_out,
            since_drift,
        )

    def _windows_since_drift(self) -> int:
        """Windows that reach past the change: those that were completed since it was found, and one a unit before."""
        return self.replay.added - self._added_at_drift + self.series // (self.members * self._thinning)

    def take_over(self, weights: Sequence[Weights], version: int) -> None:
        """Swap in weights that were learned and let in elsewhere; never older ones than ours."""
        if version > self.ensemble.version:
            self.ensemble.adopt(weights, version)
            self.tally.adopted += 1

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

    def renew(self, banks: Banks, units: SlotArray) -> None:
        """Make hidden states anew where it is the turn of their units: what today's weights make of a window's steps.

        The newest step is left out: it has been noted and is about to be taken. A unit whose run is shorter than a
        window keeps its states until it is long enough.

        Args:
            banks: of the engine; each unit's newest step is in the history.
            units: int32[U], first slots of units that speak and whose states began under other weights.
        """
        units = self.complete(units[in_turn(units, banks, self._spread)], banks.history)
        if not len(units):
            return
        windows = newest_windows(units, self.members, banks)
        slots, shape = members_of(units, self.members).ravel(), windows.series.shape
        scale, center = banks.scaler.scale(slots).reshape(shape), banks.scaler.center(slots).reshape(shape)
        inputs, _ = window_inputs(windows, scale, center, banks.clip)
        self.ensemble.rerun(np.ascontiguousarray(inputs[:, :-1]), windows.series.ravel(), banks.hidden.state, slots)
        banks.hidden.version[slots] = self.ensemble.version

    def complete(self, units: SlotArray, history: History) -> SlotArray:
        """Those units whose members all have a window's run."""
        return np.asarray(units[history.complete(units, self.members)])

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
            "added_at_drift": self._added_at_drift,
            "thinning": self._thinning,
            "spread": self._spread,
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
        self._added_at_drift = int(state["added_at_drift"])
        self._thinning = int(state["thinning"])
        self._spread = int(state["spread"])


def cohorts_of(settings: Settings, table: SeriesTable, device: torch.device | None = None) -> list[Cohort]:
    """The default cohort, and one for each declared group; see `Cohort` for the device."""
    names = ["default", *(group.name for group in settings.groups)]
    return [Cohort(name, table.members_of(number), settings, number, device) for number, name in enumerate(names)]


def newest_windows(units: SlotArray, members: int, banks: Banks) -> Windows:
    """Cut the newest window of each of these units out of their history."""
    cadence, history = banks.cadence, banks.history
    together = members_of(units, members)
    slots = together.ravel()
    last = banks.compress.apply(cadence.last_value[slots])
    seasons = (season_steps(span_ns, cadence.period_ns(slots), history.memory) for span_ns in (DAY_NS, WEEK_NS))
    past = history.differences(slots, Standing(last, banks.difference.order[slots]), *seasons)
    context = past_context(history, slots, last, past[0], banks.scaler, banks.level, banks.clip)
    diff, day, week, profile = (column.reshape(*together.shape, history.steps) for column in past)
    return Windows(
        series=banks.residence.series[together],
        end_ns=cadence.last_ns[units],
        period_ns=cadence.period_ns(units),
        span_ns=cadence.span_ns(units),
        diff=diff,
        day=day,
        week=week,
        profile=profile,
        context=context.reshape(*together.shape, *context.shape[1:]),
    )


def members_of(units: SlotArray, members: int) -> SlotArray:
    """Slots of the members of units, int32[U, G], from the first one of each."""
    return np.asarray(units[:, None] + np.arange(members, dtype=np.int32))


def in_turn(units: SlotArray, banks: Banks, every: int) -> BoolArray:
    """Of which units it is the turn, where it is that of each at one in so many of its steps, not of all together."""
    return np.asarray((banks.history.cursor[units] + banks.residence.series[units] * 7) % every == 0)


def sample_of(windows: Windows, hibernation: Hibernation) -> Sample:
    """Windows with today's view of their series."""
    scale, center, last_ns = hibernation.standing(windows.series.ravel())
    shape = windows.series.shape
    return Sample(windows, scale.reshape(shape), center.reshape(shape), last_ns.reshape(shape))


def _chosen(verdict: Verdict, new: Sequence[Weights], old: Sequence[Weights]) -> list[Weights]:
    return [new[m] if adopt else old[m] for m, adopt in enumerate(verdict.adopt)]


def _in_order(members: dict[str, Weights]) -> list[Weights]:
    return [dict(members[str(m)]) for m in range(len(members))]
