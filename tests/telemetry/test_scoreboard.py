"""The scoreboard equals NumPy over the whole feed, whatever is lost, repeated or missing."""

import io
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from stepahead.telemetry.livetable import live_table, summary
from stepahead.telemetry.scoreboard import MARK_S, RECENT, Scoreboard

N = 1500


def feed(seed: int = 0, n: int = N, key: str = "plant/a") -> tuple[list[dict[str, Any]], np.ndarray, np.ndarray]:
    """Forecast messages, the readings float64[n], and the forecasts float64[n] made for them (the first is unused)."""
    rng = np.random.default_rng(seed)
    x = 20 + np.cumsum(rng.normal(size=n))
    guess = np.concatenate([[np.nan], x[1:] + rng.normal(0, 0.5, n - 1)])
    messages = []
    for t in range(n):
        made = guess[t + 1] if t + 1 < n else x[t]
        message = {
            "series": key,
            "issued_at": 1_760_000_000_000 + 50 * t,
            "value": made,
            "observed": x[t],
            "id": f"{t}",
        }
        message |= {"lower": made - 0.8, "upper": made + 0.8, "level": 0.9, "status": "ok", "model": t // 100}
        message |= {"anomaly": False} | ({"error": x[t] - guess[t]} if t else {})
        messages.append(json.loads(json.dumps(message)))
    return messages, x, guess


def test_it_equals_numpy() -> None:
    messages, x, guess = feed()
    board = Scoreboard()
    for t, message in enumerate(messages):
        board.forecast(message, t / 20)
    error, change = np.abs(x[1:] - guess[1:]), np.abs(np.diff(x))
    score = board.series["plant/a"]
    assert score.totals.scored == N - 1
    assert score.totals.mae == pytest.approx(error.mean(), rel=1e-12)
    assert score.totals.skill == pytest.approx(1 - error.sum() / change.sum(), rel=1e-12)
    assert score.recent_skill == pytest.approx(1 - error[-RECENT:].sum() / change[-RECENT:].sum(), rel=1e-12)
    assert score.totals.coverage == pytest.approx(np.mean(error <= 0.8), abs=1.5 / N)
    assert board.model_version() == (N - 1) // 100
    assert [value for value, _ in score.history] == x[-len(score.history) :].tolist()


@given(seed=st.integers(0, 50), lost=st.sets(st.integers(0, 199), max_size=60))
def test_a_lost_message_costs_its_pairs_and_nothing_else(seed: int, lost: set[int]) -> None:
    messages, x, guess = feed(seed, 200)
    board = Scoreboard()
    kept = [t for t in range(200) if t not in lost]
    for t in kept:
        board.forecast(messages[t], t / 20)
    pairs = [t for t in kept if t > 0 and t - 1 not in lost]
    totals = board.series["plant/a"].totals
    assert totals.scored == len(pairs)
    assert totals.error == pytest.approx(sum(abs(x[t] - guess[t]) for t in pairs), rel=1e-9)
    assert totals.persistence == pytest.approx(sum(abs(x[t] - x[t - 1]) for t in pairs), rel=1e-9)


def test_repeats_and_older_messages_are_ignored_and_counted() -> None:
    messages, _, _ = feed(n=300)
    board, twice = Scoreboard(), Scoreboard()
    for t, message in enumerate(messages):
        board.forecast(message, t)
        twice.forecast(message, t)
        twice.forecast(message, t)
        if t >= 10:
            twice.forecast(messages[t - 10], t)
    assert twice.ignored == 300 + 290
    assert twice.as_dict(300.0) == board.as_dict(300.0)


def test_series_never_mix() -> None:
    one, two = feed(1, 200, "a")[0], feed(2, 200, "b")[0]
    together, alone = Scoreboard(), Scoreboard()
    for a, b in zip(one, two, strict=True):
        together.forecast(a, 0.0)
        together.forecast(b, 0.0)
        alone.forecast(a, 0.0)
    assert together.series["a"] == alone.series["a"]


def test_a_series_that_stands_still_has_an_error_but_no_skill() -> None:
    board = Scoreboard()
    for t in range(5):
        board.forecast(
            {"series": "a", "issued_at": t, "observed": 3.0, "value": 3.5} | ({"error": -0.5} if t else {}), t
        )
    assert board.series["a"].totals.mae == 0.5
    assert board.series["a"].totals.skill is None
    assert board.overall() == {"skill": None, "recent_skill": None, "coverage": None}


FIELDS = ["series", "issued_at", "value", "lower", "upper", "observed", "error", "anomaly", "status", "model", "id"]
FIELDS += ["level", "readings_per_second", "fine_tunes", "drops", "uptime_s"]
JUNK: list[Any] = [None, True, 0, -1, 3, 0.5, 1e308, -1e308, math.nan, math.inf, -math.inf, 10**400, "", "a", "nan"]
JUNK += [[], [1.5, 2], ["x"], [None], {}, {"late": 1}, {"adopted": None}, {"late": "x"}]
message_of_junk = st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(JUNK))


@given(messages=st.lists(message_of_junk, max_size=12), status=message_of_junk)
def test_no_message_breaks_it_and_its_document_is_finite_json(
    messages: list[dict[str, Any]], status: dict[str, Any]
) -> None:
    board = Scoreboard()
    board.take_status(status)
    for t, message in enumerate(messages):
        board.forecast({"series": "a"} | message, float(t))
    json.dumps(board.as_dict(float(len(messages))), allow_nan=False)
    for width in (60, 120):
        Console(file=io.StringIO(), width=width).print(live_table(board, width, 20, 5.0, 5.0, "source"))
        Console(file=io.StringIO(), width=width).print(summary(board, width, 5.0))


def test_an_anomaly_is_counted_and_stays_marked_for_a_while() -> None:
    board = Scoreboard()
    board.forecast({"series": "a", "issued_at": 0, "observed": 1.0, "value": 1.0, "anomaly": True}, 10.0)
    board.forecast({"series": "a", "issued_at": 1, "observed": 1.0, "value": 1.0, "anomaly": False}, 10.1)
    assert board.series["a"].anomalies == 1
    assert board.series["a"].marked_until_s == 10.0 + MARK_S
    assert list(board.series["a"].history) == [(1.0, True), (1.0, False)]


def test_the_rate_is_what_the_service_says_else_what_arrives() -> None:
    board = Scoreboard()
    messages = feed(n=200)[0]
    for t, message in enumerate(messages):
        board.forecast(message, t / 20)
        rate = board.readings_per_second(t / 20)
    assert rate == pytest.approx(20.0, rel=0.1)
    board.take_status({"readings_per_second": 7.0, "fine_tunes": {"adopted": 2}, "drops": {"late": 3}, "model": 9})
    assert board.readings_per_second(10.0) == 7.0
    assert board.fine_tunes() == {"adopted": 2, "rejected": 0, "failed": 0}
    assert board.drops() == {"late": 3}
    assert board.model_version() == 9
    board.take_status({"status": "offline"})
    assert board.drops() == {"late": 3}


def test_several_steps_ahead_are_scored_by_the_first() -> None:
    board = Scoreboard()
    board.forecast(
        {"series": "a", "issued_at": 0, "observed": 1.0, "value": [2.0, 9.0], "lower": [1.0], "upper": [3.0]}, 0
    )
    board.forecast({"series": "a", "issued_at": 1, "observed": 2.5, "error": 0.5, "value": [3.0, 9.0]}, 1)
    totals = board.series["a"].totals
    assert (totals.mae, totals.coverage, totals.skill) == (0.5, 1.0, pytest.approx(1 - 0.5 / 1.5))
    assert math.isnan(board.series["a"].lower)
