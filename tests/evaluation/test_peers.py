import sys

import numpy as np
import pytest
from statsmodels.tsa.ar_model import AutoReg

from stepahead.contract.errors import MissingExtraError, UsageError
from stepahead.evaluation.peers.autoregression import RefitAutoregression
from stepahead.evaluation.peers.peer import play_peer, season_of
from stepahead.evaluation.peers.registry import PEERS, load_peer, parse_peers
from stepahead.evaluation.recording import Recording
from stepahead.evaluation.scores import score_forecasts

INSTALLED = [name for name in PEERS if name != "deep-river"]


def wave(rows: int = 700, missing: bool = False) -> Recording:
    """A noisy sine and its double, hourly."""
    rng = np.random.default_rng(3)
    value = np.sin(2 * np.pi * np.arange(rows) / 24)[:, None] * [1.0, 200.0] + rng.normal(size=(rows, 2)) * [0.05, 10.0]
    if missing:
        value[rng.random(value.shape) < 0.1] = np.nan
    return Recording("wave", ("a", "b"), np.arange(rows, dtype=np.int64) * 3600 * 10**9, value)


@pytest.mark.parametrize("name", INSTALLED)
def test_a_peer_forecasts_before_it_learns(name: str) -> None:
    recording = wave(400, missing=True)
    changed = recording.value.copy()
    changed[300:] += 5.0
    other = Recording("x", recording.columns, recording.time_ns, changed)
    one, two = (play_peer(r, load_peer(name), seed=0).forecast for r in (recording, other))
    assert one[:301].tobytes() == two[:301].tobytes()
    assert one[301:].tobytes() != two[301:].tobytes()
    assert np.isnan(one[~recording.present]).all()


@pytest.mark.parametrize("name", ["autoreg", "lebre", "snarimax-clipped"])
def test_a_peer_that_knows_its_trade_beats_persistence_on_a_wave(name: str) -> None:
    recording = wave(2000)
    forecast = play_peer(recording, load_peer(name), seed=0).forecast
    score = score_forecasts(recording.columns, recording.value, {name: forecast}, 1000).models[name]
    assert all(s.mae_ratio is not None and s.mae_ratio < 0.8 for s in score.per_column.values())
    assert not score.diverged


def test_a_peer_that_diverges_is_played_to_the_end() -> None:
    rng = np.random.default_rng(0)
    value = rng.normal(size=(600, 1))
    value[200::50] += 100.0
    recording = Recording("spikes", ("a",), np.arange(600) * 10**9, value)
    forecast = play_peer(recording, load_peer("snarimax"), seed=0).forecast
    score = score_forecasts(("a",), value, {"snarimax": forecast}, 80).models["snarimax"]
    assert score.diverged
    assert np.isfinite(score.mae)


def test_autoregression_forecasts_as_statsmodels_does() -> None:
    value = wave(300).value[:, 0]
    peer = RefitAutoregression(lags=5, refit=10_000)
    for reading in value[:20]:
        peer.learn(float(reading), 0)
    expected = AutoReg(np.diff(value[:20]), lags=5).fit().predict(start=19, end=19)[0]
    assert peer.forecast() == pytest.approx(value[19] + expected)


def test_autoregression_of_a_constant_says_nothing() -> None:
    peer = RefitAutoregression(lags=5, refit=10)
    for _ in range(50):
        peer.learn(2.0, 0)
    assert np.isnan(peer.forecast())


@pytest.mark.parametrize(("period_s", "season"), [(3600, 24), (300, 288), (60, 1440), (1, None), (86400, None)])
def test_the_season_is_a_day(period_s: int, season: int | None) -> None:
    time_ns = np.arange(5000, dtype=np.int64) * period_s * 10**9
    assert season_of(Recording("x", ("a",), time_ns, np.zeros((5000, 1)))) == season


def test_one_reading_has_no_season() -> None:
    assert season_of(Recording("x", ("a",), np.zeros(1, np.int64), np.zeros((1, 1)))) is None


def test_an_unknown_peer_is_named() -> None:
    with pytest.raises(UsageError, match="no peer 'prophet'; there are: snarimax, "):
        parse_peers("autoreg,prophet")


def test_all_means_all_that_have_an_extra() -> None:
    assert parse_peers("all") == tuple(INSTALLED)
    assert parse_peers("") == ()


def test_a_peer_whose_package_is_absent_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lebre", None)
    with pytest.raises(
        MissingExtraError, match=r"peer 'lebre' needs the extra 'peers': pip install 'stepahead\[peers\]'"
    ):
        load_peer("lebre")


def test_deep_river_says_why_it_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deep_river", None)
    with pytest.raises(UsageError, match=r"pins torch<2\.6, river<0\.26.*--no-deps"):
        load_peer("deep-river")
