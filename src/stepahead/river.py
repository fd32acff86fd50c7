"""River's own interface: one series, as a `river.time_series` forecaster."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from river.time_series.base import Forecaster

from stepahead.contract.errors import UsageError
from stepahead.contract.records import Forecasts, Readings
from stepahead.contract.settings import LearningSettings, Settings
from stepahead.forecasting.engine import Engine
from stepahead.library.moments import moment_ns

__all__ = ["StepAheadForecaster"]

KEY = "series"


class StepAheadForecaster(Forecaster):
    """One series in river's terms: `learn_one` a value, `forecast` the next ones.

    The first step is the published forecast. Later steps feed each forecast back as if it had been observed, into a
    copy that does not fine-tune; the forecaster itself is left as it was. With `network.horizon` set to at least the
    horizon asked for, the network's own path is given instead, at no further cost.

    Args:
        period_s: seconds between readings, where `x` does not tell times.
        time: key of `x` (and of each of `xs`) under which a reading's time stands, as `datetime`, text or
            `numpy.datetime64`, and forecasts are for the times in `xs`, as many steps ahead as they lie; None =
            readings are `period_s` apart and `x` is not looked at.
        seed: of weights and sampling.
        settings: all of them; None = the defaults. `learning.seed` is `seed`, `engine.deterministic` is set.

    Raises:
        UsageError: a value is not finite, a time is missing, unreadable or not newer than the last, the horizon is
            not positive, or nothing has been learned yet.

    Example:
        >>> from river import evaluate, metrics
        >>> model = StepAheadForecaster(period_s=60)
        >>> ramp = [({}, 20.0 + minute) for minute in range(30)]
        >>> len(evaluate.evaluate(ramp, model, metrics.MAE(), horizon=2).get())
        2
    """

    def __init__(
        self, period_s: float = 3600.0, time: str | None = None, seed: int = 0, settings: Settings | None = None
    ) -> None:
        if not 1e-9 <= period_s <= 1e9:
            raise UsageError(f"period_s is {period_s}, allowed are 1e-9 to 1e9 seconds")
        self.period_s = period_s
        self.time = time
        self.seed = seed
        self.settings = settings
        self._engine = self._new_engine()
        self._last: Forecasts | None = None

    def _new_engine(self) -> Engine:
        settings = Settings() if self.settings is None else self.settings
        learning = LearningSettings.model_validate(settings.learning.model_dump() | {"seed": self.seed})
        engine = settings.engine.model_copy(update={"deterministic": True})
        return Engine(settings.model_copy(update={"learning": learning, "engine": engine}))

    def learn_one(self, y: float, x: Mapping[str, Any] | None = None) -> None:
        """Take the next value; `x` is looked at for its time only."""
        value = float(y)
        if not abs(value) <= 1e150:
            raise UsageError(f"y is {value}, allowed are finite values within ±1e150")
        answer = _advance(self._engine, self._time_of(x), value)
        if answer is None:
            raise UsageError(f"x[{self.time!r}] must be newer than that of the reading before")
        self._last = answer

    def forecast(self, horizon: int, xs: Iterable[Mapping[str, Any]] | None = None) -> list[float]:
        """Forecast the next values.

        Args:
            horizon: how many, at least 1.
            xs: None, or `horizon` mappings, of which only the times are looked at.
        """
        if horizon < 1:
            raise UsageError(f"horizon is {horizon}, allowed are 1 and more")
        if self._last is None:
            raise UsageError("nothing to forecast from: call learn_one first")
        steps = self._steps_ahead(horizon, xs, self._last)
        path = self._path(max(steps), self._last)
        return [path[step - 1] for step in steps]

    def _steps_ahead(self, horizon: int, xs: Iterable[Mapping[str, Any]] | None, last: Forecasts) -> list[int]:
        asked = None if xs is None else list(xs)
        if asked is not None and len(asked) != horizon:
            raise UsageError(f"xs has {len(asked)} entries for a horizon of {horizon}")
        issued, valid = int(last.issued_at_ns[0]), int(last.valid_at_ns[0])
        if asked is None or self.time is None or valid == issued:
            return list(range(1, horizon + 1))
        return [max(1, round((self._time_of(x) - issued) / (valid - issued))) for x in asked]

    def _path(self, steps: int, last: Forecasts) -> list[float]:
        path = [float(value) for value in last.value[0]]
        if steps <= len(path):
            return path[:steps]
        path = path[:1]
        state = self._engine.state_dict()
        for cohort in state["cohorts"].values():
            cohort["schedule"]["next"] = None  # what is fed back is nothing to learn weights from
        engine = self._new_engine()
        engine.load_state_dict(state)
        issued_ns = int(last.issued_at_ns[0])
        period_ns = int(last.valid_at_ns[0]) - issued_ns or round(self.period_s * 1e9)  # 0 after one reading
        for step in range(1, steps):
            answer = _advance(engine, issued_ns + step * period_ns, path[-1])
            if answer is None:
                raise UsageError(f"{step} steps after the last reading is beyond the year 2261")
            path.append(float(answer.value[0, 0]))
        return path

    def _time_of(self, x: Mapping[str, Any] | None) -> int:
        if self.time is None:
            return round(self._engine.position * self.period_s * 1e9)
        if x is None or self.time not in x:
            raise UsageError(f"x has no {self.time!r}, which holds the time")
        return moment_ns(x[self.time])

    def __getstate__(self) -> dict[str, Any]:
        """Parameters, and what was learned as a tree of arrays, numbers and text."""
        kept = {name: getattr(self, name) for name in ("period_s", "time", "seed", "settings")}
        last = None if self._last is None else {name: getattr(self._last, name) for name in Forecasts.__slots__}
        return kept | {"learned": self._engine.state_dict(), "last": last}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what `__getstate__` gave; `copy.deepcopy` comes this way too."""
        for name in ("period_s", "time", "seed", "settings"):
            setattr(self, name, state[name])
        self._engine = self._new_engine()
        self._engine.load_state_dict(state["learned"])
        self._last = None if state["last"] is None else Forecasts(**state["last"])


def _advance(engine: Engine, time_ns: int, value: float) -> Forecasts | None:
    """One reading into the engine; None where it was not newer than the last."""
    slot = engine.intern(KEY)
    answer = engine.step(Readings(np.array([slot], np.int32), np.array([time_ns], np.int64), np.array([value])))
    return answer if len(answer) else None
