"""The page in a real browser: the numbers are those on MQTT, a spike is seen at once, 5,000 series do not freeze it."""

import re
import time
from urllib.parse import quote

import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

from tests.dashboard.conftest import PICTURES, READ_ROW, Plant, first_recorded, oven, record, text_of, until

READ_TABLE = """
document.querySelectorAll('details').forEach((each) => { each.open = true; });
const tables = [...document.querySelectorAll('main table')].filter((table) => table.tBodies.length);
return tables.map((table) => ({ name: table.getAttribute('aria-label'),
  rows: [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.textContent)) }));
"""
FRAMES = """
const done = arguments[0], times = [];
const frame = (at) => {
  times.push(at);
  if (at - times[0] < 4000) requestAnimationFrame(frame);
  else done([times.slice(1).map((t, i) => t - times[i]), performance.memory.usedJSHeapSize]);
};
requestAnimationFrame(frame);
"""


def number(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))


def shown_as(text: str, value: float) -> bool:
    """Whether a text with decimals is a value, rounded."""
    places = len(text.partition(".")[2])
    return places >= 1 and abs(number(text) - value) <= 0.5001 * 10**-places


def picture(browser: webdriver.Chrome, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    browser.save_screenshot(str(PICTURES / f"{name}.png"))


def table(browser: webdriver.Chrome, name: str) -> list[list[str]]:
    """Rows of a table; none while the page that has it is not there yet: it comes some time after its address."""
    return next((each["rows"] for each in browser.execute_script(READ_TABLE) if each["name"] == name), [])


def busy_s(browser: webdriver.Chrome) -> float:
    """CPU time of the tasks of the page's thread so far, seconds."""
    browser.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    metrics = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))


def test_the_numbers_on_the_page_are_those_on_mqtt(fed: Plant, page: webdriver.Chrome) -> None:
    heard = fed.forecasts["sensors/oven"]
    last = heard[-1]
    until(lambda: shown_as(page.execute_script(READ_ROW, "sensors/oven")["texts"][2], last["observed"]))
    row = page.execute_script(READ_ROW, "sensors/oven")["texts"]
    assert shown_as(row[4], last["value"]), (row, last)
    assert shown_as(row[5], (last["upper"] - last["lower"]) / 2), (row, last)
    picture(page, "overview")

    page.get(f"{fed.page}#/series/{quote('sensors/oven', safe='')}")
    name = "Readings and the forecasts made for them"
    shown = until(lambda: table(page, name))
    # On top stands the forecast of the next reading, below the newest readings with what had been forecast for them.
    assert number(shown[0][3]) == pytest.approx(last["value"], abs=0.006)
    for cells, reading, before in zip(shown[1:31], reversed(heard), reversed(heard[:-1]), strict=False):
        expected = (before["upper"], before["lower"], before["value"], reading["observed"])
        assert [number(cell) for cell in cells[1:5]] == pytest.approx(expected, abs=0.006)
    names = [each["name"] for each in page.execute_script(READ_TABLE)]
    assert {"Running error", "Mixture weights", "Stationarity tests", "Marks"} <= set(names)
    weights = until(lambda: table(page, "Mixture weights"))
    assert sum(float(cells[2].rstrip("%")) for cells in weights) == pytest.approx(100, abs=1.0)
    assert any(cells[0] == "lstm0" for cells in weights)

    def newest() -> list[float]:
        rows = table(page, "Mixture weights over time")
        return [float(cell.rstrip("%")) for cell in rows[0][1:]] if rows else []

    def networks_agree() -> bool:
        """The chart is drawn from the second moment on; moments are noted every two seconds, if a reading has come."""
        fed.publish({"oven": oven(fed.step)})
        time.sleep(3.1)
        shares = {cells[0]: float(cells[2].rstrip("%")) for cells in table(page, "Mixture weights")}
        networks = sum(share for name, share in shares.items() if name.startswith("lstm"))
        return newest()[5:6] == [pytest.approx(networks, abs=0.3)]

    until(networks_agree)
    assert sum(newest()) == pytest.approx(100, abs=0.5)
    tests = until(lambda: table(page, "Stationarity tests"))
    assert all(0 <= float(p) <= 1 for cells in tests for p in cells[1:])
    assert "order" in page.find_element("tag name", "main").text
    picture(page, "series")
    page.execute_script("document.querySelectorAll('details').forEach((each) => { each.open = false; })")
    page.execute_script("scrollTo(0, document.body.scrollHeight)")
    picture(page, "series-below")


def test_a_spike_is_marked_within_two_seconds(fed: Plant, page: webdriver.Chrome) -> None:
    record(page, "sensors/oven")
    fed.publish({"oven": 260.0})
    heard_s = time.time()
    assert fed.forecasts["sensors/oven"][-1]["anomaly"] is True
    picture(page, "spike")
    look = first_recorded(page, "flagged now")
    assert "flagged" in look["kind"]
    assert re.match(r"\([1-9]\d*\) ", look["title"])  # how many are flagged; another may be by chance
    assert look["first"] == "sensors/oven"
    # One event comes a second, however long the machine lets browser or service stand still meanwhile.
    events = page.execute_script("return recorded.map((look) => look.now)")
    between = [now_s for now_s in events if heard_s < now_s <= look["now"]]
    assert len(between) <= 2, f"heard at {heard_s:.2f}, marked by the event of {look['now']:.2f}, events at {between}"


def test_a_name_is_text_and_nothing_else(fed: Plant, page: webdriver.Chrome) -> None:
    key = "sensors/pump <b>1</b>/flow"
    assert page.execute_script(READ_ROW, key)["texts"][1] == key
    page.get(f"{fed.page}#/series/{quote(key, safe='')}")
    until(lambda: text_of(page, "h1") == key)
    assert page.find_elements("css selector", "main b") == []


def test_keys_filter_pages_and_colours(fed: Plant, page: webdriver.Chrome) -> None:
    body = page.find_element("tag name", "body")
    body.send_keys("/")
    page.switch_to.active_element.send_keys("OVEN")
    until(lambda: page.execute_script("return document.querySelectorAll('#series tbody tr').length") == 1)
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    body.send_keys(Keys.ARROW_DOWN)
    page.switch_to.active_element.send_keys(Keys.ENTER)
    until(lambda: text_of(page, "h1") == "sensors/oven")
    before = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    body.send_keys("t")
    until(lambda: page.execute_script("return getComputedStyle(document.body).backgroundColor") != before)
    picture(page, "series-dark")
    body.send_keys("t")
    body.send_keys(Keys.ESCAPE)
    until(lambda: page.execute_script(READ_ROW, "sensors/oven"))
    assert page.find_element("css selector", "input[type=search]").get_attribute("value") == "OVEN"
    for key, title in (("2", "Model"), ("3", "Health")):
        body.send_keys(key)
        until(lambda title=title: text_of(page, "h1") == title)
        time.sleep(0.2)
        picture(page, title.lower())
        body.send_keys("t")
        time.sleep(0.1)
        picture(page, f"{title.lower()}-dark")
        body.send_keys("t")
    assert "no connection" not in page.find_element("id", "state-text").text


def test_the_model_page_shows_what_the_gate_decided(fed: Plant, page: webdriver.Chrome) -> None:
    deadline = time.monotonic() + 150
    while not fed.status["fine_tunes"]["adopted"]:  # what a fine-tune came to is let in with the next reading
        assert time.monotonic() < deadline, fed.status
        fed.publish({"oven": oven(fed.step)})
        time.sleep(0.1)
    page.get(f"{fed.page}#/model")
    until(lambda: "adopted" in str(table(page, "Gate decisions")))
    # No more readings come, so no more is let in, and both the page and the status come to say the same.
    until(
        lambda: (
            len([cells for cells in table(page, "Gate decisions") if cells[2] == "adopted"])
            == fed.status["fine_tunes"]["adopted"]
        )
    )
    until(lambda: [cells[:2] for cells in table(page, "Networks")] == [["default", str(fed.status["model"])]])


def test_on_a_phone_nothing_is_wider_than_the_screen(fed: Plant, page: webdriver.Chrome) -> None:
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        for name, title in (
            ("", ""),
            ("series/sensors%2Foven", "sensors/oven"),
            ("model", "Model"),
            ("health", "Health"),
        ):
            page.get(f"{fed.page}#/{name}")
            until(lambda title=title: text_of(page, "h1") == title)
            until(lambda: page.execute_script("return document.querySelectorAll('main td, main dd').length > 3"))
            # A chart takes the new width a moment after the page.
            until(lambda: page.execute_script("return document.documentElement.scrollWidth") <= 390)
            picture(page, f"phone-{name.partition('/')[0] or 'overview'}")
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_five_thousand_series_do_not_freeze_it(fed: Plant, page: webdriver.Chrome) -> None:
    names = [f"hall{i // 500}/machine{i // 10 % 50}/q{i % 10}" for i in range(5000)]
    fed.publish({name: 20.0 + i % 7 for i, name in enumerate(names)})
    until(lambda: "of 5,00" in text_of(page, ".pager"))
    fed.publish({name: 21.0 + i % 7 for i, name in enumerate(names)}, until=False)
    before_s = busy_s(page)
    gaps, heap = page.execute_async_script(FRAMES)
    busy_ms = 1000 * (busy_s(page) - before_s)
    gaps.sort()
    print(f"frames of 4 s: median {gaps[len(gaps) // 2]:.1f} ms, 95% {gaps[int(0.95 * len(gaps))]:.1f} ms, ", end="")
    print(f"longest {gaps[-1]:.0f} ms, {busy_ms:.0f} ms of CPU; memory of the page {heap / 2**20:.1f} MiB")
    # On a machine that others use as well, frames are late by their doing, too; the CPU time of the page's thread
    # bounds what is its own doing: so many of the 240 frames of 4 s can it have made late by 100 ms.
    assert gaps[int(0.95 * len(gaps))] < 100 or busy_ms / 100 <= 0.05 * 240
    assert min(gaps[-1], busy_ms) < 1000
    assert heap < 64 * 2**20
    assert page.execute_script("return document.querySelectorAll('#series tbody tr').length") == 50
    picture(page, "five-thousand")
    page.find_element("css selector", "input[type=search]").send_keys("hall7/machine3/")
    until(lambda: "of 10" in text_of(page, ".pager"))
    assert page.execute_script(READ_ROW, "sensors/hall7/machine3/q9") is not None
