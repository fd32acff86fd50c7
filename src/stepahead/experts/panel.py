"""The panel of experts: every forecaster but the LSTM, the mixture over all, and what is published."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Composite, Slots, indices
from stepahead.contract.changes import Changes, change_at, scale_in
from stepahead.contract.compiled import compiled
from stepahead.contract.flags import some
from stepahead.contract.records import BoolArray, FloatArray, IntArray
from stepahead.contract.settings import ExpertSettings
from stepahead.experts.autoregression import Autoregression
from stepahead.experts.median import MEDIAN_OF, median_move
from stepahead.experts.mixture import Mixture
from stepahead.experts.season import Season
from stepahead.experts.seasonal import SeasonalView, look_back
from stepahead.experts.stillness import Stillness
from stepahead.experts.track import BOUND, Track
from stepahead.experts.unit import Unit, inverse_of

__all__ = ["Panel"]

MEMORY = 340
"""Changes remembered at least: a week of half-hourly ones and the neighbours of its end."""
FAR = 16.0
"""No forecast lies farther than so many units from the latest value."""
LEVEL_SEEN, DRIFT_SEEN, REGRESSION_SEEN = 16, 8, 2
SQUARED_SHARE = {"median": 0.0, "balanced": 0.25}
"""What a forecast weighs squared errors against absolute ones by; one that aims at the mean is the mixture itself."""
OWN = ("level", "median", "drift", "seasonal", "autoregression")
"""Experts by whose places the compiled loops know all of them: those of season and regression stand in threes."""
BLOCK = 4096
"""Series that are worked on at once; a float64 vector of them takes 32 KiB."""


class Panel(Composite):
    """All experts of all series and their mixture; grows, resets and saves like one bank.

    Inside, forecasts are *moves*: (forecast − latest value) / unit, so persistence is the move 0.

    Args:
        settings: which experts take part.
        network_members: forecasts that the LSTM hands in, M.
        capacity: number of slots to start with.
        remembered: changes of a series that are remembered, at least.

    Example:
        >>> panel = Panel(ExpertSettings(), network_members=0, capacity=1)
        >>> slots, zero, no = np.array([0]), np.array([0]), np.array([False])
        >>> for t in range(300):
        ...     panel.update(slots, np.array([(-1.0) ** t]), zero, zero, no)
        ...     answer = panel.forecast(slots, None, no)
        >>> panel.names[0], round(float(answer[0]))
        ('persistence', 1)
    """

    def __init__(
        self, settings: ExpertSettings, network_members: int, capacity: int = 0, remembered: int = MEMORY
    ) -> None:
        names = ["persistence", "level", "median"]
        if settings.drift:
            names.append("drift")
        if settings.seasonal:
            names += ["seasonal", "seasonal_change", "profile"]
        if settings.autoregression:
            names += ["autoregression", "quick_autoregression", "long_autoregression"]
        self._places = np.array([names.index(name) if name in names else -1 for name in OWN])
        self._own = len(names)
        self.names = (*names, *(f"lstm{member}" for member in range(network_members)))
        self.settings = settings
        self.unit = Unit(capacity=capacity)
        self.track = Track(capacity)
        self.changes = Changes(max(MEMORY, remembered, settings.season), capacity)
        self.season = Season(settings.season, self.changes.length, capacity)
        self.autoregression = Autoregression(settings.long_series, capacity if settings.autoregression else 0)
        self.mixture = Mixture(len(self.names), capacity=capacity)
        self._settles = settings.point in SQUARED_SHARE
        self.stillness = Stillness(SQUARED_SHARE.get(settings.point, 0.0), capacity)
        super().__init__(
            {
                "unit": self.unit,
                "track": self.track,
                "changes": self.changes,
                "season": self.season,
                "mixture": self.mixture,
                "stillness": self.stillness,
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

    @property
    def of_every_series(self) -> Composite:
        """The banks in which every series has a row: all but the long regressions, which the first series have."""
        return Composite({name: bank for name, bank in self.parts.items() if not name.startswith("long")})

    def bytes_per_series(self) -> int:
        """Memory that one more series costs; the long regressions of the first series are not in it."""
        return self.of_every_series.bytes_per_series()

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
        slots = indices(slots)
        for start in range(0, len(value), BLOCK):
            cut = slice(start, start + BLOCK)
            self._update(slots[cut], value[cut], time_ns[cut], period_ns[cut], reset[cut])

    def _update(
        self, slots: NDArray[np.intp], value: FloatArray, time_ns: IntArray, period_ns: IntArray, reset: BoolArray
    ) -> None:
        n, track = len(slots), self.track
        anew, learns, change, target = np.empty(n, np.bool_), np.empty(n, np.bool_), np.empty(n), np.empty(n)
        _compare(slots, track.last, track.seen, self.unit.size, value, reset, anew, learns, change, target)
        scored = self.mixture.update(slots, target, learns)
        if self._settles:
            self.stillness.learn(slots, self.mixture.mixed[slots], target, scored)
        if self.settings.autoregression:
            self.autoregression.learn(slots, target, learns)

        inverse = self.unit.update(slots, change, anew)
        track.update(slots, value, anew)
        self.changes.append(slots, change, anew)
        self.season.search(slots, self.changes, value, anew)
        changed = self.season.update(slots, period_ns)
        view = look_back(self.changes, slots, self.season, inverse)
        if self.settings.autoregression:
            if some(changed):  # what the regressors mean is another thing now
                self.autoregression.short.reset(slots[changed])
            state = (track, self.changes, self.season, view)
            self.autoregression.see(slots, *state, inverse, time_ns + period_ns)
        self._forecast_own(slots, inverse, view)

    def _forecast_own(self, slots: NDArray[np.intp], inverse: FloatArray, view: SeasonalView) -> None:
        regressions = self.autoregression.forecast(slots) if self.settings.autoregression else (inverse[:0],) * 3
        track, mixture = self.track, self.mixture
        _move(
            slots,
            *(track.last, track.level, track.seen, *self.changes.state, view.seasons, view.moves, *regressions),
            *(inverse, self.settings.long_series, self._places, mixture.moves, mixture.ready),
        )

    def forecast(self, slots: Slots, network: FloatArray | None, network_ready: BoolArray) -> FloatArray:
        """What is published: the forecast of the next value, float64[n], in the sensor's unit.

        Args:
            slots: distinct slots that have been updated before, [n].
            network: float64[n, M], forecasts of the LSTM's members in the sensor's unit, or None.
            network_ready: bool[n], whether they count.
        """
        slots = indices(slots)
        if network is None:
            network, network_ready = np.zeros((len(slots), len(self.names) - self._own)), np.zeros_like(network_ready)
        still = np.empty(len(slots), np.bool_)
        state = (self.track.last, self.unit.size, *self.changes.state, self.mixture.moves, self.mixture.ready)
        _take_network(slots, network, network_ready, *state, self._own, still)
        mixed = self.mixture.mix(slots)
        settled = self.stillness.settle(slots, mixed, still) if self._settles else mixed
        answer: FloatArray = self.track.last[slots] + self.unit.size[slots] * settled
        return answer

    def unsettle(self, slots: Slots) -> None:
        """Drift was found among these series: what was learned is kept, and what comes counts as at the beginning."""
        if self.settings.autoregression:
            self.autoregression.unsettle(indices(slots))

    def outlook(self, slots: Slots) -> tuple[FloatArray, FloatArray]:
        """Each expert's forecast of the next value and its weight, float64[n, E] each.

        An expert that is not ready shows the latest value and weight 0.
        """
        forecasts = self.track.last[slots][:, None] + self.unit.size[slots][:, None] * self.mixture.moves[slots]
        return forecasts, self.mixture.weights(slots).astype(np.float64)

    def mean(self, slots: Slots) -> FloatArray:
        """The mixture's forecasts that wait for their readings, float64[n], before small moves are given up."""
        answer: FloatArray = self.track.last[slots] + self.unit.size[slots] * self.mixture.mixed[slots]
        return answer


@compiled
def _compare(
    slots: Any,
    last: Any,
    seen: Any,
    sizes: Any,
    value: Any,
    reset: Any,
    anew: Any,
    learns: Any,
    change: Any,
    target: Any,
) -> None:
    """What came beside what was there: the change, and in units what the experts' forecasts are scored by."""
    for i in range(len(slots)):
        slot = slots[i]
        anew[i] = seen[slot] == 0 or reset[i]
        change[i] = 0.0 if anew[i] else value[i] - last[slot]
        inverse = inverse_of(sizes[slot])
        target[i] = min(max(change[i] * inverse, -BOUND), BOUND)
        learns[i] = not anew[i] and inverse > 0.0


@compiled
def _move(
    slots: Any,
    last: Any,
    levels: Any,
    seen: Any,
    rings: Any,
    scales: Any,
    counts: Any,
    heads: Any,
    seasons: Any,
    seasonal: Any,
    short: Any,
    quick: Any,
    long: Any,
    inverses: Any,
    long_series: int,
    places: Any,
    moves: Any,
    ready: Any,
) -> None:
    """Write the forecasts of the panel's own experts; `places` are theirs among the moves, -1 where switched off."""
    level, median, drift, season, regression = places
    for i in range(len(slots)):
        slot, inverse = slots[i], inverses[i]
        ring, scale, head, count = rings[slot], scale_in(scales[slot], inverse), heads[slot], counts[slot]
        move, bits = moves[slot], 1
        move[:] = 0
        # The slowest level serves white noise, the median a feed of spikes: there the latest value says little.
        move[level] = _near((levels[slot, -1] - last[slot]) * inverse)
        move[median] = _near(median_move(ring, scale, head, count))
        bits |= (seen[slot] >= LEVEL_SEEN) << level | (seen[slot] >= MEDIAN_OF) << median
        if drift >= 0:
            move[drift] = min(max(change_at(ring, scale, head, 0), -BOUND), BOUND) if count > 0 else 0.0
            bits |= (seen[slot] >= DRIFT_SEEN) << drift
        if season >= 0 and seasons[i] > 0:
            move[season], move[season + 1] = _near(seasonal[i, 0]), _near(seasonal[i, 1])
            move[season + 2] = _near(seasonal[i, 4])
            bits |= 7 << season
        if regression >= 0 and seen[slot] >= REGRESSION_SEEN:
            move[regression], move[regression + 1] = _near(short[i]), _near(quick[i])
            move[regression + 2] = _near(long[i])
            bits |= (7 if slot < long_series else 3) << regression
        ready[slot] = bits


@compiled
def _near(move: Any) -> Any:
    return min(max(move, -FAR), FAR)


@compiled
def _take_network(
    slots: Any,
    network: Any,
    network_ready: Any,
    last: Any,
    sizes: Any,
    rings: Any,
    scales: Any,
    counts: Any,
    heads: Any,
    moves: Any,
    ready: Any,
    first: int,
    still: Any,
) -> None:
    """Write the network's forecasts beside the others, and say whose latest value repeated the one before it."""
    for i in range(len(slots)):
        slot = slots[i]
        inverse = inverse_of(sizes[slot])
        for m in range(network.shape[1]):
            bit = 1 << (first + m)
            if network_ready[i]:
                moves[slot, first + m] = _near((network[i, m] - last[slot]) * inverse)
                ready[slot] |= bit
            else:
                moves[slot, first + m] = 0
                ready[slot] &= ~bit
        still[i] = counts[slot] == 0 or change_at(rings[slot], scales[slot], heads[slot], 0) == 0.0
