"""A real Prometheus scrapes the running service; every query of the dashboard and of the alerts is asked of it."""

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from stepahead.telemetry.alerts import ALERTS, rules_text
from stepahead.telemetry.grafana import dashboard, queries
from stepahead.telemetry.metrics import METRICS
from tests.broker.brokers import free_port
from tests.dashboard.conftest import Plant, program, until

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"
Ask = Callable[[str], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def busy(plant: Plant) -> Plant:
    """The plant after some readings, one of them bad, so that there is a drop."""
    for step in range(30):
        plant.publish({"oven": 180.0 + step % 5})
    plant._client.publish("sensors/oven", b"{oops", 1)
    plant.until(lambda: plant.status.get("drops"))
    return plant


@pytest.fixture(scope="module")
def prometheus(busy: Plant, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    target = urllib.parse.urlsplit(busy.page).netloc
    config = folder / "prometheus.yml"
    config.write_text(
        f"global: {{scrape_interval: 500ms, evaluation_interval: 1s}}\nrule_files: [{MONITORING}/alerts.yaml]\n"
        f"scrape_configs: [{{job_name: stepahead, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    command = [program("prometheus", "prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    yield f"http://127.0.0.1:{port}/api/v1/"
    process.terminate()
    process.wait(60)


@pytest.fixture(scope="module")
def ask(prometheus: str, busy: Plant) -> Ask:
    def query(expression: str) -> list[dict[str, Any]]:
        data = urllib.parse.urlencode({"query": expression}).encode()
        with urllib.request.urlopen(f"{prometheus}query", data, timeout=60) as answer:
            return json.loads(answer.read())["data"]["result"]  # type: ignore[no-any-return]

    def scraped() -> bool:
        try:
            # How many readings come until then depends on the machine; the intervals need some fifty.
            return bool(
                query("count_over_time(stepahead_readings_total[1m]) > 6") and query("stepahead_coverage_ratio")
            )
        except OSError:
            return False

    deadline = time.monotonic() + 150
    while not scraped():
        assert time.monotonic() < deadline
        busy.publish({"oven": 180.0})
        time.sleep(0.3)
    return query


def test_prometheus_has_the_numbers_of_the_status(busy: Plant, ask: Ask) -> None:
    def up() -> bool:
        (answer,) = ask("up")
        return bool(answer["value"] == [pytest.approx(time.time(), abs=60), "1"])

    def told() -> tuple[list[object], list[object]]:
        """What Prometheus says and what it should: no more readings come, so that it comes to say so."""
        expected = {
            "stepahead_readings_total": busy.status["readings"],
            "stepahead_forecasts_total": busy.status["forecasts"],
            "stepahead_series": busy.status["series"],
            'stepahead_drops_total{reason="not_decodable"}': busy.status["drops"]["not_decodable"],
            'stepahead_series_observed{series="sensors/oven"}': busy.forecasts["sensors/oven"][-1]["observed"],
            'stepahead_series_forecast{series="sensors/oven"}': busy.forecasts["sensors/oven"][-1]["value"],
        }
        said = [[float(each["value"][1]) for each in ask(name)] for name in expected]
        return said, [[value] for value in expected.values()]

    until(up)
    deadline = time.monotonic() + 60
    while (pair := told())[0] != pair[1]:
        assert time.monotonic() < deadline, pair
        time.sleep(0.3)


@pytest.mark.parametrize("query", queries())
def test_every_query_of_the_dashboard_has_an_answer(ask: Ask, query: str) -> None:
    until(lambda: ask(query))  # a scrape that takes longer than the half second between two ends what there was


def test_every_metric_of_the_alerts_is_exposed(busy: Plant, ask: Ask) -> None:
    exposed = {sample.name for family in text_string_to_metric_families(complete(busy)) for sample in family.samples}
    for alert in ALERTS:
        named = set(re.findall(r"stepahead_\w+", alert.expression))
        assert named or "up{" in alert.expression
        assert named <= exposed, alert.name
        ask(alert.expression)


def test_the_rules_are_loaded_and_a_healthy_service_raises_none_that_is_critical(prometheus: str, ask: Ask) -> None:
    # One scrape that takes too long makes a rule pend, until it is looked at again.
    deadline = time.monotonic() + 150
    while True:
        with urllib.request.urlopen(f"{prometheus}rules", timeout=60) as answer:
            rules = [rule for group in json.loads(answer.read())["data"]["groups"] for rule in group["rules"]]
        raised = [r["name"] for r in rules if r["state"] != "inactive" and r["labels"]["severity"] == "critical"]
        if all(rule["health"] == "ok" for rule in rules) and not raised:
            break
        assert time.monotonic() < deadline, rules
        time.sleep(0.5)
    assert [rule["name"] for rule in rules] == [alert.name for alert in ALERTS]


def test_promtool_is_content_with_metrics_and_rules(busy: Plant) -> None:
    promtool = program("promtool", "prometheus")
    checks: list[tuple[list[str], str | None]] = [
        (["check", "metrics"], complete(busy)),
        (["check", "rules", str(MONITORING / "alerts.yaml")], None),
    ]
    for arguments, text in checks:
        done = subprocess.run([promtool, *arguments], input=text, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


def test_every_metric_is_exposed_by_a_running_service(busy: Plant) -> None:
    complete(busy)


def complete(busy: Plant) -> str:
    """The metrics, once every one is there: the page's picture of the loop is drawn after the status is told."""
    deadline = time.monotonic() + 60
    while True:
        text = busy.get("metrics")
        missing = [each.full_name for each in METRICS if f"# HELP {each.full_name} " not in text]
        # Coverage is known once readings have come with a settled interval, which thirty are too few for.
        if set(missing) <= {"stepahead_coverage_ratio"}:
            return text
        assert time.monotonic() < deadline, missing
        time.sleep(0.3)


def test_probes_tell_reasons(busy: Plant) -> None:
    assert busy.get("healthz") == "ok\n"
    until(lambda: busy.get("readyz") == "ok\n")  # a loop that this machine has not let turn is not ready


def test_the_committed_files_are_those_that_the_command_makes() -> None:
    again = "make them anew: stepahead monitoring deploy/monitoring"
    assert (MONITORING / "alerts.yaml").read_text("utf-8") == rules_text(), again
    assert (MONITORING / "grafana-dashboard.json").read_text("utf-8") == dashboard(), again


def test_panels_lie_side_by_side_and_every_alert_says_what_to_do() -> None:
    places = [panel["gridPos"] for panel in json.loads(dashboard())["panels"]]
    taken = {(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])}
    assert len(taken) == sum(p["w"] * p["h"] for p in places), "no two panels overlap"
    assert max(p["x"] + p["w"] for p in places) <= 24
    assert len({alert.name for alert in ALERTS}) == len(ALERTS)
    assert all(len(alert.action) > 60 for alert in ALERTS)
