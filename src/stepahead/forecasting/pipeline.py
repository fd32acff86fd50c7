"""The network's way of seeing a series: difference, standardize, LSTM with carried state, and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stepahead.contract.bank import Composite
from stepahead.contract.changes import Changes
from stepahead.contract.flags import every, some
from stepahead.contract.records import BoolArray, FloatArray, IntArray, SlotArray
from stepahead.contract.settings import Settings
from stepahead.contract.within import within
from stepahead.forecasting.cohort import Banks, Cohort, newest_windows
from stepahead.forecasting.hidden import HiddenStates
from stepahead.forecasting.residence import Residence
from stepahead.forecasting.series import SeriesTable
from stepahead.learning.features import describe, season_steps, step_inputs
from stepahead.replay.history import History, Standing, Windows
from stepahead.transform.cadence import Cadence
from stepahead.transform.calendar import DAY_NS, WEEK_NS
from stepahead.transform.compress import Compress
from stepahead.transform.difference import differencer
from stepahead.transform.levels import Levels
from stepahead.transform.repeats import Repeats
from stepahead.transform.standardize import standardizer
from stepahead.transform.stationarity import OrderDecision, choose_order

__all__ = ["NetworkAnswer", "Pipeline", "Turn"]

READINGS_PER_DECISION = 1000
"""Live, one order of differencing is decided per so many readings (`transform.order = "auto"`): the two tests take
milliseconds a series."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One accepted reading of each of n distinct series.

    Attributes:
        rows: int[n], rows of the batch.
        series: int32[n], their numbers.
        slots: int32[n], where they are in the banks.
        time_ns: int64[n].
        value: float64[n], sensor's unit.
        before: float64[n], value of the reading before; its own where there is none.
        elapsed: float64[n], periods since the reading before.
        gap: bool[n], whether a gap came before.
        reset: bool[n], whether it was so long that dynamics start anew.
        first: bool[n], whether nothing was before.
        period_ns: int64[n], 0 = unknown.
        due_ns: int64[n], when the next reading is due.
        span_ns: int64[n], since the first reading.
    """

    rows: NDArray[np.intp]
    series: SlotArray
    slots: SlotArray
    time_ns: IntArray
    value: FloatArray
    before: FloatArray
    elapsed: FloatArray
    gap: BoolArray
    reset: BoolArray
    first: BoolArray
    period_ns: IntArray
    due_ns: IntArray
    span_ns: IntArray

    def __len__(self) -> int:
        return len(self.slots)

    def __getitem__(self, at: NDArray[np.intp]) -> "Turn":
        return Turn(*(getattr(self, name)[at] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Step:
    """What the network is given: a turn of n series, differenced.

    Attributes:
        turn: the readings.
        image: float64[n], their values, transformed.
        diff: float64[n], differences.
        context: float64[n, C], as `features.CONTEXT`.
        scale, center: float64[n], of the differences.
    """

    turn: Turn
    image: FloatArray
    diff: FloatArray
    context: FloatArray
    scale: FloatArray
    center: FloatArray

    def __getitem__(self, at: NDArray[np.intp]) -> "Step":
        return Step(*(getattr(self, name)[at] for name in self.__slots__))


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


class Pipeline:
    """Transforms, history and hidden states of all series, around the networks of the cohorts.

    Args:
        settings: all of them.
        table: which series belong together.
        residence: which series are in which slots.
        cadence: the engine's; read only.
        cohorts: whose networks are stepped; cohort i serves the series with `table.cohort == i`.
        changes: of the values, somebody else's, the newest reading included when its turn comes.
        device: where the cohorts' networks are stepped, and hidden states are kept; None = by the compiled loops.
    """

    def __init__(
        self,
        settings: Settings,
        table: SeriesTable,
        residence: Residence,
        cadence: Cadence,
        cohorts: Sequence[Cohort],
        changes: Changes,
        device: torch.device | None = None,
    ) -> None:
        transform, network = settings.transform, settings.network
        self._settings = settings
        self._table = table
        self._residence = residence
        self._cohorts = cohorts
        self._clip = transform.clip
        self._auto_order = transform.order == "auto"
        self._compress = Compress(transform.before)
        self._difference = differencer(transform)
        self._scaler = standardizer(transform, centered=False)
        self._level = standardizer(transform.model_copy(update={"scaling": "ewm"}), centered=True)
        self._levels = Levels()
        self._repeats = Repeats()
        # What was transformed first needs a ring of its own: its changes are other ones.
        self._images = None if transform.before == "none" else Changes(changes.length)
        self._history = History(settings.learning.window_steps, self._images or changes, transform.seasonal_lag)
        self._hidden = HiddenStates(network.members, network.layers, network.hidden, device=device)
        self.parts = Composite(
            {
                "difference": self._difference,
                "scaler": self._scaler,
                "level": self._level,
                "levels": self._levels,
                "repeats": self._repeats,
                "history": self._history,
                "hidden": self._hidden,
                **({} if self._images is None else {"images": self._images}),
            }
        )
        self._cadence = cadence
        self._completed: list[tuple[Cohort, NDArray[np.intp], Windows]] = []
        self.undecided: list[int] = []
        """Numbers of series whose order of differencing is to be chosen next (`transform.order = "auto"`)."""
        self._decided_at = 0
        self.decisions: dict[int, OrderDecision] = {}
        """Number of a series -> how its order of differencing was chosen."""

    @property
    def banks(self) -> Banks:
        """What cohorts read."""
        return Banks(
            self._residence,
            self._cadence,
            self._compress,
            self._difference,
            self._scaler,
            self._level,
            self._history,
            self._hidden,
            self._clip,
        )

    def order_of(self, slot: int) -> int:
        """Order of differencing that a series has now."""
        return int(self._difference.order[slot])

    def advance(self, turn: Turn) -> NetworkAnswer:
        """Take one reading of each series and answer for the next."""
        if some(turn.reset):
            lost = turn.slots[turn.reset]
            self._difference.restart(lost)
            self._levels.reset(lost)
            self._repeats.reset(lost)
            self._hidden.reset(lost)
            self._history.interrupt(lost)
        image = self._compress.apply(turn.value)
        anew = turn.reset | turn.first
        if self._images is not None:
            self._images.append(turn.slots, image - self._compress.apply(turn.before), anew)
        diff, differenced = self._difference.update(turn.slots, image)
        all_known = every(differenced)
        known: Any = slice(None) if all_known else np.flatnonzero(differenced)
        self._scaler.update(turn.slots[known], diff[known])
        center, scale = self._scaler.standing(turn.slots)
        context = self._context(turn, image, scale, anew)
        step = Step(turn, image, diff, context, scale, center)
        out = self._step_networks(step if all_known else step[known])  # [known, M, K]

        n, M, K = len(turn), *out.shape[1:]
        ahead = np.zeros((n, M, K))
        ahead[known] = out
        ahead *= scale[:, None, None]
        ahead += center[:, None, None]
        paths = self._compress.invert(self._difference.invert_paths(turn.slots, ahead))
        ready = differenced & self._scaler.ready(turn.slots)
        if not every(ready):
            paths = np.where(ready[:, None, None], paths, turn.value[:, None, None])
        if self._auto_order:
            self._note_undecided(turn)
        return NetworkAnswer(np.add.reduce(paths, axis=1) / M, paths[:, :, 0], ready)

    def _context(self, turn: Turn, image: FloatArray, scale: FloatArray, anew: BoolArray) -> FloatArray:
        """What the network is shown beside differences, float64[n, C], as `features.CONTEXT`."""
        slots = turn.slots
        self._level.update(slots, image)
        return describe(
            self._level.apply(slots, image),
            self._levels.update(slots, image),
            self._repeats.update(slots, (turn.value == turn.before) & ~anew),
            turn.elapsed,
            scale,
            self._clip,
        )

    def _step_networks(self, step: Step) -> NDArray[np.float32]:
        """Standardized differences that the members expect, float32[n, M, K]."""
        turn = step.turn
        self._history.push(turn.slots, step.context[:, -1], connected=~turn.gap)
        if len(self._cohorts) == 1:
            return self._step_network(self._cohorts[0], step)
        network = self._settings.network
        out = np.zeros((len(turn), network.members, network.horizon), np.float32)
        number_of = self._table.cohort[turn.series]
        for number, cohort in enumerate(self._cohorts):
            at = np.flatnonzero(number_of == number)
            if len(at):
                out[at] = self._step_network(cohort, step[at])
        return out

    def _step_network(self, cohort: Cohort, step: Step) -> NDArray[np.float32]:
        turn, slots, history = step.turn, step.turn.slots, self._history
        day_steps = season_steps(DAY_NS, turn.period_ns, history.memory)
        week_steps = season_steps(WEEK_NS, turn.period_ns, history.memory)
        standing = Standing(step.image, self._difference.order[slots])
        past = history.seasons(slots, standing, day_steps, week_steps)
        inputs = step_inputs(
            (step.diff, *past),
            step.center,
            step.scale,
            self._clip,
            step.context,
            turn.due_ns,
            turn.period_ns,
            turn.span_ns + turn.period_ns,
            company=cohort.members if cohort.members > 1 else 0,
        )
        if cohort.members > 1:
            inputs[:, -cohort.members :], whole = self._company(cohort, turn.series, inputs[:, 0])
            history.interrupt(slots[~whole])
        outdated = self._hidden.outdated(slots, cohort.ensemble.version)
        if outdated.any():
            units = np.unique(self._table.unit[turn.series[outdated]])
            cohort.renew(self.banks, self._residence.slot[units])
        out = cohort.ensemble.advance(inputs, turn.series, self._hidden.state, slots)
        self._cut_windows(cohort, turn)
        return within(out, self._clip)

    def _company(self, cohort: Cohort, series: SlotArray, z: NDArray[np.float32]) -> tuple[FloatArray, BoolArray]:
        """What all members of each reading's unit say now, float64[n, G], 0 for the absent, and whether all spoke."""
        units, of_unit = np.unique(self._table.unit[series], return_inverse=True)
        together = np.zeros((len(units), cohort.members))
        here = np.zeros((len(units), cohort.members), np.bool_)
        member = series - self._table.unit[series]
        together[of_unit, member] = z
        here[of_unit, member] = True
        return together[of_unit], np.asarray(here.all(axis=1))[of_unit]

    def _cut_windows(self, cohort: Cohort, turn: Turn) -> None:
        """Set aside the windows that this turn completed, one per unit."""
        units, rows = turn.slots, turn.rows
        if cohort.members > 1:
            first = turn.series == self._table.unit[turn.series]
            units, rows = units[first], rows[first]
        due = cohort.due(units, self.banks)
        if self._auto_order and some(due):
            due &= np.array([number in self.decisions for number in self._residence.series[units].tolist()])
        if some(due):
            self._completed.append((cohort, rows[due], newest_windows(units[due], cohort.members, self.banks)))

    def remember(self) -> None:
        """Put the completed windows of this batch into their replay buffers, in order of arrival."""
        for cohort in self._cohorts:
            mine = [(rows, windows) for owner, rows, windows in self._completed if owner is cohort]
            if mine:
                windows, rows = Windows.concatenate([windows for _, windows in mine]), mine[0][0]
                if len(mine) > 1:
                    rows = np.concatenate([rows for rows, _ in mine])
                if some(rows[1:] < rows[:-1]):
                    windows = windows[np.argsort(rows, kind="stable")]
                cohort.replay.add(windows)
        self._completed.clear()

    def _note_undecided(self, turn: Turn) -> None:
        grown_up = turn.series[self._cadence.seen(turn.slots) == self._settings.transform.warmup]
        self.undecided.extend(grown_up.tolist())
        if self._settings.engine.deterministic:
            self._decide(len(self.undecided))

    def decide_orders(self, position: int) -> None:
        """Choose the order of differencing of some series that have finished their warm-up, off the readings' path.

        Args:
            position: count of readings so far; one series is decided per so many of them, and at least one a call.
        """
        self._decide(1 + (position - self._decided_at) // READINGS_PER_DECISION)
        self._decided_at = position

    def _decide(self, at_most: int) -> None:
        for _ in range(min(at_most, len(self.undecided))):
            number = self.undecided.pop(0)
            slot = int(self._residence.slot[number])
            last = self._compress.apply(self._cadence.last_value[[slot]])[0]
            values = self._history.values(slot, last)[-self._settings.transform.warmup :]
            decision = choose_order(values)
            self.decisions[number] = decision
            if decision.order != self._difference.order[slot]:
                self._rebuild(np.array([slot], np.int32), values, decision.order)

    def _rebuild(self, slot: SlotArray, image: FloatArray, order: int) -> None:
        """Start the series anew with another order, from the values of its warm-up."""
        self._difference.set_order(slot, order)
        for bank in (self._scaler, self._history, self._hidden):
            bank.reset(slot)
        for value in image:
            diff, ready = self._difference.update(slot, np.array([value]))
            if ready[0]:
                self._scaler.update(slot, diff)
                self._history.push(slot, np.zeros(1), np.array([True]))

    def state_dict(self) -> dict[str, Any]:
        """All banks, and the decisions on orders of differencing."""
        return {
            "banks": self.parts.state_dict(),
            "undecided": list(self.undecided),
            "decided_at": self._decided_at,
            "decisions": {
                str(number): {
                    "order": kept.order,
                    "adf_p": list(kept.adf_p),
                    "kpss_p": list(kept.kpss_p),
                    "reason": kept.reason,
                }
                for number, kept in self.decisions.items()
            },
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.parts.load_state_dict(state["banks"])
        self.undecided = [int(number) for number in state["undecided"]]
        self._decided_at = int(state["decided_at"])
        self.decisions = {
            int(number): OrderDecision(kept["order"], tuple(kept["adf_p"]), tuple(kept["kpss_p"]), kept["reason"])
            for number, kept in state["decisions"].items()
        }
