"""The engine: readings in, forecasts out. A pure function of its inputs: no I/O, no clock, no threads of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column, Composite
from stepahead.contract.errors import StateError
from stepahead.contract.reasons import DropCounter, Reason
from stepahead.contract.records import FloatArray, Forecasts, IntArray, Readings, SlotArray, Status
from stepahead.contract.settings import Settings
from stepahead.experts.panel import Panel
from stepahead.forecasting.cohort import Cohort
from stepahead.forecasting.pipeline import Pipeline, Turn
from stepahead.forecasting.rounds import split_rounds
from stepahead.forecasting.series import SeriesTable
from stepahead.learning.gate import judge
from stepahead.learning.trainer import InlineTrainer, Trainer
from stepahead.learning.tuner import TuneResult
from stepahead.transform.cadence import Cadence
from stepahead.transform.stationarity import OrderDecision
from stepahead.uncertainty.conformal import Conformal

__all__ = ["Engine", "Outlook"]

DRIFT_EVERY = 64
"""In the deterministic setting drift is looked for at multiples of so many readings, wherever batches are cut."""


ERROR_MEMORY = 1000
"""Readings over which the usual size of a series' error is averaged: long, so that a rise stands out for a while."""
ERRORS_TO_KNOW = 24
LARGEST_RATIO = 8.0


class Published(Bank):
    """The newest published forecast of each series, which its next reading is scored against."""

    value: FloatArray
    waiting: NDArray[np.bool_]
    usual_error: FloatArray
    errors_seen: IntArray

    def __init__(self, capacity: int = 0) -> None:
        columns = {
            "value": Column(np.float64),
            "waiting": Column(np.bool_),
            "usual_error": Column(np.float64),
            "errors_seen": Column(np.int64),
        }
        super().__init__(columns, capacity)

    def score(self, slots: SlotArray, value: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Compare readings with what was forecast for them.

        Returns:
            The errors float64[n] in the sensor's unit, NaN where nothing was forecast, and their size in units of the
            series' usual error, at most 8; NaN while that is not known.
        """
        error = np.where(self.waiting[slots], value - self.value[slots], np.nan)
        scored = np.flatnonzero(self.waiting[slots])
        at = slots[scored]
        size, usual, seen = np.minimum(np.abs(error[scored]), 1e150), self.usual_error[at], self.errors_seen[at]
        known = (seen >= ERRORS_TO_KNOW) & (usual > 1e-150)
        ratio = np.full(len(slots), np.nan)
        bounded = np.where(known, np.minimum(size, LARGEST_RATIO * usual), size)
        ratio[scored] = np.where(known, bounded / np.maximum(usual, 1e-150), np.nan)
        self.usual_error[at] = usual + np.maximum(1 / (seen + 1), 1 / ERROR_MEMORY) * (bounded - usual)
        self.errors_seen[at] = seen + 1
        return error, ratio


@dataclass(frozen=True, slots=True)
class Outlook:
    """What each expert expects of some series' next reading.

    Attributes:
        names: E names.
        value: float64[n, E], forecasts in the sensor's unit.
        weights: float64[n, E], shares in what is published; 0 for an expert that is not ready, and for `lstm`, which
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

    Example:
        >>> engine = Engine(Settings())
        >>> slot = engine.intern("plant/pump7/temperature")
        >>> for minute in range(3):
        ...     forecasts = engine.step(Readings.of([slot], [minute * 60_000_000_000], [20.0 + minute]))
        >>> forecasts.valid_at_ns.tolist(), forecasts.observed.tolist()
        ([180000000000], [22.0])
    """

    def __init__(self, settings: Settings, trainer: Trainer | None = None) -> None:
        self.settings = settings
        self.table = SeriesTable(settings.engine.max_series, settings.groups)
        self.drops = DropCounter()
        self.position = 0
        """Readings accepted so far: repeated and late ones do not count, so that it is no matter how often the broker
        delivers a reading."""
        self._trainer: Trainer = InlineTrainer(settings.learning) if trainer is None else trainer
        self._deterministic = settings.engine.deterministic
        names = ["default", *(group.name for group in settings.groups)]
        self.cohorts = [
            Cohort(name, self.table.members_of(number), settings, number) for number, name in enumerate(names)
        ]
        self._cadence = Cadence(settings.cadence)
        self._pipeline = Pipeline(settings, self.table, self._cadence, self.cohorts)
        self._panel = Panel(settings.experts, settings.network.members)
        self._conformal = Conformal(settings.interval)
        self._published = Published()
        self._parts = Composite(
            {
                "cadence": self._cadence,
                "panel": self._panel,
                "conformal": self._conformal,
                "published": self._published,
            }
        )
        self._next_look = DRIFT_EVERY
        self._grow()

    def intern(self, key: str) -> int:
        """Slot of a series key, made if it is new; `contract.records.REFUSED` when there are too many."""
        return self.table.intern(key)

    def step(self, batch: Readings) -> Forecasts:
        """Take a batch: score what was forecast for it, learn from it, forecast what comes next.

        Args:
            batch: readings of interned series, values finite, in order of arrival. Duplicates and late readings are
                counted in `drops` and get no forecast.

        Returns:
            One forecast per accepted reading, in order of arrival.
        """
        self._grow()
        parts: list[Forecasts] = []
        start = 0
        while start < len(batch) or not parts:
            self._adopt(self._trainer.poll())
            end = self._end_of_row(batch, start + self._readings_to_event(len(batch) - start))
            parts.append(self._step_part(batch[start:end], start))
            self.position += len(parts[-1])
            self._learn()
            start = end
        return parts[0] if len(parts) == 1 else Forecasts.concatenate(parts)

    def outlook(self, slots: SlotArray) -> Outlook:
        """What each expert expects of the next reading of these series, and its weight; changes nothing."""
        value, weights = self._panel.outlook(slots)
        own = len(self._panel.names) - self.settings.network.members
        value = np.column_stack((value, value[:, own:].mean(axis=1)))
        weights = np.column_stack((weights, np.zeros(len(slots))))
        return Outlook((*self._panel.names, "lstm"), value, weights)

    @property
    def decisions(self) -> dict[str, OrderDecision]:
        """Series key -> how its order of differencing was chosen; empty unless `transform.order` is "auto"."""
        return {self.table.keys[slot]: decision for slot, decision in self._pipeline.decisions.items()}

    def close(self) -> None:
        """End the trainer."""
        self._trainer.close()

    def _grow(self) -> None:
        for part in (self._parts, self._pipeline.parts):
            part.grow(self.table.capacity)

    def _readings_to_event(self, at_most: int) -> int:
        """How many readings may be taken at once: in the deterministic setting events have fixed positions."""
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
        parts = [self._round(batch[rows], rows, errors) for rows in rounds or [np.arange(0)]]
        self._pipeline.remember()
        for number, cohort in enumerate(self.cohorts):
            cohort.observe_errors(errors[~np.isnan(errors) & (self.table.cohort[batch.series] == number)])
        forecasts = parts[0] if len(parts) == 1 else Forecasts.concatenate(parts)
        if len(parts) > 1:
            forecasts = forecasts[np.argsort(forecasts.reading, kind="stable")]
        forecasts.reading[:] += offset
        return forecasts

    def _round(self, readings: Readings, rows: NDArray[np.intp], errors: FloatArray) -> Forecasts:
        """One reading of each of some distinct series: score first, learn after, then forecast."""
        turn = self._arrive(readings, rows)
        slots, value, published = turn.slots, turn.value, self._published

        published.waiting[slots[turn.reset]] = False
        self._conformal.reset_dynamics(slots[turn.reset])
        error, errors[turn.rows] = published.score(slots, value)
        judgement = self._conformal.update(slots, value)
        self._panel.update(slots, value, turn.time_ns, turn.period_ns, turn.reset)

        answer = self._pipeline.advance(turn)
        forecast = self._panel.forecast(slots, answer.members, answer.ready)
        lower, upper = self._conformal.forecast(slots, forecast)
        published.value[slots] = forecast
        published.waiting[slots] = True
        # Steps beyond the first are the network's, moved by what the mixture knew better about the first.
        path = answer.path + (forecast - answer.path[:, 0])[:, None]
        path[:, 0] = forecast
        versions = np.array([cohort.ensemble.version for cohort in self.cohorts])
        warm = answer.ready & self._conformal.ready(slots)
        return Forecasts(
            reading=turn.rows.astype(np.int64),
            series=slots,
            issued_at_ns=turn.time_ns,
            valid_at_ns=self._cadence.valid_at(slots),
            value=path,
            lower=lower,
            upper=upper,
            observed=value,
            error=error,
            anomaly=judgement.anomaly,
            score=judgement.p,
            status=np.where(warm, Status.OK, Status.WARMING).astype(np.int8),
            model=versions[self.table.cohort[slots]],
            id=self.table.reading_id(slots, turn.time_ns, value),
        )

    def _arrive(self, readings: Readings, rows: NDArray[np.intp]) -> Turn:
        """Judge the readings' times; drop and count what is repeated or late; count series at their birth."""
        arrival = self._cadence.update(readings.series, readings.time_ns, readings.value)
        kept: Any = slice(None)
        if not arrival.accepted.all():
            self.drops[Reason.DUPLICATE] += int(arrival.duplicate.sum())
            self.drops[Reason.LATE] += int(arrival.late.sum())
            kept = np.flatnonzero(arrival.accepted)
        slots = readings.series[kept]
        newborn = slots[self._cadence.seen(slots) == 1]
        for number in self.table.cohort[newborn].tolist():
            self.cohorts[number].series += 1
        return Turn(
            rows=rows[kept],
            slots=slots,
            time_ns=readings.time_ns[kept],
            value=readings.value[kept],
            elapsed=arrival.elapsed[kept],
            gap=arrival.gap[kept],
            reset=arrival.reset[kept],
            period_ns=self._cadence.period_ns(slots),
        )

    def _learn(self) -> None:
        """Look for drift and begin fine-tunes that are due."""
        if not self._deterministic:
            self._pipeline.decide_orders(self.position)
        if not self._deterministic or self.position >= self._next_look:
            self._next_look = (self.position // DRIFT_EVERY + 1) * DRIFT_EVERY
            for cohort in self.cohorts:
                cohort.look_for_drift(self.position)
        for number, cohort in enumerate(self.cohorts):
            if cohort.schedule.remaining(self.position) == 0 and not self._trainer.busy:
                cohort.schedule.begun(self.position, cohort.series)
                request = cohort.request(self._pipeline.banks, self._units_of(number))
                if request is not None:
                    self._trainer.submit(request)
                    if self._deterministic:
                        self._adopt(self._trainer.wait())

    def _units_of(self, number: int) -> SlotArray:
        """First slots of the units of a cohort that have been heard of."""
        n = len(self.table)
        slots = np.arange(n, dtype=np.int32)
        ours = (self.table.cohort[:n] == number) & (self.table.unit[:n] == slots) & (self._cadence.seen(slots) > 0)
        return np.asarray(slots[ours])

    def _adopt(self, result: TuneResult | None) -> None:
        """Let the gate judge a fine-tune, and swap the weights in if it passes: between two batches, never within."""
        if result is None:
            return
        for number, cohort in enumerate(self.cohorts):
            if cohort.name == result.cohort:
                verdict = judge(result)
                cohort.adopt(result, verdict)
                if verdict.any:
                    cohort.recompute_hidden(self._pipeline.banks, self._units_of(number))

    def state_dict(self) -> dict[str, Any]:
        """Everything that a run would go on from, as a tree of arrays, numbers and text; settings excluded."""
        return {
            "series": self.table.state_dict(),
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
        self.position = int(state["position"])
        self._next_look = int(state["next_look"])
        self.drops = DropCounter({Reason(name): count for name, count in state["drops"].items()})
        self._parts.load_state_dict(state["banks"])
        self._pipeline.load_state_dict(state["pipeline"])
        for cohort in self.cohorts:
            cohort.load_state_dict(state["cohorts"][cohort.name])
        self._grow()
