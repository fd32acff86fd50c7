"""Named sets of simulated sensors: what `simulate --scenario` and `demo` publish."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from simulators.faults import Fault, Spikes, Track
from simulators.feeds import Feed, RandomWalk, Season, Sine, Sum, WhiteNoise
from simulators.regimes import Autoregression, Regime, RegimeChange
from stepahead.contract.errors import UsageError
from stepahead.contract.records import IntArray

__all__ = ["SCENARIOS", "Sensor", "scenario"]


@dataclass
class Sensor:
    """A simulated sensor.

    Attributes:
        topic: where it publishes.
        feed: what it measures.
        digits: decimals that it sends: real sensors do not send seventeen digits.
        faults: what goes wrong with it.
    """

    topic: str
    feed: Feed
    digits: int = 3
    faults: list[Fault] = field(default_factory=list)

    def track(self, time_ns: IntArray) -> Track:
        """What it sends for readings taken at these times, int64[n]."""
        track = Track.of(time_ns, self.feed.sample(len(time_ns)))
        for damage in self.faults:
            track = damage.apply(track)
        return Track(track.time_ns, np.round(track.value, self.digits), track.kind)


def _wave(level: float, amplitude: float, period: float, phase: float = 0.0) -> Sine:
    return Sine(amplitude, period, level, sigma=0.0, phase=phase)


def _temperature(seed: int, phase: float) -> Feed:
    return Sum(_wave(61.5, 2.4, 240, phase), Autoregression((1.5, -0.7), sigma=0.05, seed=seed))


def _pressure(seed: int, phase: float) -> Feed:
    # A pulsating pump: strongly periodic, so that the last value is a poor forecast.
    return Sum(_wave(4.2, 0.25, 300, phase), Autoregression((1.72, -0.9), sigma=0.02, seed=seed))


def _vibration(seed: int, phase: float) -> Feed:
    # Deterministic and noise: the best forecast is the sine itself.
    return Sine(1.4, 16.0, 0.0, sigma=0.18, phase=phase, seed=seed)


def _flow(seed: int, phase: float) -> Feed:
    regimes = [Regime(700, (1.2, -0.5), 118.0, 0.9), Regime(500, (0.4, 0.3), 131.0, 0.9)]
    return Sum(_wave(0.0, 1.5, 90, phase), RegimeChange(regimes, seed=seed))


def _power(seed: int, phase: float) -> Feed:
    # A machine that works in strokes: deterministic and noise.
    return Sum(
        Season(steps_per_day=40, amplitude=5.6, weekend=0.35, level=11.0, sigma=0.0),
        WhiteNoise(sigma=0.25, seed=seed),
    )


def _level(seed: int, phase: float) -> Feed:
    # Nothing can be learned here: the last value is the best forecast, and the skill should stay at 0.
    return RandomWalk(2350.0, sigma=1.6, seed=seed)


QUANTITIES: dict[str, tuple[Callable[[int, float], Feed], int]] = {
    "temperature": (_temperature, 2),
    "pressure": (_pressure, 3),
    "vibration": (_vibration, 3),
    "flow": (_flow, 1),
    "power": (_power, 2),
    "level": (_level, 0),
}
"""Quantity -> its feed (seed, phase in turns) and the decimals it is sent with."""

PLACES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("pump", ("temperature", "pressure", "vibration")),
    ("line", ("flow", "power")),
    ("tank", ("level", "temperature")),
    ("pump", ("temperature", "pressure", "vibration")),
    ("line", ("flow", "power")),
)
"""Twelve sensors of one hall; further halls repeat them with higher numbers."""


def _plant_names(count: int) -> list[str]:
    numbers: dict[str, int] = {}
    names: list[str] = []
    while len(names) < count:
        for place, quantities in PLACES:
            numbers[place] = numbers.get(place, 0) + 1
            names += [f"{place}{numbers[place]}/{quantity}" for quantity in quantities]
    return names[:count]


def _plant(prefix: str, count: int, seed: int) -> list[Sensor]:
    sensors = []
    for i, name in enumerate(_plant_names(count)):
        quantity = name.rsplit("/", 1)[1]
        make, digits = QUANTITIES[quantity]
        child = int(np.random.SeedSequence([seed, i]).generate_state(1)[0])
        sensor = Sensor(f"{prefix}/{name}", make(child, (0.37 * i) % 1.0), digits)
        if quantity == "vibration":
            sensor.faults.append(Spikes(rate=0.002, size=6.0, seed=child))
        sensors.append(sensor)
    return sensors


def _many(make: Callable[[int], Feed], name: str) -> Callable[[str, int, int], list[Sensor]]:
    def build(prefix: str, count: int, seed: int) -> list[Sensor]:
        return [Sensor(f"{prefix}/{name}{i}", make(seed * 100_003 + i), digits=6) for i in range(1, count + 1)]

    return build


def _regime(seed: int) -> Feed:
    return RegimeChange([Regime(2000, (1.6, -0.8), 0.0, 1.0), Regime(2000, (0.3,), 10.0, 1.0)], seed)


SCENARIOS: dict[str, tuple[str, int, Callable[[str, int, int], list[Sensor]]]] = {
    "plant": ("plant", 12, _plant),
    "ar2": ("sensors", 1, _many(lambda seed: Autoregression(seed=seed), "ar")),
    "sine": ("sensors", 1, _many(lambda seed: Sine(seed=seed), "sine")),
    "white": ("sensors", 1, _many(lambda seed: WhiteNoise(seed=seed), "white")),
    "walk": ("sensors", 1, _many(lambda seed: RandomWalk(seed=seed), "walk")),
    "regime": ("sensors", 1, _many(_regime, "regime")),
    "season": ("sensors", 1, _many(lambda seed: Season(seed=seed), "season")),
}
"""Name -> usual topic prefix, usual number of sensors, builder (prefix, count, seed)."""


def scenario(name: str, seed: int = 0, count: int | None = None, prefix: str | None = None) -> list[Sensor]:
    """The sensors of a scenario.

    Args:
        name: one of `SCENARIOS`.
        seed: of all noise; the same seed gives the same values.
        count: how many sensors, ≥ 1; none = as many as is usual for the scenario.
        prefix: first levels of the topics; none = the usual ones.

    Raises:
        UsageError: no scenario has this name, or the count is below 1.

    Example:
        >>> [sensor.topic for sensor in scenario("plant", count=3)]
        ['plant/pump1/temperature', 'plant/pump1/pressure', 'plant/pump1/vibration']
    """
    if name not in SCENARIOS:
        raise UsageError(f"scenario {name!r} is unknown, allowed are: {', '.join(SCENARIOS)}")
    usual_prefix, usual_count, build = SCENARIOS[name]
    if count is not None and count < 1:
        raise UsageError(f"{count} series asked for, allowed are 1 and more")
    return build((prefix or usual_prefix).rstrip("/"), count or usual_count, seed)
