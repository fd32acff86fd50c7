"""The panel of experts: every forecaster but the LSTM, the mixture over all, and what is published."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Composite
from stepahead.contract.records import BoolArray, FloatArray, IntArray
from stepahead.contract.settings import ExpertSettings
from stepahead.experts.autoregression import Autoregression, Inputs
from stepahead.experts.memory import Memory
from stepahead.experts.mixture import Mixture, turned
from stepahead.experts.pending import Pending
from stepahead.experts.rows import Rows, as_rows, part
from stepahead.experts.season import Season
from stepahead.experts.seasonal import SeasonalView, look_back
from stepahead.experts.track import BOUND, Track
from stepahead.experts.unit import Unit

__all__ = ["Panel"]

MEMORY = 340
"""Readings remembered: a week of half-hourly ones and the neighbours of its end."""
FAR = 64.0
"""No forecast lies farther than so many units from the latest value."""
LEVEL_SEEN, MEDIAN_SEEN, DRIFT_SEEN = 16, 5, 8
BLOCK = 4096
"""Series that are worked on at once; a float64 vector of them takes 32 KiB."""


class Panel(Composite):
    """All experts of all series and their mixture; grows, resets and saves like one bank.

    Inside, forecasts are *moves*: (forecast − latest value) / unit, so persistence is the move 0.

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
        names = ["persistence", "level", "median"]
        if settings.drift:
            names.append("drift")
        if settings.seasonal:
            names += ["seasonal", "seasonal_change", "profile"]
        if settings.autoregression:
            names += ["autoregression", "quick_autoregression", "long_autoregression"]
        self._own = {name: row for row, name in enumerate(names)}
        self.names = (*names, *(f"lstm{member}" for member in range(network_members)))
        self.network_members = network_members
        self.settings = settings
        length = MEMORY if not settings.season else max(MEMORY, settings.season + 2)
        self.unit = Unit(capacity=capacity)
        self.track = Track(capacity=capacity)
        self.season = Season(settings.season, length, capacity)
        self.memory = Memory(length, capacity)
        self.autoregression = Autoregression(settings.long_series, capacity if settings.autoregression else 0)
        self.mixture = Mixture(len(self.names), least_bend=settings.spike_bend, capacity=capacity)
        self.pending = Pending(len(self.names), capacity)
        super().__init__(
            {
                "unit": self.unit,
                "track": self.track,
                "season": self.season,
                "memory": self.memory,
                "mixture": self.mixture,
                "pending": self.pending,
                **(self.autoregression.banks if settings.autoregression else {}),
            }
        )

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` slots; never shrinks."""
        for name, bank in self.parts.items():
            bank.grow(min(capacity, self.settings.long_series) if name.startswith("long") else capacity)

    def reset(self, slots: NDArray[np.integer[Any]]) -> None:
        """Put these slots back to the state of a newborn series."""
        for bank in self.parts.values():
            bank.reset(slots[slots < bank.capacity])

    def bytes_per_series(self) -> int:
        """Memory that one more series costs; the long regressions of the first series are not in it."""
        return sum(bank.bytes_per_series() for name, bank in self.parts.items() if not name.startswith("long"))

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
            value: float64[n], in the sensor's unit, finite, at most 1e300 in size.
            time_ns: int64[n], time of the reading, UTC.
            period_ns: int64[n], usual time between readings; 0 = unknown.
            reset: bool[n], the gap before this reading was too long: nothing is scored, lags start anew.
        """
        rows = as_rows(slots)
        # Products of huge changes and huge 1/units overflow to infinity and are clipped at once.
        with np.errstate(over="ignore"):
            for start in range(0, len(value), BLOCK):
                cut = slice(start, min(start + BLOCK, len(value)))
                self._update(part(rows, cut.start, cut.stop), value[cut], time_ns[cut], period_ns[cut], reset[cut])

    def _update(self, rows: Rows, value: FloatArray, time_ns: IntArray, period_ns: IntArray, reset: BoolArray) -> None:
        anew = (self.track.seen[rows] == 0) | reset
        change = np.where(anew, 0.0, value - self.track.last[rows])
        inverse = self.unit.inverse(rows)
        target = np.clip(change * inverse, -BOUND, BOUND)
        learns = ~anew & (inverse > 0)
        self._score(rows, target, learns)
        self.unit.update(rows, change, ~anew)
        inverse = self.unit.inverse(rows)
        self.track.update(rows, value, inverse, change, anew)
        self.memory.append(rows, value, self.unit.size[rows], anew)
        self.season.search(rows, self.memory)
        changed = self.season.update(rows, period_ns)
        season, daily = self.season.length[rows].astype(np.int64), self.season.daily[rows]
        view = look_back(self.memory, rows, season, daily, value, inverse) if season.any() else None
        if self.settings.autoregression:
            inputs = Inputs(self.track, rows, value, inverse, season > 0, daily, view, time_ns + period_ns)
            self.autoregression.see(rows, inputs, changed)
        self._forecast_own(rows, value, inverse, view)

    def _score(self, rows: Rows, target: FloatArray, learns: BoolArray) -> None:
        pending = self.pending
        scored = learns & pending.issued[rows]
        ready = turned(pending.ready[rows])
        ready &= scored
        moves = turned(pending.moves[rows])
        self.mixture.update(rows, moves, ready, pending.mixed[rows], target)
        pending.issued[rows] = False
        if self.settings.autoregression:
            own = [self._own[f"{which}autoregression"] for which in ("", "quick_", "long_")]
            self.autoregression.learn(rows, learns, target, *(moves[place] for place in own))

    def _forecast_own(self, rows: Rows, value: FloatArray, inverse: FloatArray, view: SeasonalView | None) -> None:
        moves = np.zeros((len(self.names), len(value)), dtype=np.float32)
        ready = np.zeros(moves.shape, dtype=np.bool_)
        ready[0] = True
        seen = self.track.seen[rows]
        own = self._own

        def put(name: str, move: NDArray[Any], there: BoolArray) -> None:
            moves[own[name]] = np.clip(move, -FAR, FAR)
            ready[own[name]] = there

        # The slowest level serves white noise, the median a feed of spikes: there the latest value says little.
        put("level", (self.track.level[rows][:, -1] - value) * inverse, seen >= LEVEL_SEEN)
        put("median", (self.track.median(rows) - value) * inverse, seen >= MEDIAN_SEEN)
        if "drift" in own:
            put("drift", self.track.changes[rows][:, 0], seen >= DRIFT_SEEN)
        if "seasonal" in own and view is not None:
            put("seasonal", view.naive, view.there)
            put("seasonal_change", view.change, view.there)
            put("profile", view.profile, view.there)
        if "autoregression" in own:
            short, quick, long, has_long = self.autoregression.forecast(rows)
            put("autoregression", short, seen > 1)
            put("quick_autoregression", quick, seen > 1)
            put("long_autoregression", long, has_long & (seen > 1))
        self.pending.moves[rows] = moves.T
        self.pending.ready[rows] = ready.T

    def forecast(
        self, slots: NDArray[np.integer[Any]], network: FloatArray | None, network_ready: BoolArray
    ) -> FloatArray:
        """What is published: the forecast of the next value, float64[n], in the sensor's unit.

        Args:
            slots: distinct slots that have been updated before, [n].
            network: float64[n, M], forecasts of the LSTM's members in the sensor's unit, or None.
            network_ready: bool[n], whether they count.
        """
        rows, pending = as_rows(slots), self.pending
        last = self.track.last[rows]
        if network is not None and self.network_members:
            inverse = self.unit.inverse(rows)[:, None]
            with np.errstate(over="ignore"):
                moves = np.clip((network - last[:, None]) * inverse, -FAR, FAR)
            pending.moves[rows, len(self._own) :] = np.where(network_ready[:, None], moves, 0.0)
            pending.ready[rows, len(self._own) :] = network_ready[:, None]
        weight = self.mixture.weights(rows, turned(pending.ready[rows]))
        weight *= pending.moves[rows].T
        mixed = weight[0].copy()
        for row in weight[1:]:
            mixed += row
        pending.mixed[rows] = mixed
        pending.issued[rows] = True
        answer: FloatArray = last + self.unit.size[rows] * mixed
        return answer

    def outlook(self, slots: NDArray[np.integer[Any]]) -> tuple[FloatArray, FloatArray]:
        """Each expert's forecast of the next value and its weight, float64[n, E] each.

        An expert that is not ready shows the latest value and weight 0.
        """
        pending = self.pending
        forecasts = self.track.last[slots][:, None] + self.unit.size[slots][:, None] * pending.moves[slots]
        weight = self.mixture.weights(slots, turned(pending.ready[slots]))
        return forecasts, weight.T.astype(np.float64)
