"""The engine: readings in, forecasts out. A pure function of its inputs: no I/O, no clock, no threads of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stepahead.contract.bank import Composite
from stepahead.contract.errors import StateError
from stepahead.contract.flags import every, some
from stepahead.contract.reasons import DropCounter, Reason
from stepahead.contract.records import BoolArray, FloatArray, Forecasts, Readings, SlotArray, Status
from stepahead.contract.settings import Settings
from stepahead.experts.panel import Panel
from stepahead.forecasting.cohort import cohorts_of, members_of
from stepahead.forecasting.hibernation import Hibernation
from stepahead.forecasting.pipeline import Pipeline, Turn
from stepahead.forecasting.residence import AWAY, Residence
from stepahead.forecasting.rounds import split_rounds
from stepahead.forecasting.series import SeriesTable
from stepahead.learning.gate import judge
from stepahead.learning.trainer import InlineTrainer, Trainer
from stepahead.learning.tuner import TuneResult
from stepahead.network.device import CPU, device_of
from stepahead.transform.cadence import Cadence
from stepahead.transform.difference import differencer
from stepahead.transform.stationarity import OrderDecision
from stepahead.uncertainty.conformal import Conformal
from stepahead.uncertainty.usual import UsualError

__all__ = ["Engine", "Outlook"]

DRIFT_EVERY = 64
"""In the deterministic setting drift is looked for at multiples of so many readings, wherever batches are cut."""
RISEN = 1.2
"""At a drift, series whose last dozen errors are larger than usual by this factor let their regressions learn anew. The
size of so few errors varies by a quarter by itself: less would catch many that go on as before."""
BLOCK = 8192
"""Readings taken through all banks at once: their working arrays stay in the third-level cache."""
LARGEST_VALUE = 1e100
"""Larger readings are no measurements, and their squares and sums would not be finite."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What each expert expects of some series' next reading.

    Attributes:
        names: E names.
        value: float64[n, E], forecasts in the sensor's unit.
        weights: float64[n, E], shares in what is published; 0 for an expert that is not ready, for `lstm`, which
            is the mean of the network's members.
    """

    names: tuple[str, ...]
    value: FloatArray
    weights: FloatArray


class Engine:
    """Forecasts the next reading of every series, learning as it goes.

    Args:
        settings: all of them; only the engine's sections are looked at.
        trainer: who carries out fine-tunes; None = in line.
        device: where the networks are stepped, by torch; None = where `engine.device` says, and by the compiled loops
            where that is the CPU.

    Raises:
        SettingsError: torch does not see the device.

    Example:
        >>> engine = Engine(Settings())
        >>> slot = engine.intern("plant/pump7/temperature")
        >>> for minute in range(3):
        ...     forecasts = engine.step(Readings.of([slot], [minute * 60_000_000_000], [20.0 + minute]))
        >>> forecasts.valid_at_ns.tolist(), forecasts.observed.tolist()
        ([180000000000], [22.0])
    """

    def __init__(self, settings: Settings, trainer: Trainer | None = None, device: torch.device | None = None) -> None:
        if device is None and settings.engine.device != "cpu":
            device = device_of(settings.engine.device)
        self.settings = settings
        self.table = SeriesTable(settings.engine.max_series, settings.groups)
        self.drops = DropCounter()
        self.position = 0
        """Readings accepted so far: repeated and late ones do not count, so that it is no matter how often the broker
        delivers a reading."""
        if trainer is None:
            trainer = InlineTrainer(settings.learning, device=CPU if device is None else device)
        self._trainer = trainer
        self._deterministic = settings.engine.deterministic
        self.cohorts = cohorts_of(settings, self.table, device)
        self._residence = Residence(self.table)
        self._cadence = Cadence(settings.cadence)
        remembered = settings.replay.memory_steps + differencer(settings.transform).reach
        self._panel = Panel(settings.experts, settings.network.members, remembered=remembered)
        self._pipeline = Pipeline(
            settings, self.table, self._residence, self._cadence, self.cohorts, self._panel.changes, device
        )
        self._conformal = Conformal(settings.interval)
        self._usual = UsualError()
        self._parts = Composite(
            {
                "cadence": self._cadence,
                "panel": self._panel,
                "conformal": self._conformal,
                "usual": self._usual,
            }
        )
        self._next_look = DRIFT_EVERY
        of_a_series = {**self._parts.parts, **self._pipeline.parts.parts, "panel": self._panel.of_every_series}
        self.hibernation = Hibernation(
            settings.engine.silent_after_s,
            settings.experts.long_series if settings.experts.autoregression else 0,
            self.table,
            self._residence,
            Composite(of_a_series),
            self._cadence,
            self._pipeline.banks.scaler,
        )
        self._settle()

    def intern(self, key: str) -> int:
        """Number of a series key, given if it is new; `contract.records.REFUSED` when there are too many."""
        return self.table.intern(key)

    def step(self, batch: Readings) -> Forecasts:
        """Take a batch: score what was forecast for it, learn from it, forecast what comes next.

        Args:
            batch: readings of interned series, in order of arrival. Duplicates, late readings and values beyond
                ±1e100 or not finite are counted in `drops` and get no forecast.

        Returns:
            One forecast per accepted reading, in order of arrival.
        """
        self._settle()
        fit = np.abs(batch.value) <= LARGEST_VALUE
        if not every(fit):
            self.drops[Reason.VALUE_TOO_LARGE] += len(batch) - int(np.count_nonzero(fit))
            forecasts = self.step(batch[np.flatnonzero(fit)])
            forecasts.reading[:] = np.flatnonzero(fit)[forecasts.reading]
            return forecasts
        self.hibernation.fetch(batch.series)
        parts: list[Forecasts] = []
        start = 0
        while start < len(batch) or not parts:
            if self.position >= self._trainer.not_before:
                self._adopt(self._trainer.poll())
            end = self._end_of_row(batch, start + self._readings_to_event(len(batch) - start))
            parts.append(self._step_part(batch[start:end], start))
            self.position += len(parts[-1])
            self._learn()
            start = end
        self.hibernation.turn(self.position, self._pipeline.undecided)
        return parts[0] if len(parts) == 1 else Forecasts.concatenate(parts)

    def here(self, series: SlotArray) -> BoolArray:
        """Which of these series are in memory: not new since the last step, nor silent for so long that they went."""
        known = series < len(self._residence.slot)
        return np.asarray(known & (self._residence.slot[np.where(known, series, 0)] != AWAY))

    def outlook(self, series: SlotArray) -> Outlook:
        """What each expert expects of the next reading of series that are `here`, and its weight; changes nothing.

        One more bears no weight: the mean of the network's members.
        """
        slots = self._residence.slot[series]
        value, weights = self._panel.outlook(slots)
        own = len(self._panel.names) - self.settings.network.members
        value = np.column_stack((value, value[:, own:].mean(axis=1)))
        weights = np.column_stack((weights, np.zeros(len(slots))))
        return Outlook((*self._panel.names, "lstm"), value, weights)

    @property
    def decisions(self) -> dict[str, OrderDecision]:
        """Series key -> how its order of differencing was chosen; empty unless `transform.order` is "auto"."""
        return {self.table.keys[number]: decision for number, decision in self._pipeline.decisions.items()}

    def order_of(self, series: int) -> tuple[OrderDecision | None, int]:
        """How the order of differencing of a series that is `here` was chosen, and the order.

        The former is None where it is the setting's, or not chosen yet.
        """
        return self._pipeline.decisions.get(series), self._pipeline.order_of(int(self._residence.slot[series]))

    def close(self) -> None:
        """End the trainer."""
        self._trainer.close()

    def _settle(self) -> None:
        """Make room for the series that are new."""
        self._residence.settle()
        if self._parts.capacity == self._residence.capacity:
            return
        for part in (self._parts, self._pipeline.parts):
            part.grow(self._residence.capacity)

    def _readings_to_event(self, at_most: int) -> int:
        """How many readings may be taken at once: in the deterministic setting events have fixed positions."""
        if self.position < self._trainer.not_before:
            at_most = min(at_most, self._trainer.not_before - self.position)
        if not self._deterministic:
            return at_most
        waits = [self._next_look - self.position]
        waits += [w for w in (cohort.schedule.remaining(self.position) for cohort in self.cohorts) if w is not None]
        return min(at_most, max(1, min(waits)))

    def _end_of_row(self, batch: Readings, end: int) -> int:
        """Move a cut on to where the unit's row ends: members of a group are stepped together."""
        if len(self.cohorts) > 1:
            unit = self.table.unit[batch.series]
            while 0 < end < len(batch) and unit[end] == unit[end - 1] and batch.time_ns[end] == batch.time_ns[end - 1]:
                end += 1
        return end

    def _step_part(self, batch: Readings, offset: int) -> Forecasts:
        rounds = split_rounds(batch.series, self.table.unit[batch.series], batch.time_ns)
        errors = np.full(len(batch), np.nan)
        if len(self.cohorts) == 1:  # members of a group must stay together
            rounds = [rows[at : at + BLOCK] for rows in rounds for at in range(0, len(rows), BLOCK)]
        parts = [self._round(batch[rows], rows, errors) for rows in rounds or [np.arange(0)]]
        self._pipeline.remember()
        for number, cohort in enumerate(self.cohorts):
            cohort.observe_errors(
                errors if len(self.cohorts) == 1 else errors[self.table.cohort[batch.series] == number]
            )
        if len(parts) == 1:
            forecasts = parts[0]
        else:
            forecasts = Forecasts.concatenate(parts)
            if bool((np.diff(forecasts.reading) < 0).any()):
                forecasts = forecasts[np.argsort(forecasts.reading, kind="stable")]
        if offset:
            forecasts.reading[:] += offset
        return forecasts

    def _round(self, readings: Readings, rows: NDArray[np.intp], errors: FloatArray) -> Forecasts:
        """One reading of each of some distinct series: score first, learn after, then forecast."""
        turn = self._arrive(readings, rows)
        slots, value = turn.slots, turn.value

        if some(turn.reset):
            self._conformal.reset_dynamics(slots[turn.reset])
        judgement = self._conformal.update(slots, value)
        errors[turn.rows] = self._usual.update(slots, judgement.error)
        self._panel.update(slots, value, turn.time_ns, turn.period_ns, turn.reset)

        answer = self._pipeline.advance(turn)
        forecast = self._panel.forecast(slots, answer.members, answer.ready)
        lower, upper = self._conformal.forecast(slots, forecast)
        # Steps beyond the first are the network's, moved by what the mixture knew better about the first.
        path = answer.path + (forecast - answer.path[:, 0])[:, None]
        path[:, 0] = forecast
        versions = np.array([cohort.ensemble.version for cohort in self.cohorts])
        warm = answer.ready & self._conformal.ready(slots)
        return Forecasts(
            reading=turn.rows.astype(np.int64),
            series=turn.series,
            issued_at_ns=turn.time_ns,
            valid_at_ns=turn.due_ns,
            value=path,
            mean=self._panel.mean(slots),
            lower=lower,
            upper=upper,
            observed=value,
            error=judgement.error,
            anomaly=judgement.anomaly,
            score=judgement.p,
            status=np.where(warm, np.int8(Status.OK), np.int8(Status.WARMING)),
            model=versions[self.table.cohort[turn.series]],
            id=self.table.reading_id(turn.series, turn.time_ns, value),
        )

    def _arrive(self, readings: Readings, rows: NDArray[np.intp]) -> Turn:
        """Judge the readings' times; drop and count what is repeated or late; count series at their birth."""
        slots = self._residence.slot[readings.series]
        arrival = self._cadence.update(slots, readings.time_ns, readings.value)
        turn = Turn(
            rows=rows,
            series=readings.series,
            slots=slots,
            time_ns=readings.time_ns,
            value=readings.value,
            before=arrival.before,
            elapsed=arrival.elapsed,
            gap=arrival.gap,
            reset=arrival.reset,
            first=arrival.first,
            period_ns=arrival.period_ns,
            due_ns=arrival.due_ns,
            span_ns=arrival.span_ns,
        )
        if not every(arrival.accepted):
            self.drops[Reason.DUPLICATE] += int(arrival.duplicate.sum())
            self.drops[Reason.LATE] += int(arrival.late.sum())
            turn = turn[np.flatnonzero(arrival.accepted)]
        if some(turn.first):
            for number in self.table.cohort[turn.series[turn.first]].tolist():
                self.cohorts[number].series += 1
        if len(turn):
            self.hibernation.heard(turn.slots, int(turn.time_ns.max()))
        return turn

    def _learn(self) -> None:
        """Look for drift and begin fine-tunes that are due."""
        if not self._deterministic:
            self._pipeline.decide_orders(self.position)
        if not self._deterministic or self.position >= self._next_look:
            self._next_look = (self.position // DRIFT_EVERY + 1) * DRIFT_EVERY
            for number, cohort in enumerate(self.cohorts):
                if cohort.look_for_drift(self.position):
                    slots = members_of(self._units_of(number), cohort.members).ravel()
                    self._panel.unsettle(slots[self._conformal.rise(slots) > RISEN])
        for number, cohort in enumerate(self.cohorts):
            if cohort.schedule.remaining(self.position) == 0 and not self._trainer.busy:
                cohort.schedule.begun(self.position, cohort.series)
                material = cohort.draw(self._pipeline.banks, self._units_of(number), self.hibernation)
                if material is not None:
                    self._trainer.submit(material)
                    if self._deterministic:
                        self._adopt(self._trainer.wait())

    def _units_of(self, number: int) -> SlotArray:
        """First slots of the units of a cohort that have been heard of and have not been silent for long."""
        firsts = self._residence.firsts()
        ours = (self.table.cohort[self._residence.series[firsts]] == number) & (self._cadence.seen(firsts) > 0)
        return np.asarray(firsts[ours & ~self.hibernation.silent(firsts)])

    def _adopt(self, result: TuneResult | None) -> None:
        """Let the gate judge a fine-tune, and swap the weights in if it passes; never within a round."""
        if result is None:
            return
        for cohort in self.cohorts:
            if cohort.name == result.cohort:
                if result.version is None:
                    cohort.adopt(result, judge(result))
                else:
                    cohort.take_over(result.weights, result.version)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a run would go on from, as a tree of arrays, numbers and text; settings excluded."""
        return {
            "series": self.table.state_dict(),
            "residence": self._residence.state_dict(),
            "hibernation": self.hibernation.state_dict(),
            "position": self.position,
            "next_look": self._next_look,
            "drops": self.drops.as_dict(),
            "banks": self._parts.state_dict(),
            "pipeline": self._pipeline.state_dict(),
            "cohorts": {cohort.name: cohort.state_dict() for cohort in self.cohorts},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave, in an engine that has seen nothing yet.

        Raises:
            StateError: the state does not fit these settings.
        """
        if set(state["cohorts"]) != {cohort.name for cohort in self.cohorts}:
            raise StateError(f"stored groups {sorted(state['cohorts'])} are not those of the settings")
        self.table.load_state_dict(state["series"])
        self._residence.load_state_dict(state["residence"])
        self.hibernation.load_state_dict(state["hibernation"])
        self.position = int(state["position"])
        self._next_look = int(state["next_look"])
        self.drops = DropCounter({Reason(name): count for name, count in state["drops"].items()})
        self._parts.load_state_dict(state["banks"])
        self._pipeline.load_state_dict(state["pipeline"])
        for cohort in self.cohorts:
            cohort.load_state_dict(state["cohorts"][cohort.name])
        self._settle()
