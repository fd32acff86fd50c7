"""The network's way of seeing a series: difference, standardize, LSTM with carried state, and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column, Composite
from stepahead.contract.records import BoolArray, FloatArray, IntArray, SlotArray
from stepahead.contract.settings import Settings
from stepahead.forecasting.cohort import Banks, Cohort, newest_windows
from stepahead.forecasting.features import CONTEXT, bounded_ratio, season_steps, step_inputs
from stepahead.forecasting.series import SeriesTable
from stepahead.replay.history import History, Windows
from stepahead.transform.cadence import Cadence
from stepahead.transform.calendar import DAY_NS, WEEK_NS
from stepahead.transform.compress import Compress
from stepahead.transform.difference import Difference
from stepahead.transform.levels import SPANS, Levels
from stepahead.transform.standardize import standardizer
from stepahead.transform.stationarity import OrderDecision, choose_order

__all__ = ["NetworkAnswer", "Pipeline", "Turn"]

READINGS_PER_DECISION = 1000
"""Live, one order of differencing is decided per so many readings (`transform.order = "auto"`): the two tests take
milliseconds a series."""


DISTANCE_UNITS = np.sqrt(np.array(SPANS) / 4)
"""A random walk's distance from a running level of span s has this deviation, in units of its change's."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One accepted reading of each of n distinct series.

    Attributes:
        rows: int[n], rows of the batch.
        slots: int32[n].
        time_ns: int64[n].
        value: float64[n], sensor's unit.
        elapsed: float64[n], periods since the reading before.
        gap: bool[n], whether a gap came before.
        reset: bool[n], whether it was so long that dynamics start anew.
        period_ns: int64[n], 0 = unknown.
    """

    rows: NDArray[np.intp]
    slots: SlotArray
    time_ns: IntArray
    value: FloatArray
    elapsed: FloatArray
    gap: BoolArray
    reset: BoolArray
    period_ns: IntArray

    def __len__(self) -> int:
        return len(self.slots)

    def __getitem__(self, at: NDArray[np.intp]) -> "Turn":
        return Turn(*(getattr(self, name)[at] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class NetworkAnswer:
    """What the network makes of a turn, in the sensor's unit.

    Attributes:
        path: float64[n, K], mean of the members, K steps ahead; the last value where not ready.
        members: float64[n, M], each member's first step.
        ready: bool[n], whether the network has seen enough of the series.
    """

    path: FloatArray
    members: FloatArray
    ready: BoolArray


class HiddenStates(Bank):
    """(h, c) of every member for every series: float32[capacity, M, 2, L, H]."""

    state: NDArray[np.float32]

    def __init__(self, shape: tuple[int, ...], capacity: int = 0) -> None:
        super().__init__({"state": Column(np.float32, shape)}, capacity)


class Pipeline:
    """Transforms, history and hidden states of all series, around the networks of the cohorts.

    Args:
        settings: all of them.
        table: which series belong together.
        cadence: the engine's; read only.
        cohorts: whose networks are stepped; cohort i serves the slots with `table.cohort == i`.
    """

    def __init__(self, settings: Settings, table: SeriesTable, cadence: Cadence, cohorts: Sequence[Cohort]) -> None:
        transform, network = settings.transform, settings.network
        self._settings = settings
        self._table = table
        self._cohorts = cohorts
        self._clip = transform.clip
        self._auto_order = transform.order == "auto"
        self._compress = Compress(transform.before)
        self._difference = Difference(transform.seasonal_lag, 1 if transform.order == "auto" else transform.order)
        self._scaler = standardizer(transform, centered=False)
        self._level = standardizer(transform.model_copy(update={"scaling": "ewm"}), centered=True)
        self._levels = Levels()
        self._history = History(settings.learning.window_steps, settings.replay.memory_steps, len(CONTEXT))
        self._hidden = HiddenStates((network.members, 2, network.layers, network.hidden))
        self.parts = Composite(
            {
                "difference": self._difference,
                "scaler": self._scaler,
                "level": self._level,
                "levels": self._levels,
                "history": self._history,
                "hidden": self._hidden,
            }
        )
        self._cadence = cadence
        self._completed: list[tuple[Cohort, NDArray[np.intp], Windows]] = []
        self._undecided: list[int] = []
        self._decided_at = 0
        self.decisions: dict[int, OrderDecision] = {}
        """Slot -> how its order of differencing was chosen (`transform.order = "auto"`)."""

    @property
    def banks(self) -> Banks:
        """What cohorts read."""
        return Banks(self._cadence, self._scaler, self._history, self._hidden.state)

    def advance(self, turn: Turn) -> NetworkAnswer:
        """Take one reading of each series and answer for the next."""
        lost = turn.slots[turn.reset]
        if len(lost):
            self._difference.restart(lost)
            self._levels.reset(lost)
            self._hidden.reset(lost)
        image = self._compress.apply(turn.value)
        diff, differenced = self._difference.update(turn.slots, image)
        known = np.flatnonzero(differenced)
        self._scaler.update(turn.slots[known], diff[known])
        out = self._step_networks(turn[known], diff[known], self._context(turn, image)[known])  # [known, M, K]

        scale, center = self._scaler.scale(turn.slots), self._scaler.center(turn.slots)
        ready = differenced & self._scaler.ready(turn.slots)
        n, M, K = len(turn), *out.shape[1:]
        paths = np.empty((n, M, K))
        paths[:] = turn.value[:, None, None]
        at = np.flatnonzero(ready)
        ahead = (out * scale[known, None, None] + center[known, None, None])[ready[known]]
        for m in range(M):
            paths[at, m] = self._compress.invert(self._difference.invert_path(turn.slots[at], ahead[:, m]))
        if self._auto_order:
            self._note_undecided(turn)
        return NetworkAnswer(paths.mean(axis=1), paths[:, :, 0], ready)

    def _context(self, turn: Turn, image: FloatArray) -> FloatArray:
        """What the network is shown beside differences, float64[n, C], as `features.CONTEXT`."""
        slots = turn.slots
        self._level.update(slots, image)
        unit = self._scaler.scale(slots)[:, None] * DISTANCE_UNITS
        context = np.empty((len(turn), len(CONTEXT)))
        context[:, 0] = np.clip(self._level.apply(slots, image), -self._clip, self._clip)
        context[:, 1:-1] = bounded_ratio(self._levels.update(slots, image), unit, self._clip)
        context[:, -1] = np.log2(np.clip(turn.elapsed, 2.0**-8, 2.0**8))
        return context

    def _step_networks(self, turn: Turn, diff: FloatArray, context: FloatArray) -> NDArray[np.float32]:
        """Standardized differences that the members expect, float32[n, M, K]."""
        self._history.push(turn.slots, diff, context, connected=~turn.gap)
        network = self._settings.network
        out = np.zeros((len(turn), network.members, network.horizon), np.float32)
        number_of = self._table.cohort[turn.slots]
        for number, cohort in enumerate(self._cohorts):
            at = np.flatnonzero(number_of == number)
            if len(at):
                out[at] = self._step_network(cohort, turn[at], diff[at], context[at])
        return out

    def _step_network(self, cohort: Cohort, turn: Turn, diff: FloatArray, context: FloatArray) -> NDArray[np.float32]:
        slots, history = turn.slots, self._history
        scale, center = self._scaler.scale(slots), self._scaler.center(slots)
        day_steps = season_steps(DAY_NS, turn.period_ns, history.memory)
        week_steps = season_steps(WEEK_NS, turn.period_ns, history.memory)
        past = (
            history.lagged(slots, day_steps - 1),
            history.lagged(slots, week_steps - 1),
            history.profile(slots, day_steps),
        )
        differences = [bounded_ratio(raw - center, scale, self._clip) for raw in (diff, *past)]
        company = None
        if cohort.members > 1:
            company, whole = self._company(cohort, slots, differences[0])
            history.interrupt(slots[~whole])
        inputs = step_inputs(
            differences,
            context,
            self._cadence.valid_at(slots),
            turn.period_ns,
            self._cadence.span_ns(slots) + turn.period_ns,
            company,
        )
        out, self._hidden.state[slots] = cohort.ensemble.step(inputs, slots, self._hidden.state[slots])
        self._cut_windows(cohort, turn)
        return np.clip(out, -self._clip, self._clip)

    def _company(self, cohort: Cohort, slots: SlotArray, z: FloatArray) -> tuple[FloatArray, BoolArray]:
        """What all members of each reading's unit say now, float64[n, G], 0 for the absent, and whether all spoke."""
        units, of_unit = np.unique(self._table.unit[slots], return_inverse=True)
        together = np.zeros((len(units), cohort.members))
        here = np.zeros((len(units), cohort.members), np.bool_)
        member = slots - self._table.unit[slots]
        together[of_unit, member] = z
        here[of_unit, member] = True
        return together[of_unit], np.asarray(here.all(axis=1))[of_unit]

    def _cut_windows(self, cohort: Cohort, turn: Turn) -> None:
        """Set aside the windows that this turn completed, one per unit."""
        first = turn.slots == self._table.unit[turn.slots]
        units = cohort.due(turn.slots[first], self._history)
        if len(units) and self._auto_order:
            units = units[[int(unit) in self.decisions for unit in units]]
        if len(units):
            rows = turn.rows[np.isin(turn.slots, units)]
            self._completed.append((cohort, rows, newest_windows(units, cohort.members, self.banks)))

    def remember(self) -> None:
        """Put the completed windows of this batch into their replay buffers, in order of arrival."""
        for cohort in self._cohorts:
            mine = [(rows, windows) for owner, rows, windows in self._completed if owner is cohort]
            if mine:
                order = np.argsort(np.concatenate([rows for rows, _ in mine]), kind="stable")
                cohort.replay.add(Windows.concatenate([windows for _, windows in mine])[order])
        self._completed.clear()

    def _note_undecided(self, turn: Turn) -> None:
        grown_up = turn.slots[self._cadence.seen(turn.slots) == self._settings.transform.warmup]
        self._undecided.extend(grown_up.tolist())
        if self._settings.engine.deterministic:
            self._decide(len(self._undecided))

    def decide_orders(self, position: int) -> None:
        """Choose the order of differencing of some series that have finished their warm-up, off the readings' path.

        Args:
            position: count of readings so far; one series is decided per so many of them, and at least one a call.
        """
        self._decide(1 + (position - self._decided_at) // READINGS_PER_DECISION)
        self._decided_at = position

    def _decide(self, at_most: int) -> None:
        for _ in range(min(at_most, len(self._undecided))):
            slot = np.array([self._undecided.pop(0)], np.int32)
            steps = int(min(self._history.cursor[slot[0]], self._history.memory, self._settings.transform.warmup))
            lags = np.arange(steps - 1, -1, -1)
            diffs = self._history.lagged(np.repeat(slot, steps), lags).astype(np.float64)
            decision = choose_order(np.cumsum(diffs))
            self.decisions[int(slot[0])] = decision
            if decision.order != self._difference.order[slot[0]]:
                self._rebuild(slot, np.cumsum(diffs), decision.order)

    def _rebuild(self, slot: SlotArray, image: FloatArray, order: int) -> None:
        """Start the series anew with another order, from its warm-up, which is known up to a constant."""
        self._difference.set_order(slot, order)
        for bank in (self._scaler, self._history, self._hidden):
            bank.reset(slot)
        if self._settings.transform.seasonal_lag:
            return  # the ring holds seasonal differences: readings cannot be had back from them
        last = self._compress.apply(self._cadence.last_value[slot])
        unknown = np.zeros((1, len(CONTEXT)))
        for value in image + (last - image[-1]):
            diff, ready = self._difference.update(slot, np.array([value]))
            if ready[0]:
                self._scaler.update(slot, diff)
                self._history.push(slot, diff, unknown, np.array([True]))

    def state_dict(self) -> dict[str, Any]:
        """All banks, and the decisions on orders of differencing."""
        return {
            "banks": self.parts.state_dict(),
            "undecided": list(self._undecided),
            "decided_at": self._decided_at,
            "decisions": {
                str(slot): {
                    "order": kept.order,
                    "adf_p": list(kept.adf_p),
                    "kpss_p": list(kept.kpss_p),
                    "reason": kept.reason,
                }
                for slot, kept in self.decisions.items()
            },
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.parts.load_state_dict(state["banks"])
        self._undecided = [int(slot) for slot in state["undecided"]]
        self._decided_at = int(state["decided_at"])
        self.decisions = {
            int(slot): OrderDecision(kept["order"], tuple(kept["adf_p"]), tuple(kept["kpss_p"]), kept["reason"])
            for slot, kept in state["decisions"].items()
        }
