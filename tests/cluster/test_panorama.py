"""The page of the whole cluster: the numbers are those on MQTT, whichever owner has the series."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from selenium import webdriver

from stepahead.cluster.herald import summary
from stepahead.cluster.panorama import Panorama
from stepahead.cluster.sharding import ShardRule
from stepahead.dashboard.server import PageServer
from stepahead.dashboard.stream import event
from stepahead.dashboard.view import SORTS
from tests.broker.brokers import Broker
from tests.broker.conftest import MakePeer
from tests.cluster.by_hand import ByHand
from tests.cluster.feed import START_MS, messages
from tests.cluster.test_owner import Listener, cluster_settings, say
from tests.dashboard.conftest import browser, until
from tests.dashboard.test_browser import table
from tests.dashboard.test_server import get

__all__ = ["browser"]

SENSORS, ROWS = 10, 60
SHARED = ("engine.deterministic=false", "cluster.weights=shared", "learning.every=10", "http.enabled=true")


class Shown:
    """A cluster by hand, fed, and its page."""

    def __init__(self, hand: ByHand, ear: Listener, prefix: str) -> None:
        self.hand, self.ear, self.prefix = hand, ear, prefix
        self.view = Panorama(hand.settings, self.status, self.ask)

    def status(self) -> dict[str, Any]:
        """As `Controller.status` tells."""
        shards: dict[int, dict[str, Any]] = {}
        for name in self.hand.owners:
            for shard, figures in self.hand.attend(name)["shards"].items():
                shards[shard] = {**figures, "owner": name, "state": "served", "moves": 0}
        owners = {name: {"node": "here", "pid": 7, "up": True, "restarts": 0, "shards": 2} for name in self.hand.owners}
        trainer = {"up": True, "restarts": 0, "failed": None, **self.hand.trainer.report()}  # type: ignore[union-attr]
        shards = dict(sorted(shards.items()))
        whole = {"shards": shards, "served": len(shards), "owners": owners, "nodes": 1, "uptime_s": 1.0}
        return whole | {"router": None, "trainer": trainer}

    def ask(self, question: bytes) -> list[bytes]:
        return [owner.ask(question) for owner in self.hand.owners.values()]

    def now(self, **query: str) -> Any:
        """What a viewer gets: the body as it travels."""
        self.view.tick()
        return msgspec.json.decode(msgspec.json.encode(event(self.view, query, 0)[0]["body"]))

    def drawn(self) -> bool:
        """Whether all knows of the whole feed: figures are told twice a second, and pictures drawn once."""
        networks = self.now(view="model")["networks"]
        known = sum(network["series"] for network in networks) == SENSORS
        told = summary(self.status())
        head = self.view.head()
        return known and told["forecasts"] >= SENSORS * ROWS and bool(head["connected"] and head["ready"])

    def newest(self) -> dict[str, dict[str, Any]]:
        """Series -> its newest forecast on MQTT."""
        found: dict[str, dict[str, Any]] = {}
        for forecast in sorted(self.ear.found.values(), key=lambda each: int(str(each["issued_at"]))):
            found[str(forecast["series"])] = forecast
        return found


@pytest.fixture
def shown(make_peer: MakePeer, broker: Broker, topic: str, tmp_path: Path) -> Iterator[Shown]:
    settings = cluster_settings(broker, topic, 4, *SHARED)
    feed = messages(f"{topic}/in", SENSORS, ROWS)
    ear, mouth = Listener(make_peer, settings.publish.prefix), make_peer().connected()
    with ByHand(settings, tmp_path, "ab").running() as hand:
        for shard in range(4):
            hand.give(shard, "ab"[shard % 2])
        hand.until(lambda: all(hand.serving(shard) for shard in range(4)))
        for row in range(ROWS):
            say(mouth, feed[SENSORS * row : SENSORS * (row + 1)])
            ear.until(SENSORS * (row + 1))
        hand.until(hand.settled)
        shown = Shown(hand, ear, f"{topic}/in")
        hand.until(shown.drawn)
        yield shown


def test_the_overview_holds_the_series_of_all_shards_with_the_numbers_that_are_on_mqtt(shown: Shown) -> None:
    newest = shown.newest()
    page = shown.now(view="overview", sort="name", size="200")
    assert [row["key"] for row in page["rows"]] == sorted(newest)
    assert page["matching"] == SENSORS
    for row in page["rows"]:
        forecast = newest[row["key"]]
        told = (row["observed"], row["value"], row["lower"], row["upper"])
        assert told == pytest.approx(tuple(forecast[name] for name in ("observed", "value", "lower", "upper")))
    head = shown.view.head()
    assert (head["series"], head["ready"]) == (SENSORS, True)
    assert head["model"] == summary(shown.status())["model"]


def test_pages_go_on_where_those_before_end_in_every_order(shown: Shown) -> None:
    columns = {"observed": "observed", "forecast": "value", "skill": "skill", "anomalies": "hour", "name": "key"}
    for sort in SORTS:
        for order in ("asc", "desc"):
            whole, pages = looked_through(shown, sort, order)
            assert {page["pages"] for page in pages} == {4}
            if sort != "age":  # that goes on while we look
                assert [row["key"] for page in pages for row in page["rows"]] == [row["key"] for row in whole]
            if sort in columns:
                values = [row[columns[sort]] for row in whole if row[columns[sort]] is not None]
                assert values == sorted(values, reverse=order == "desc")


def looked_through(shown: Shown, sort: str, order: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All rows at once, and by pages, while none was flagged or fell silent, which takes it elsewhere.

    Both happen some seconds after the last reading, to one series after the other.
    """

    def rows() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = shown.now(view="overview", sort=sort, order=order, size="200")["rows"]
        return found

    def places(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        return [(row["key"], row["flagged"], row["status"], row["hour"]) for row in rows]

    before = rows()
    while True:
        pages = [shown.now(view="overview", sort=sort, order=order, size="3", page=str(page)) for page in range(4)]
        after = rows()
        if sort == "age" or places(before) == places(after):
            return after, pages
        before = after


def test_a_series_is_shown_by_its_owner_with_its_history(shown: Shown) -> None:
    for number in range(SENSORS):
        key = f"{shown.prefix}/s{number}"
        shown.view.look_at(frozenset((key,)))
        body = shown.now(view="series", key=key)
        assert body["key"] == key
        assert body["time"] == [START_MS + 1000 * row for row in range(ROWS)]
        assert body["observed"][-1] == pytest.approx(shown.newest()[key]["observed"])
    shown.hand.until(lambda: "experts" in shown.now(view="series", key=key))
    assert shown.now(view="series", key="nobody/knows/it") is None


def test_health_tells_who_serves_what_and_model_what_the_trainer_did(shown: Shown) -> None:
    body = shown.now(view="health")
    assert {(shard["shard"], shard["owner"]) for shard in body["cluster"]["shards"]} == {
        (0, "a"), (1, "b"), (2, "a"), (3, "b"),
    }  # fmt: skip
    assert [owner["name"] for owner in body["cluster"]["owners"]] == ["a", "b"]
    assert sum(shard["series"] for shard in body["cluster"]["shards"]) == SENSORS
    assert body["step"]["count"] > 0
    shown.hand.until(lambda: shown.now(view="model")["networks"][0]["adopted"] >= 1)
    model = shown.now(view="model")
    assert model["networks"][0]["series"] == SENSORS
    assert model["networks"][0]["version"] >= 1


def test_an_owner_that_does_not_answer_is_left_out(shown: Shown) -> None:
    answers = shown.ask
    shown.view = Panorama(shown.hand.settings, shown.status, lambda question: answers(question)[:1])
    rows = shown.now(view="overview", size="200")["rows"]
    rule = ShardRule(shown.hand.settings)
    first = {key for key in shown.newest() if rule.of(key.encode()) % 2 == 0}
    assert {row["key"] for row in rows} == first
    assert 0 < len(first) < SENSORS
    silent = Panorama(shown.hand.settings, shown.status, lambda question: [])
    silent.tick()
    assert silent.head()["series"] == 0
    for view in ("overview", "model", "health", "series"):
        msgspec.json.encode(event(silent, {"view": view, "key": "x"}, 0)[0])


def test_the_server_of_a_service_serves_it(shown: Shown) -> None:
    http = shown.hand.settings.http.model_copy(update={"port": 0})
    with PageServer(http, shown.view, print) as server:
        for path, words in (
            ("/", b"main.js"),
            ("/metrics", b"stepahead_cluster_shards_served 4.0"),
            ("/readyz", b"ok"),
        ):
            status, _, body = get(server, path)
            assert (status, words in body) == (200, True), body


def test_the_page_in_a_browser_shows_all_series_and_who_serves_them(shown: Shown, browser: webdriver.Chrome) -> None:
    browser.get_log("browser")
    http = shown.hand.settings.http.model_copy(update={"port": 0})
    with PageServer(http, shown.view, print) as server:
        browser.get(server.url)
        until(lambda: {row[1] for row in table(browser, "All series")} == set(shown.newest()))
        browser.get(f"{server.url}#/health")
        shards = until(lambda: table(browser, "Shards"))
        assert [row[:4] for row in shards] == [[str(shard), "served", "ab"[shard % 2], "1"] for shard in range(4)]
        assert [row[0] for row in table(browser, "Owners")] == ["a", "b"]
        browser.get(f"{server.url}#/model")
        assert until(lambda: table(browser, "Networks"))[0][2] == str(SENSORS)
        browser.get("about:blank")
    assert browser.get_log("browser") == []
