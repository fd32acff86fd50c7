from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, StandardScaler

from stepahead.contract.settings import TransformSettings
from stepahead.transform.standardize import Identity, MinMax, Moments, Standardizer, standardizer

SLOT = np.array([0], dtype=np.int32)
Floats = NDArray[np.float64]
CLIP = 8.0


def maker(scaling: str, centered: bool) -> Callable[[], Standardizer]:
    chosen = TransformSettings.model_validate({"scaling": scaling})
    return lambda: standardizer(chosen, centered, capacity=1)


KINDS = {
    f"{scaling} {'centered' if centered else 'about zero'}": maker(scaling, centered)
    for scaling in ("ewm", "welford", "minmax", "none")
    for centered in (True, False)
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
learning = {name: make for name, make in KINDS.items() if "none" not in name}
every_learning_kind = pytest.mark.parametrize("make", learning.values(), ids=learning.keys())
moderate = st.lists(st.floats(-1e6, 1e6).map(lambda x: round(x, 3)), min_size=1, max_size=23)
extreme = st.lists(
    st.one_of(st.floats(-1e300, 1e300), st.sampled_from([0.0, 1e300, -1e300, 1e-300, 5e-324])), min_size=1, max_size=60
)


def feed(bank: Standardizer, values: "Floats | list[float]") -> None:
    for x in values:
        bank.update(SLOT, np.array([x], dtype=np.float64))


def scale(bank: Standardizer) -> float:
    return float(bank.scale(SLOT)[0])


def center(bank: Standardizer) -> float:
    return float(bank.center(SLOT)[0])


@given(values=moderate)
def test_welford_is_standard_scaler_at_every_step(values: list[float]) -> None:
    bank = Moments(alpha=0.0, centered=True, clip=CLIP, capacity=1)
    for n, x in enumerate(values, 1):
        feed(bank, [x])
        so_far = np.array(values[:n])
        twin = StandardScaler().fit(so_far[:, None])
        largest = np.abs(so_far).max()
        assert center(bank) == pytest.approx(twin.mean_[0], rel=1e-12, abs=1e-12 * largest)
        assert bank.variance[0] == pytest.approx(twin.var_[0], rel=1e-9, abs=1e-18 * largest**2)


@pytest.mark.parametrize("alpha", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("centered", [True, False])
def test_moments_are_the_weighted_ones_at_every_step(alpha: float, centered: bool) -> None:
    x = np.random.default_rng(0).normal(3.0, 2.0, 400)
    bank = Moments(alpha, centered, clip=1e9, capacity=1)
    weights = np.empty(0)
    for n in range(1, len(x) + 1):
        feed(bank, x[n - 1 : n])
        rate = max(1.0 / n, alpha)
        weights = np.r_[weights * (1.0 - rate), rate]
        mean = np.average(x[:n], weights=weights) if centered else 0.0
        assert center(bank) == pytest.approx(mean, rel=1e-12)
        assert bank.variance[0] == pytest.approx(np.average((x[:n] - mean) ** 2, weights=weights), rel=1e-10, abs=1e-14)


@given(values=moderate)
def test_min_max_is_scikit_learns(values: list[float]) -> None:
    bank, about_zero = MinMax(True, CLIP, capacity=1), MinMax(False, CLIP, capacity=1)
    feed(bank, values)
    feed(about_zero, values)
    column = np.array(values)[:, None]
    twin, largest = MinMaxScaler().fit(column), MaxAbsScaler().fit(column)
    assert center(bank) == twin.data_min_[0]
    if twin.data_range_[0] > 0:
        assert scale(bank) == pytest.approx(twin.data_range_[0], rel=1e-15)
        z = bank.apply(SLOT, column[-1])[0]
        assert z == pytest.approx(twin.transform(column[-1:])[0, 0], abs=1e-8)
    if largest.max_abs_[0] > 0:
        assert scale(about_zero) == largest.max_abs_[0]


@every_kind
def test_no_more_than_24_readings_make_it_ready(make: Callable[[], Standardizer]) -> None:
    bank = make()
    assert bank.ready(SLOT)[0] == isinstance(bank, Identity)
    feed(bank, [1.0] * 23)
    assert bank.ready(SLOT)[0] == isinstance(bank, Identity)
    feed(bank, [1.0])
    assert bank.ready(SLOT)[0]


@every_kind
@given(values=extreme, x=st.floats(-1e300, 1e300))
def test_everything_stays_finite(make: Callable[[], Standardizer], values: list[float], x: float) -> None:
    bank = make()
    for value in values:
        feed(bank, [value])
        z = bank.apply(SLOT, np.array([x]))
        assert np.isfinite(z).all()
        assert np.isfinite(bank.invert(SLOT, z)).all()
        assert np.isfinite(bank.invert(SLOT, np.array([1.7e308]))).all()
        assert 0 < scale(bank) < np.inf
        assert np.isfinite(center(bank))


@every_kind
@given(values=moderate, x=st.floats(-1e6, 1e6))
def test_inverting_undoes_applying(make: Callable[[], Standardizer], values: list[float], x: float) -> None:
    bank = make()
    feed(bank, values)
    z = bank.apply(SLOT, np.array([x]))
    largest = abs(x) + abs(center(bank))
    assert bank.invert(SLOT, z)[0] == pytest.approx(x, rel=0, abs=8 * 2.0**-53 * largest + 1e-300)


@every_kind
def test_a_path_is_applied_and_inverted_column_by_column(make: Callable[[], Standardizer]) -> None:
    bank = make()
    feed(bank, [1.0, 4.0, 2.0])
    x = np.array([[0.5, 3.0, -7.0]])
    z = bank.apply(SLOT, x)
    assert z[0].tolist() == [bank.apply(SLOT, x[:, k])[0] for k in range(3)]
    assert bank.invert(SLOT, z)[0].tolist() == [bank.invert(SLOT, z[:, k])[0] for k in range(3)]


@every_learning_kind
@pytest.mark.parametrize("value", [0.0, 0.1, -21.5, 1e-12, 1e300])
def test_a_constant_series_has_a_finite_positive_scale(make: Callable[[], Standardizer], value: float) -> None:
    bank = make()
    feed(bank, [value] * 300)
    assert 0 < scale(bank) < np.inf
    assert np.isfinite(bank.apply(SLOT, np.array([value, value + 1.0])[:1])).all()
    if center(bank) == value:
        assert bank.apply(SLOT, np.array([value]))[0] == 0.0
        assert scale(bank) == pytest.approx(1e-9 * abs(value) + 1e-30)


@every_learning_kind
def test_after_a_constant_the_first_movement_sets_the_scale(make: Callable[[], Standardizer]) -> None:
    bank = make()
    feed(bank, [20.0 if center(bank) else 0.0] * 300)
    feed(bank, np.random.default_rng(0).normal(center(bank), 5.0, 200))
    assert 1.0 < scale(bank) < 40.0


@every_learning_kind
def test_one_spike_cannot_blow_the_scale(make: Callable[[], Standardizer]) -> None:
    x = np.random.default_rng(0).normal(size=300)
    spiked, clean = make(), make()
    feed(spiked, np.r_[x[:200], 1e6, x[200:]])
    feed(clean, np.r_[x[:200], x[200:]])
    # Entering at 8 scales (8 half ranges with min-max) it moves the standard deviation by 15% at n = 200.
    assert scale(spiked) <= CLIP * scale(clean)
    if isinstance(spiked, Moments):
        assert scale(spiked) == pytest.approx(scale(clean), rel=0.15)
        assert center(spiked) == pytest.approx(center(clean), abs=0.1)


@pytest.mark.parametrize("make", [m for name, m in learning.items() if "minmax" not in name])
def test_rare_spikes_for_ever_do_not_add_up(make: Callable[[], Standardizer]) -> None:
    rng = np.random.default_rng(1)
    bank = make()
    x = rng.normal(size=6000)
    x[np.arange(100, 6000, 100)] = 1e6
    feed(bank, x)
    # One in a hundred, each entering at 8 scales: variance = 0.99 + 0.01 · 64 · variance, so the scale is 1.7.
    assert scale(bank) == pytest.approx(np.sqrt(0.99 / 0.36), rel=0.15)


@every_learning_kind
@pytest.mark.parametrize("factor", [20.0, 1e3, 1e6])
def test_a_larger_scale_is_followed_within_some_tens_of_readings(
    make: Callable[[], Standardizer], factor: float
) -> None:
    bank = make()
    rng = np.random.default_rng(2)
    feed(bank, rng.normal(size=2000))
    before = scale(bank)
    feed(bank, factor * rng.normal(size=60))
    assert scale(bank) / before == pytest.approx(factor, rel=0.6)


@pytest.mark.parametrize("scaling", ["ewm", "welford"])
def test_a_jump_of_level_is_followed_within_some_tens_of_readings(scaling: str) -> None:
    bank = standardizer(TransformSettings.model_validate({"scaling": scaling}), centered=True, capacity=1)
    rng = np.random.default_rng(3)
    feed(bank, rng.normal(size=2000))
    feed(bank, 1e6 + rng.normal(size=60))
    assert abs(bank.apply(SLOT, np.array([1e6]))[0]) < 2.0


def test_settings_choose_kind_span_and_clip() -> None:
    chosen = standardizer(TransformSettings(ewm_span=199.0, clip=5.0), centered=True, capacity=3)
    assert isinstance(chosen, Moments)
    assert (chosen.alpha, chosen.clip, chosen.centered, chosen.capacity) == (0.01, 5.0, True, 3)
    assert isinstance(standardizer(TransformSettings(scaling="minmax"), False), MinMax)
    assert isinstance(standardizer(TransformSettings(scaling="none"), False), Identity)
    welford = standardizer(TransformSettings(scaling="welford"), False)
    assert isinstance(welford, Moments)
    assert welford.alpha == 0.0


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("scaling", ["ewm", "welford"])
def test_how_things_stood_is_worked_out_backwards(scaling: str, centered: bool) -> None:
    rng = np.random.default_rng(5)
    bank = standardizer(TransformSettings.model_validate({"scaling": scaling, "ewm_span": 100}), centered, capacity=2)
    slots, x = np.arange(2), 3 + rng.normal(size=(90, 2)) * np.array([1.0, 1e-3])
    x[70] += 100.0  # an outlier, which enters clipped
    stood = []
    for row in x:
        bank.update(slots, row)
        stood.append(bank.standing(slots))
    center, scale = bank.standings(slots, x[-50:].T)
    np.testing.assert_allclose(center.T, [then[0] for then in stood[-50:]], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(scale.T, [then[1] for then in stood[-50:]], rtol=1e-9)


def test_where_the_past_was_forgotten_things_stood_as_they_did_after() -> None:
    bank, slot = Moments(alpha=0.01, centered=True, clip=8.0, capacity=1), np.array([0])
    x = np.concatenate((np.random.default_rng(6).normal(size=60), 1e4 + np.random.default_rng(7).normal(size=20)))
    for value in x:
        bank.update(slot, np.array([value]))
    center, scale = bank.standings(slot, x[None, -40:])
    assert np.isfinite(center).all()
    assert (scale > 0).all()
    np.testing.assert_allclose((center[0, -1], scale[0, -1]), np.ravel(bank.standing(slot)))


@pytest.mark.parametrize("scaling", ["minmax", "none"])
def test_what_cannot_be_worked_out_is_as_it_stands_now(scaling: str) -> None:
    bank, slots = standardizer(TransformSettings.model_validate({"scaling": scaling}), True, capacity=1), np.array([0])
    for value in range(40):
        bank.update(slots, np.array([float(value)]))
    center, scale = bank.standings(slots, np.arange(35.0, 40.0)[None])
    assert (center == bank.center(slots)[0]).all()
    assert (scale == bank.scale(slots)[0]).all()
