"""The image, the compose file and what they mount: as far as it can be checked without an engine."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from stepahead.service.configuration import load_settings
from tests.broker.brokers import find_mosquitto, free_port, wait_for_port
from tests.deploy.test_scripts import tool

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
LAST_STAGE = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]


def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return content


def image_environment() -> dict[str, str]:
    (text,) = re.findall(r"^ENV ((?:.*\\\n)*.*)$", LAST_STAGE, re.MULTILINE)
    return dict(pair.split("=", 1) for pair in text.replace("\\\n", " ").split())


def ours(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith("STEPAHEAD_")}


def check(*command: str) -> None:
    done = subprocess.run([tool(command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hadolint_is_content() -> None:
    check("hadolint", "deploy/Dockerfile")


YAML_FILES = ("compose.yaml", "compose", "kubernetes", "helm/stepahead/Chart.yaml", "helm/stepahead/values.yaml")


def test_yamllint_is_content() -> None:
    rules = "line-length: {max: 120}, document-start: disable, comments: {min-spaces-from-content: 1}"
    check(
        "yamllint", "-s", "-d", f"{{extends: default, rules: {{{rules}}}}}", *(f"deploy/{file}" for file in YAML_FILES)
    )


def test_the_compose_file_follows_its_schema() -> None:
    check("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "deploy/compose.yaml")


def test_the_schema_of_compose_is_one_that_refuses(tmp_path: Path) -> None:
    wrong = compose()
    wrong["services"]["stepahead"]["read_onyl"] = True
    (tmp_path / "compose.yaml").write_text(yaml.safe_dump(wrong))
    with pytest.raises(AssertionError, match="read_onyl"):
        check("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(tmp_path / "compose.yaml"))


def test_the_image_copies_only_what_is_there_and_what_the_ignore_file_lets_through() -> None:
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    let_through = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source for line in re.findall(r"^COPY (?!--)(.*)$", DOCKERFILE, re.MULTILINE) for source in line.split()[:-1]
    }
    assert copied == let_through
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.timeout(2400)
def test_the_images_steps_install_every_file(tmp_path: Path, long_form: bool) -> None:
    context, app = tmp_path / "context", tmp_path / "app"
    for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines():
        if line.startswith("!"):
            source, target = ROOT / line[1:], context / line[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
            else:
                shutil.copy(source, target)
    if long_form:  # all of them in an empty folder, and the service as the image runs it
        with tempfile.TemporaryDirectory() as root:  # pytest's own folder is closed to the image's user
            command = ["sh", str(DEPLOY / "check-image.sh"), root]
            done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
        assert done.returncode == 0, done.stdout + done.stderr
        print(done.stderr)
    command = ["sh", str(context / "deploy" / "image.sh"), "package", sys.prefix, str(app)]
    done = subprocess.run(command, cwd=context, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    installed = {str(file.relative_to(app)) for file in app.rglob("*")}
    source_files = [
        file.relative_to(context / "src")
        for file in (context / "src").rglob("*")
        if file.suffix in (".py", ".js", ".css", ".html", ".svg", ".typed")
    ]
    assert [str(file) for file in source_files if str(file) not in installed] == []
    assert "absent from the `packages`" not in done.stdout + done.stderr


def test_the_images_settings_are_settings_and_nobody_is_root() -> None:
    settings = load_settings(None, {}, ours(image_environment()))
    assert (settings.http.enabled, settings.http.port, settings.service.log_format) == (True, 8420, "json")
    state = Path("/var/lib/stepahead")
    assert settings.durability.state_dir == state / "state"
    assert state in Path(image_environment()["NUMBA_CACHE_DIR"]).parents
    assert re.findall(r"^(?:USER|VOLUME|EXPOSE) (.*)$", LAST_STAGE, re.MULTILINE) == ["10001:10001", str(state), "8420"]


class Health(BaseHTTPRequestHandler):
    code = 200

    def do_GET(self) -> None:
        self.send_response(self.code if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.mark.parametrize(("code", "expected"), [(200, 0), (503, 1), (None, 1)])
def test_the_health_check_says_what_the_service_says(code: int | None, expected: int) -> None:
    found = re.search(r"^HEALTHCHECK .*\\\n\s*CMD (\[.*\])$", LAST_STAGE, re.MULTILINE)
    assert found is not None
    command = json.loads(found[1])
    assert "127.0.0.1:8420/healthz" in command[-1]
    assert command[-1].count("timeout=4)") == 1
    with HTTPServer(("127.0.0.1", 0), type("Answer", (Health,), {"code": code})) as server:
        port = server.server_port if code is not None else free_port()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # The server here is a thread of a process that has other work, on a machine that may stand still.
        script = command[-1].replace("8420", str(port)).replace("timeout=4)", "timeout=100)")
        done = subprocess.run([sys.executable, *command[1:-1], script], capture_output=True)
        server.shutdown()
    assert done.returncode == expected


def test_what_compose_mounts_is_there_and_what_it_sets_are_settings() -> None:
    services = compose()["services"]
    for service in services.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (DEPLOY / source).is_file(), source
    environment = image_environment() | services["stepahead"]["environment"]
    settings = load_settings(None, {}, ours(environment))
    assert settings.broker.url == "mqtt://mosquitto:1883"
    words = services["sensors"]["command"]
    prefix = words[words.index("--topic") + 1]
    assert [subscription.filter for subscription in settings.subscriptions] == [f"{prefix}/#"]
    assert words[words.index("--broker") + 1] == settings.broker.url


def test_ports_are_published_on_loopback_only() -> None:
    published = [port for service in compose()["services"].values() for port in service.get("ports", [])]
    assert len(published) == 4
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_prometheus_scrapes_under_the_name_that_the_alerts_know(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    assert promtool is not None, "promtool is missing: apt-get install prometheus"
    text = (DEPLOY / "compose" / "prometheus.yaml").read_text()
    file = tmp_path / "prometheus.yaml"
    file.write_text(text.replace("/etc/prometheus/alerts.yaml", str(DEPLOY / "monitoring" / "alerts.yaml")))
    done = subprocess.run([promtool, "check", "config", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (job,) = yaml.safe_load(text)["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["stepahead:8420"]}]
    assert (
        f'up{{job="{job["job_name"]}"}}'
        in yaml.safe_load((DEPLOY / "monitoring" / "alerts.yaml").read_text())["groups"][0]["rules"][0]["expr"]
    )


def test_grafana_finds_the_dashboard_where_it_is_mounted() -> None:
    volumes = dict(volume.split(":")[:2] for volume in compose()["services"]["grafana"]["volumes"])
    (provider,) = yaml.safe_load((DEPLOY / "compose" / "grafana-dashboards.yaml").read_text())["providers"]
    dashboard = Path(volumes["./monitoring/grafana-dashboard.json"])
    assert str(dashboard.parent) == provider["options"]["path"]
    (source,) = yaml.safe_load((DEPLOY / "compose" / "grafana-datasources.yaml").read_text())["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")


def test_mosquitto_starts_with_the_settings_that_compose_mounts(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    shutil.copy(DEPLOY / "mosquitto" / "stepahead.conf", tmp_path / "conf.d")
    text = (DEPLOY / "compose" / "mosquitto.conf").read_text()
    port = free_port()
    for old, new in (
        ("/mosquitto/config/conf.d", f"{tmp_path}/conf.d"),
        ("/mosquitto/data/", f"{tmp_path}/"),
        ("listener 1883", f"listener {port} 127.0.0.1"),
    ):
        assert text.count(f" {old}\n") + text.count(f"\n{old}\n") == 1
        text = text.replace(old, new)
    (tmp_path / "mosquitto.conf").write_text(text + "user root\n")
    log = tmp_path / "log"
    with (
        log.open("wb") as said,
        subprocess.Popen([find_mosquitto(), "-c", tmp_path / "mosquitto.conf"], stderr=said) as broker,
    ):
        try:
            wait_for_port(port, broker, log)
        finally:
            broker.terminate()
    assert "Error" not in log.read_text()
