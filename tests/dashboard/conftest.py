"""One service with its page, one broker and one browser for all tests of this folder that need them."""

import json
import math
import os
import random
import shutil
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from tests.broker.brokers import free_port, mosquitto
from tests.broker.running import Running

PICTURES = Path(__file__).parents[2] / "build" / "page"
"""Screenshots, for people to look at."""
READ_ROW = """
const row = [...document.querySelectorAll('#series tbody tr')].find((r) => r.cells[1].textContent === arguments[0]);
return row ? { kind: row.className, texts: [...row.cells].map((cell) => cell.textContent) } : null;
"""
RECORD = """
const key = arguments[0], parse = JSON.parse;
let now = null;
window.recorded = [];
JSON.parse = (text) => {
  const event = parse(text), rows = [...document.querySelectorAll('#series tbody tr')];
  const row = rows.find((r) => r.cells[1].textContent === key);
  if (now !== null && row) recorded.push({ now, title: document.title, first: rows[0].cells[1].textContent,
    kind: row.className, texts: [...row.cells].map((cell) => cell.textContent) });
  now = event.head?.now ?? null;
  return event;
};
"""
"""Notes what each event had the overview show, in the moment when the next one comes, and when the event was made."""


class Plant:
    """A running service with its page: readings in, forecasts out, both over a real broker."""

    def __init__(self, url: str, page: str, service: Running) -> None:
        self.url = url
        self.page = page
        self.service = service
        self.forecasts: dict[str, list[dict[str, Any]]] = {}
        self.status: dict[str, Any] = {}
        self._come = threading.Condition()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._heard
        host, port = url.removeprefix("mqtt://").split(":")
        self._client.connect(host, int(port))
        self._client.subscribe("stepahead/v1/#", 1)
        self._client.loop_start()
        self.began_ms = int(time.time() * 1000) - 7_200_000  # recorded earlier: the lag is not counted from it
        self.step = 0

    def _heard(self, client: mqtt.Client, data: object, message: mqtt.MQTTMessage) -> None:
        document = json.loads(message.payload)
        with self._come:
            if message.topic.endswith("/status"):
                self.status = document
            else:
                self.forecasts.setdefault(document["series"], []).append(document)
            self._come.notify_all()

    def until(self, condition: Callable[[], object], seconds: float = 150.0) -> None:
        with self._come:
            assert self._come.wait_for(condition, seconds), self.service.log.read_text()

    def publish(self, values: dict[str, float], until: bool = True) -> None:
        """One reading of each of these series, a second of the feed after those before."""
        self.step += 1
        ts = self.began_ms + 1000 * self.step
        wanted = {f"sensors/{name}": len(self.forecasts.get(f"sensors/{name}", ())) + 1 for name in values}
        for name, value in values.items():
            self._client.publish(f"sensors/{name}", json.dumps({"ts": ts, "value": value}), 1)
        if until:
            self.until(lambda: all(len(self.forecasts.get(key, ())) >= count for key, count in wanted.items()))

    def get(self, path: str) -> str:
        try:
            with urllib.request.urlopen(self.page + path, timeout=100) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            return f"{error.code} {error.read().decode()}"

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture(scope="session")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    folder = tmp_path_factory.mktemp("plant")
    broker, port = mosquitto(folder).start(), free_port()
    url = broker.url("3.1.1")
    settings = ("http.enabled=true", f"http.port={port}", "transform.order=auto", "transform.warmup=48")
    settings += ('http.series_metrics=["sensors/oven"]', "learning.every=24")
    with Running(folder, url, *settings) as service:
        running = Plant(url, f"http://127.0.0.1:{port}/", service)
        running.until(lambda: running.status.get("status") == "online")
        yield running
        running.close()
    broker.stop()


def program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is not installed: 'apt-get install {package}' (or 'sh deploy/test.sh', which does it)")
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[webdriver.Chrome]:
    options = Options()
    options.binary_location = program("chromium", "chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars",
        "--disable-background-networking", "--disable-component-update", "--no-first-run",
        "--enable-precise-memory-info", "--window-size=1440,1000",
    ):  # fmt: skip
        options.add_argument(argument)
    # Selenium would look for a driver elsewhere when it is not told.
    os.environ["SE_OFFLINE"] = "true"
    driver = webdriver.Chrome(options=options, service=Service(program("chromedriver", "chromium-driver")))
    driver.set_page_load_timeout(120)
    driver.set_script_timeout(120)
    yield driver
    driver.quit()


def oven(step: int) -> float:
    return round(180 + 8 * math.sin(step / 9) + random.Random(step).gauss(0, 0.4), 3)


def pump(step: int) -> float:
    return round(3.2 + 0.4 * math.sin(step / 5 + 1) + random.Random(-step).gauss(0, 0.02), 4)


@pytest.fixture(scope="session")
def fed(plant: Plant) -> Plant:
    """The plant after 150 readings of two sensors."""
    before = len(plant.forecasts.get("sensors/oven", ()))
    for step in range(1, 151):
        plant.publish({"oven": oven(step), "pump <b>1</b>/flow": pump(step)}, until=step % 25 == 0)
    plant.until(lambda: len(plant.forecasts.get("sensors/oven", ())) >= before + 150)
    return plant


@pytest.fixture
def page(fed: Plant, browser: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """The overview; at the end nothing is in the console and nothing was asked for elsewhere."""
    browser.get_log("performance")
    browser.get(fed.page)
    until(lambda: browser.execute_script(READ_ROW, "sensors/oven"))
    yield browser
    assert browser.get_log("browser") == []
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [each["params"]["request"]["url"] for each in asked if each["method"] == "Network.requestWillBeSent"]
    assert len(urls) > 5
    assert [url for url in urls if not url.startswith(fed.page)] == []


def until(condition: Callable[[], Any], seconds: float = 120.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.03)
    return found


def record(browser: webdriver.Chrome, key: str) -> None:
    """Note from now on how the row of a series looks: a mark that lasts five seconds may pass between two looks."""
    browser.execute_script(RECORD, key)


def first_recorded(browser: webdriver.Chrome, text: str) -> Any:
    """The first look of the row whose first cell said this, once there is one."""
    script = "return recorded.find((look) => look.texts[0] === arguments[0]) ?? null"
    return until(lambda: browser.execute_script(script, text))


def text_of(browser: webdriver.Chrome, selector: str) -> str:
    """What is to be read there now, nothing where it is not: the page may put another part in place at any time."""
    return str(browser.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", selector))
