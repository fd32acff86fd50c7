"""What somebody at the page must be able to rely on: rows stay put, old figures are not taken for new ones, words."""

import urllib.parse
from collections.abc import Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from tests.crash.proxy import Proxy
from tests.dashboard.conftest import PICTURES, READ_ROW, Plant, first_recorded, record, text_of, until

KEYS = "return [...document.querySelectorAll('#series tbody tr')].map((row) => row.cells[1].textContent)"
HOLD_CLOCK = "window.clock = Date.now; const now = Date.now(); Date.now = () => now"
RELEASE_CLOCK = "Date.now = window.clock"
BANNER = "const banner = document.getElementById('banner'); return banner.hidden ? '' : banner.textContent"


def test_rows_do_not_change_places_under_the_pointer_and_do_when_it_rests(fed: Plant, page: webdriver.Chrome) -> None:
    small, large = "sensors/stay/small", "sensors/stay/large"
    fed.publish({"stay/small": 1.0, "stay/large": 100.0})
    page.find_element(By.CSS_SELECTOR, "th[data-sort=observed] button").click()
    page.find_element(By.CSS_SELECTOR, "input[type=search]").send_keys("stay/")
    until(lambda: page.execute_script(KEYS) == [small, large])
    # The page's clock stands still: a pause of the machine is none of the pointer.
    page.execute_script(HOLD_CLOCK)
    pointer = ActionChains(page)
    pointer.move_to_element(page.find_element(By.CSS_SELECTOR, "#series tbody tr")).perform()
    fed.publish({"stay/small": 400.0})

    def moved() -> bool:
        pointer.move_by_offset(1, 0).move_by_offset(-1, 0).perform()
        return str(page.execute_script(READ_ROW, small)["texts"][2]).startswith("400")

    until(moved)
    assert page.execute_script(KEYS) == [small, large], "its figure is new, its place is not"
    assert page.find_element(By.CSS_SELECTOR, ".held").get_attribute("class") == "soft held"
    page.execute_script(RELEASE_CLOCK)
    until(lambda: page.execute_script(KEYS) == [large, small])
    assert page.find_element(By.CSS_SELECTOR, ".held").get_attribute("class") == "soft held off"


def test_what_is_flagged_is_said_in_words_and_a_series_is_a_link(fed: Plant, page: webdriver.Chrome) -> None:
    page.find_element(By.CSS_SELECTOR, "input[type=search]").send_keys("oven")
    until(lambda: page.execute_script(KEYS) == ["sensors/oven"])  # alone, it keeps its place when the flag is over
    record(page, "sensors/oven")
    fed.publish({"oven": 320.0})
    first_recorded(page, "flagged now")
    link = page.find_element(By.LINK_TEXT, "sensors/oven")
    link.click()
    until(lambda: page.title.endswith("sensors/oven – stepahead"))
    assert page.execute_script("return document.activeElement.id") == "main"


def test_a_value_stands_beside_its_unit(fed: Plant, page: webdriver.Chrome) -> None:
    fed._client.publish("sensors/senml", b'[{"n":"boiler","u":"Cel","v":61.5}]', 1)
    page.find_element(By.CSS_SELECTOR, "input[type=search]").send_keys("boiler")
    row = until(lambda: page.execute_script(READ_ROW, "sensors/senml/boiler"))
    assert row["texts"][2:4] == ["61.50", "Cel"]
    page.get(f"{fed.page}#/series/sensors%2Fsenml%2Fboiler")
    until(lambda: "61.50 Cel" in text_of(page, ".figures"))


@pytest.fixture
def line(fed: Plant) -> Iterator[Proxy]:
    proxy = Proxy(int(urllib.parse.urlsplit(fed.page).port or 0))
    yield proxy
    proxy.close()


def test_figures_of_a_connection_that_is_lost_look_old_and_it_says_so(
    fed: Plant, line: Proxy, browser: webdriver.Chrome
) -> None:
    browser.get(f"http://127.0.0.1:{line.port}/")
    until(lambda: browser.execute_script(READ_ROW, "sensors/oven"))
    until(lambda: browser.execute_script(BANNER) == "")
    line.cut()
    until(lambda: "The figures are those of" in browser.execute_script(BANNER))
    until(lambda: "No connection to the service" in browser.execute_script(BANNER))
    opacity = "return Number(getComputedStyle(document.querySelector('main')).opacity)"
    assert browser.execute_script(opacity) < 0.7
    browser.save_screenshot(str(PICTURES / "lost.png"))
    line.heal()
    until(lambda: browser.execute_script(BANNER) == "")
    assert browser.execute_script(opacity) == 1
    browser.get("about:blank")
    refused = [entry["message"] for entry in browser.get_log("browser")]
    assert all("ERR_CONNECTION" in text or "ERR_" in text for text in refused)


def test_before_there_is_a_line_to_draw_a_chart_says_what_it_waits_for(fed: Plant, page: webdriver.Chrome) -> None:
    fed.publish({"fresh": 1.0})
    page.get(f"{fed.page}#/series/sensors%2Ffresh")
    until(lambda: "Waiting for readings." in text_of(page, "main"))
    assert page.find_elements(By.CSS_SELECTOR, "main canvas") == []
    for value in (2.0, 3.0):
        fed.publish({"fresh": value})
    until(lambda: page.find_elements(By.CSS_SELECTOR, "main canvas"))
    assert "Known after ten readings." in text_of(page, "main")
