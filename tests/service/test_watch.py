"""What the loop hands to the page, and what the page makes of it, on doubles."""

import json

import numpy as np
import pytest

from stepahead.contract.settings import DurabilitySettings, HttpSettings
from stepahead.dashboard.view import OverviewQuery
from stepahead.learning.tuner import TuneResult
from stepahead.service.face import Face
from stepahead.service.watch import Watch
from stepahead.telemetry.ledger import Ledger
from stepahead.telemetry.rings import Rings
from stepahead.telemetry.shares import Shares
from tests.service.engine_double import small_settings
from tests.service.service_double import Service


def watched(readings: int = 40) -> tuple[Service, Watch, Face]:
    settings = small_settings(
        durability=DurabilitySettings(mode="off"), http=HttpSettings(series_metrics=("sensors/a",))
    )
    service = Service(settings)
    watch = Watch(Ledger(lambda: 1000.0), service.clock, lambda: 1000.0)
    service.loop._watch = watch
    table = service.engine.table
    face = Face(settings, watch, table.keys, table.find, "1.2.3", service.clock, lambda: 1000.0)
    for minute in range(readings):
        service.send(minute, 20.0 + minute % 5, "sensors/a")
        service.send(minute, 3.0 + minute % 2, "sensors/b")
        service.loop.turn()
        service.clock.now_s += 0.2
    service.clock.now_s += 2.0
    service.loop.turn()
    face.tick()
    return service, watch, face


def test_the_page_has_what_was_published() -> None:
    service, _, face = watched()
    rows = {row["key"]: row for row in face.overview(OverviewQuery())["rows"]}
    last = {str(forecast["series"]): forecast for forecast in service.forecasts}
    assert set(rows) == set(last) == {"sensors/a", "sensors/b"}
    for key, row in rows.items():
        assert (row["observed"], row["value"], row["lower"], row["upper"]) == tuple(
            last[key][name] for name in ("observed", "value", "lower", "upper")
        )
    head = face.head()
    assert (head["series"], head["dropped"]) == (2, 0)
    status = service.statuses[-1]
    assert f"stepahead_readings_total {float(status['readings'])}" in face.metrics(0).decode()
    assert 'stepahead_series_observed{series="sensors/a"}' in face.metrics(0).decode()
    assert 'series="sensors/b"' not in face.metrics(0).decode()


def test_one_series_has_its_history_and_after_it_is_looked_at_its_experts() -> None:
    service, watch, face = watched()
    first = face.series("sensors/a", 0)
    assert first is not None
    assert first["observed"] == [f["observed"] for f in service.forecasts if f["series"] == "sensors/a"]
    assert "experts" not in first
    face.look_at(frozenset({"sensors/a", "sensors/unknown"}))
    assert watch.wanted == {0}
    service.clock.now_s += 2.0
    service.loop.turn()
    then = face.series("sensors/a", first["count"])
    assert then is not None
    assert then["observed"] == []
    assert np.nansum(then["experts"]["weight"]) == 1.0 or abs(np.nansum(then["experts"]["weight"]) - 1) < 1e-6
    assert then["difference"]["order"] == 1
    assert face.series("sensors/unknown", 0) is None
    for document in (face.head(), face.model(), face.health()):
        json.dumps(document, allow_nan=False)


def test_the_mixture_is_noted_before_anybody_looks_and_each_moment_is_told_once() -> None:
    service, _, face = watched()
    minutes = iter(range(100, 200))

    def next_reading() -> None:
        service.send(next(minutes), 21.0, "sensors/a")
        service.loop.turn()

    def pass_seconds(seconds: float) -> None:
        service.clock.now_s += seconds
        service.loop.turn()
        face.tick()

    for _ in range(5):
        next_reading()
        pass_seconds(2.1)
    first = face.series("sensors/a", 0)
    assert first is not None
    shares = first["shares"]
    outlook = service.engine.outlook(np.array([0], np.int32))
    assert shares["names"] == tuple(name for name in outlook.names if name != "lstm")
    assert np.sum(shares["weight"], axis=0) == pytest.approx(1.0, abs=1e-3)
    assert [column[-1] for column in shares["weight"]] == pytest.approx(outlook.weights[0, :-1].tolist(), abs=1e-4)
    assert len(shares["time"]) == len(set(shares["time"])) >= 5

    next_reading()
    face._ledger.fold()  # the reading is shown before its shares have been noted
    between = face.series("sensors/a", first["count"])
    assert between is not None
    assert between["shares"]["time"] == first["time"][-1:], "the last that is known, again"
    pass_seconds(2.1)
    pass_seconds(2.1)
    then = face.series("sensors/a", between["count"])
    assert then is not None
    assert then["shares"]["time"] == between["time"]


def test_shares_go_with_the_ring() -> None:
    rings = Rings(rings=1, length=4)
    shares = Shares(rings, length=3)
    rings.watch(3)
    for time_ns in range(1, 6):
        shares.push(np.array([3, 9]), np.array([time_ns, 7]), np.array([[0.25, 0.75], [1.0, 0.0]]))
    assert [column.tolist() for column in shares.history(3, 4)] == [[4, 5], [[0.25, 0.75]] * 2]
    assert shares.history(3, 0)[0].tolist() == [3, 4, 5]
    assert shares.history(9, 0)[0].tolist() == shares.history(10**6, 0)[0].tolist() == []
    rings.watch(9)
    assert shares.history(9, 0)[0].tolist() == []
    shares.push(np.array([3, 9]), np.array([8, 8]), np.array([[0.25, 0.75], [1.0, 0.0]]))
    assert [column.tolist() for column in shares.history(9, 0)] == [[8], [[1.0, 0.0]]]
    assert shares.history(3, 0)[0].tolist() == []


def test_rows_are_sorted_filtered_and_cut() -> None:
    _, _, face = watched()

    def keys(**query: object) -> list[str]:
        return [row["key"] for row in face.overview(OverviewQuery(**query))["rows"]]  # type: ignore[arg-type]

    assert keys(sort="name") == ["sensors/a", "sensors/b"]
    assert keys(sort="name", descending=True) == ["sensors/b", "sensors/a"]
    assert keys(sort="observed") == ["sensors/b", "sensors/a"]
    assert keys(text="/b") == ["sensors/b"]
    assert keys(only="silent") == []
    assert keys(size=1, page=1, sort="name") == ["sensors/b"]
    assert keys(size=1, page=99, sort="name") == ["sensors/b"], "beyond the last page is the last page"


def test_marks_tell_what_the_gate_made_of_a_fine_tune() -> None:
    _, watch, face = watched(3)

    def result(challenger: float, gave_up: bool = False) -> TuneResult:
        weights = [{"w": np.zeros(2, np.float32)}] * 2
        losses = np.array([0.5, 0.5])
        return TuneResult(
            "default", 4, weights, weights, losses, losses, np.array([challenger, 0.6]), losses * 0, gave_up
        )

    watch.judged_by_gate(result(0.4))
    watch.judged_by_gate(result(0.7))
    watch.judged_by_gate(result(0.7, gave_up=True))
    assert [mark.kind for mark in watch.marks] == ["adopted", "rejected", "failed"]
    assert watch.judged == {"adopted": 1, "kept": 5}
    assert face.model()["marks"][0]["champion"] == 0.5
    assert watch.marks[0].text == "1 of 2 members no worse on the newest steps"
