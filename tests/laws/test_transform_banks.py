"""Laws of the banks between a raw value and model units: series never mix, and a cut anywhere changes nothing."""

from collections import Counter
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stepahead.contract.bank import Bank
from stepahead.contract.records import Readings
from stepahead.contract.settings import CadenceSettings, TransformSettings
from stepahead.transform.cadence import Cadence
from stepahead.transform.calendar import calendar_features
from stepahead.transform.compress import Compress
from stepahead.transform.difference import Difference
from stepahead.transform.standardize import Standardizer, standardizer

SLOTS = 20  # more than the widest vector register holds, so that remainders of vector loops occur
SECOND = 10**9


def cadence(bank: Bank, batch: Readings) -> tuple[NDArray[Any], ...]:
    assert isinstance(bank, Cadence)
    arrival = bank.update(batch.series, batch.time_ns, batch.value)
    read = (bank.period_ns, bank.valid_at, bank.span_ns, bank.seen)
    return (*astuple(arrival), *(f(batch.series) for f in read))


def difference(bank: Bank, batch: Readings) -> tuple[NDArray[Any], ...]:
    assert isinstance(bank, Difference)
    diff, ready = bank.update(batch.series, batch.value)
    ahead = np.stack([diff, 0.5 * diff, -diff, diff, diff], axis=1)
    path = bank.invert_path(batch.series, ahead)
    return diff, ready, bank.invertible(batch.series), bank.invert(batch.series, diff), path


def standardize(bank: Bank, batch: Readings) -> tuple[NDArray[Any], ...]:
    assert isinstance(bank, Standardizer)
    before = bank.apply(batch.series, batch.value)
    bank.update(batch.series, batch.value)
    read = (bank.center, bank.scale, bank.ready)
    after = bank.apply(batch.series, batch.value)
    return before, after, bank.invert(batch.series, after), *(f(batch.series) for f in read)


def mixed_orders() -> Bank:
    bank = Difference(seasonal_lag=3, capacity=SLOTS)
    bank.set_order(np.arange(SLOTS, dtype=np.int32), (np.arange(SLOTS) % 4).astype(np.int8))
    return bank


@dataclass(frozen=True)
class Case:
    make: Callable[[], Bank]
    feed: Callable[[Bank, Readings], tuple[NDArray[Any], ...]]


def standardizing(scaling: str, centered: bool) -> Case:
    chosen = TransformSettings.model_validate({"scaling": scaling, "ewm_span": 40})
    return Case(lambda: standardizer(chosen, centered, SLOTS), standardize)


CASES = {
    "cadence": Case(lambda: Cadence(CadenceSettings(), SLOTS), cadence),
    "difference": Case(lambda: Difference(capacity=SLOTS), difference),
    "difference mixed orders": Case(mixed_orders, difference),
    **{
        f"{scaling} {'centered' if centered else 'about zero'}": standardizing(scaling, centered)
        for scaling in ("ewm", "welford", "minmax", "none")
        for centered in (True, False)
    },
}


def readings(rng: np.random.Generator) -> Readings:
    """A feed of several series, interleaved: quiet, constant, jumping, huge; regular, jittered, late, repeated."""
    series = np.repeat(np.arange(SLOTS, dtype=np.int32), rng.integers(0, 60, SLOTS))
    rng.shuffle(series)
    n = len(series)
    size = np.array([1.0, 1e-9, 1e6, 1e300, 1e-300])[rng.integers(0, 5, SLOTS)][series]
    value = rng.normal(size=n) * size
    value[rng.random(n) < 0.05] *= 1e6 if rng.random() < 0.5 else -0.0
    value = np.clip(value, -1e300, 1e300)
    value[(series % 5 == 0)] = 21.5
    step = rng.choice([SECOND, 7 * SECOND, 3600 * SECOND], SLOTS)[series]
    interval = np.where(rng.random(n) < 0.7, step, (step * rng.choice([-1, 0, 1.5, 20, 500], n)).astype(np.int64))
    time_ns = np.zeros(n, dtype=np.int64)
    for slot in range(SLOTS):
        rows = series == slot
        time_ns[rows] = rng.integers(-(2**62), 2**62) + np.cumsum(interval[rows])
    time_ns[rng.random(n) < 0.01] = rng.choice([2**63 - 1, -(2**63)])
    return Readings(series, time_ns, value)


def rounds(batch: Readings) -> list[NDArray[np.intp]]:
    """Rows of a batch, split so that the slots of each part are distinct and each series keeps its order."""
    met: Counter[int] = Counter()
    turn = np.zeros(len(batch), dtype=int)
    for i, slot in enumerate(batch.series.tolist()):
        turn[i] = met[slot]
        met[slot] += 1
    return [np.flatnonzero(turn == t) for t in range(turn.max(initial=-1) + 1)]


def feed(case: Case, bank: Bank, batch: Readings, cuts: list[int]) -> list[tuple[Any, ...]]:
    """Outputs per reading, with the batch cut at `cuts`."""
    outputs: dict[int, tuple[Any, ...]] = {}
    for start, stop in zip([0, *cuts], [*cuts, len(batch)], strict=True):
        for rows in rounds(batch[start:stop]):
            columns = case.feed(bank, batch[start:stop][rows])
            assert all(np.isfinite(column).all() for column in columns)
            for i, row in enumerate(rows):
                outputs[start + int(row)] = tuple(column[i].tolist() for column in columns)
    return [outputs[i] for i in range(len(batch))]


def random_cuts(rng: np.random.Generator, n: int) -> list[int]:
    return sorted(rng.integers(0, n + 1, rng.integers(0, 12)).tolist())


def assert_same_state(one: Bank, other: Bank) -> None:
    states = one.state_dict(), other.state_dict()
    for name, array in states[0].items():
        assert np.isfinite(array).all()
        assert array.tolist() == states[1][name].tolist(), name


each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
seeds = st.integers(0, 2**32 - 1)


@each_case
@given(seed=seeds)
@settings(max_examples=12, deadline=None)
def test_feeding_series_together_equals_feeding_each_alone(case: Case, seed: int) -> None:
    rng = np.random.default_rng(seed)
    batch = readings(rng)
    together = case.make()
    outputs = feed(case, together, batch, random_cuts(rng, len(batch)))

    alone = case.make()
    for slot in range(SLOTS):
        rows = np.flatnonzero(batch.series == slot)
        single = feed(case, alone, batch[rows], list(range(len(rows))))
        assert single == [outputs[row] for row in rows]
    assert_same_state(together, alone)


@each_case
@given(seed=seeds)
@settings(max_examples=8, deadline=None)
def test_a_bank_saved_anywhere_goes_on_as_if_nothing_happened(case: Case, seed: int) -> None:
    rng = np.random.default_rng(seed)
    batch = readings(rng)
    cut = int(rng.integers(0, len(batch) + 1))
    through = case.make()
    expected = feed(case, through, batch, [cut])

    first, second = case.make(), case.make()
    feed(case, first, batch[:cut], [])
    second.load_state_dict(first.state_dict())
    assert feed(case, second, batch[cut:], []) == expected[cut:]
    assert_same_state(second, through)


@each_case
@given(seed=seeds)
@settings(max_examples=8, deadline=None)
def test_growing_changes_nothing_and_reset_gives_a_newborn(case: Case, seed: int) -> None:
    rng = np.random.default_rng(seed)
    batch = readings(rng)
    cut = int(rng.integers(0, len(batch) + 1))
    through, grown = case.make(), case.make()
    expected = feed(case, through, batch, [cut])
    feed(case, grown, batch[:cut], [])
    grown.grow(3 * SLOTS)
    assert feed(case, grown, batch[cut:], []) == expected[cut:]

    newborn = {name: array[-1].tolist() for name, array in grown.state_dict().items()}
    before = grown.state_dict()
    grown.reset(np.array([1, 4]))
    for name, array in grown.state_dict().items():
        assert array[1].tolist() == array[4].tolist() == newborn[name]
        kept = np.delete(np.arange(3 * SLOTS), [1, 4])
        assert array[kept].tolist() == before[name][kept].tolist()


@given(seed=seeds, kind=st.sampled_from(["none", "log1p", "asinh"]))
@settings(max_examples=20, deadline=None)
def test_compressing_and_calendar_do_not_depend_on_the_batch(seed: int, kind: str) -> None:
    batch = readings(np.random.default_rng(seed))
    compress = Compress(kind)  # type: ignore[arg-type]
    image = compress.apply(batch.value)
    value = compress.invert(image)
    period, span = np.full(len(batch), SECOND), np.full(len(batch), 2**60)
    features = calendar_features(batch.time_ns, period, span)
    for i in range(len(batch)):
        one = slice(i, i + 1)
        assert compress.apply(batch.value[one])[0] == image[i]
        assert compress.invert(image[one])[0] == value[i]
        single = calendar_features(batch.time_ns[one], period[one], span[one])
        assert single[0].tolist() == features[i].tolist()
