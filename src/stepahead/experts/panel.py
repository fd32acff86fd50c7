"""The panel of experts: every forecaster but the LSTM, the mixture over all, and what is published."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Bank, Column
from stepahead.contract.errors import StateError
from stepahead.contract.records import BoolArray, FloatArray, IntArray
from stepahead.contract.settings import ExpertSettings
from stepahead.experts.mixture import Mixture
from stepahead.experts.regression import RecursiveLeastSquares
from stepahead.experts.season import Season
from stepahead.experts.unit import Unit

__all__ = ["Panel"]

LAGS = 4
SPANS = (4.0, 16.0, 64.0, 256.0)
ORDER = LAGS + len(SPANS) + 7
BOUND = 8.0
FAR = 64.0


class Pending(Bank):
    """What the panel remembers between two readings of a series."""

    last: NDArray[np.float64]
    level: NDArray[np.float64]
    lags: NDArray[np.float32]
    regressors: NDArray[np.float32]
    moves: NDArray[np.float32]
    ready: NDArray[np.bool_]
    seen: NDArray[np.bool_]

    def __init__(self, experts: int, capacity: int) -> None:
        super().__init__(
            {
                "last": Column(np.float64),
                "level": Column(np.float64, (len(SPANS),)),
                "lags": Column(np.float32, (LAGS,)),
                "regressors": Column(np.float32, (ORDER,)),
                "moves": Column(np.float32, (experts,)),
                "ready": Column(np.bool_, (experts,)),
                "seen": Column(np.bool_),
            },
            capacity,
        )


class Panel:
    """All experts of all series and their mixture; grows, resets and saves like one bank.

    Inside, forecasts are *moves*: (forecast − last value) / unit, so persistence is the move 0.

    Args:
        settings: which experts take part.
        network_members: forecasts that the LSTM hands in, M.
        capacity: number of slots to start with.

    Example:
        >>> panel = Panel(ExpertSettings(), network_members=0, capacity=1)
        >>> slots, zero, no = np.array([0]), np.array([0]), np.array([False])
        >>> for t in range(300):
        ...     panel.update(slots, np.array([(-1.0) ** t]), zero, zero, no)
        ...     answer = panel.forecast(slots, None, no)
        >>> panel.names[0], round(float(answer[0]))
        ('persistence', 1)
    """

    def __init__(self, settings: ExpertSettings, network_members: int, capacity: int = 0) -> None:
        names = ["persistence", "level"]
        if settings.drift:
            names.append("drift")
        if settings.seasonal:
            names += ["seasonal", "seasonal change"]
        if settings.autoregression:
            names.append("autoregression")
        self._own = tuple(names)
        self.names = (*self._own, *(f"lstm{m}" for m in range(network_members)))
        self.network_members = network_members
        self.settings = settings
        self.unit = Unit(capacity=capacity)
        self.season = Season(settings.season, capacity=capacity)
        self.regression = RecursiveLeastSquares(ORDER, dtype=np.float64, capacity=capacity)
        self.mixture = Mixture(len(self.names), capacity=capacity)
        self.pending = Pending(len(self.names), capacity)
        self._alphas = 2.0 / (np.array(SPANS) + 1.0)
        self._spread = np.sqrt(np.array(SPANS) / 4.0)

    @property
    def _banks(self) -> dict[str, Bank]:
        return {
            "unit": self.unit,
            "season": self.season,
            "regression": self.regression,
            "mixture": self.mixture,
            "pending": self.pending,
        }

    @property
    def capacity(self) -> int:
        """Number of slots."""
        return self.unit.capacity

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` slots; never shrinks."""
        for bank in self._banks.values():
            bank.grow(capacity)

    def reset(self, slots: NDArray[np.integer[Any]]) -> None:
        """Put these slots back to the state of a newborn series."""
        for bank in self._banks.values():
            bank.reset(slots)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copies of all arrays, named `bank.column`."""
        return {
            f"{name}.{column}": array
            for name, bank in self._banks.items()
            for column, array in bank.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over arrays made by `state_dict`.

        Raises:
            StateError: a column is missing, unknown, or of another shape or dtype.
        """
        parts: dict[str, dict[str, NDArray[Any]]] = {name: {} for name in self._banks}
        for key, array in state.items():
            name, _, column = key.partition(".")
            if name not in parts:
                raise StateError(f"Panel: unknown bank {name!r}")
            parts[name][column] = array
        for name, bank in self._banks.items():
            bank.load_state_dict(parts[name])

    def bytes_per_series(self) -> int:
        """Memory that one series costs in the whole panel."""
        return sum(bank.bytes_per_series() for bank in self._banks.values())

    def update(
        self,
        slots: NDArray[np.integer[Any]],
        value: FloatArray,
        time_ns: IntArray,
        period_ns: IntArray,
        reset: BoolArray,
    ) -> None:
        """Score the forecasts made for these readings, then let every expert learn from them.

        Args:
            slots: distinct slots, [n].
            value: float64[n], in the sensor's unit, finite.
            time_ns: int64[n], time of the reading.
            period_ns: int64[n], usual time between readings; 0 = unknown.
            reset: bool[n], the gap before this reading was too long: nothing is scored, lags start anew.
        """
        pending = self.pending
        seen = pending.seen[slots]
        scored = seen & ~reset
        size = self.unit.size[slots]
        change = np.where(scored, value - pending.last[slots], 0.0)
        target = scaled(change, size)
        moves = pending.moves[slots].astype(np.float64)
        ready = pending.ready[slots]
        ready[:, 0] = True
        ready[:, 1:] &= scored[:, None]
        near = np.clip(target, -BOUND, BOUND)
        self.mixture.update(slots, moves, ready, near)
        if self.settings.autoregression:
            known = scored & (size > 0)
            own = moves[:, self._own.index("autoregression")]
            regressors = np.where(known[:, None], pending.regressors[slots], np.float32(0))
            self.regression.update(slots, regressors, np.where(known, near - own, 0.0))
        self.unit.update(slots, change, scored)
        self.season.update(slots, value, reset)
        level = np.where(scored[:, None], pending.level[slots], value[:, None])
        pending.level[slots] = level + self._alphas * (value[:, None] - level)
        size = self.unit.size[slots]
        lags = np.where(reset[:, None], np.float32(0), pending.lags[slots])
        lags[:, 1:] = lags[:, :-1].copy()
        lags[:, 0] = np.clip(scaled(change, size), -BOUND, BOUND)
        pending.lags[slots] = lags
        pending.last[slots] = value
        pending.seen[slots] = True
        self._forecast_own(slots, value, change, size, lags, period_ns)

    def _forecast_own(
        self,
        slots: NDArray[np.integer[Any]],
        value: FloatArray,
        change: FloatArray,
        size: FloatArray,
        lags: NDArray[np.float32],
        period_ns: IntArray,
    ) -> None:
        pending = self.pending
        short, long = self.season.lengths(period_ns)
        count = self.season.count[slots]
        columns: list[FloatArray] = [lags[:, i].astype(np.float64) for i in range(LAGS)]
        away = scaled(value[:, None] - pending.level[slots], size[:, None]) / self._spread
        columns += [np.clip(away[:, i], -BOUND, BOUND) for i in range(len(SPANS))]
        moves = np.zeros((len(slots), len(self.names)))
        ready = np.zeros(moves.shape, dtype=np.bool_)
        ready[:, :2] = True
        # The slowest level serves white noise, where nothing but the mean is to be had.
        moves[:, 1] = np.clip(scaled(pending.level[slots, -1] - value, size), -FAR, FAR)
        for season in (short, long):
            there = (season > 0) & (season < count)
            then = self.season.at(slots, np.where(there, season - 1, 0))
            before = self.season.at(slots, np.where(there, season, 0))
            after = self.season.at(slots, np.where(there, np.maximum(season - 2, 0), 0))
            step = np.where(there, scaled(then - before, size), 0.0)
            far = np.where(there, scaled(then - value, size), 0.0)
            columns += [np.clip(step, -BOUND, BOUND), np.clip(far / 4, -BOUND, BOUND)]
            if season is short:
                earlier = self.season.at(slots, np.where(there & (season + 1 < count), season + 1, season))
                columns.append(np.clip(np.where(there, scaled(after - then, size), 0.0), -BOUND, BOUND))
                columns.append(np.clip(np.where(there, scaled(before - earlier, size), 0.0), -BOUND, BOUND))
            if self.settings.seasonal:
                first = self._own.index("seasonal")
                moves[:, first] = np.where(there, np.clip(far, -FAR, FAR), moves[:, first])
                moves[:, first + 1] = np.where(there, step, moves[:, first + 1])
                ready[:, first] |= there
                ready[:, first + 1] |= there
        columns.append(np.full(len(slots), 0.1))
        regressors = np.stack(columns, axis=1).astype(np.float32)
        pending.regressors[slots] = regressors
        if self.settings.drift:
            moves[:, self._own.index("drift")] = lags[:, 0]
            ready[:, self._own.index("drift")] = True
        if self.settings.autoregression:
            answer = self.regression.forecast(slots, regressors.astype(np.float64))
            moves[:, self._own.index("autoregression")] = np.clip(answer, -FAR, FAR)
            ready[:, self._own.index("autoregression")] = True
        pending.moves[slots] = moves
        pending.ready[slots] = ready

    def forecast(
        self, slots: NDArray[np.integer[Any]], network: FloatArray | None, network_ready: BoolArray
    ) -> FloatArray:
        """What is published: the forecast of the next value, float64[n], in the sensor's unit.

        Args:
            slots: distinct slots that have been updated before, [n].
            network: float64[n, M], forecasts of the LSTM's members in the sensor's unit, or None.
            network_ready: bool[n], whether they count.
        """
        pending = self.pending
        size = self.unit.size[slots]
        last = pending.last[slots]
        if network is not None and self.network_members:
            first = len(self._own)
            moves = np.clip(scaled(network - last[:, None], size[:, None]), -FAR, FAR)
            pending.moves[slots, first:] = np.where(network_ready[:, None], moves, 0.0)
            pending.ready[slots, first:] = network_ready[:, None]
        weight = self.mixture.weights(slots, pending.ready[slots])
        answer: FloatArray = last + size * np.einsum("ne,ne->n", weight, pending.moves[slots].astype(np.float64))
        return answer

    def outlook(self, slots: NDArray[np.integer[Any]]) -> tuple[FloatArray, FloatArray]:
        """Each expert's forecast of the next value and its weight, float64[n, E] each.

        An expert that is not ready shows the last value and weight 0.
        """
        pending = self.pending
        forecasts = pending.last[slots][:, None] + self.unit.size[slots][:, None] * pending.moves[slots]
        return forecasts, self.mixture.weights(slots, pending.ready[slots])


def scaled(change: FloatArray, size: FloatArray) -> FloatArray:
    """Change in units, bounded by ±1e6; 0 where nothing has changed yet."""
    there = size > 0
    bounded = np.clip(change, -1e6 * np.minimum(size, 1e300), 1e6 * np.minimum(size, 1e300))
    answer: FloatArray = np.where(there, bounded / np.where(there, size, 1.0), 0.0)
    return answer
