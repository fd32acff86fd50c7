"""deploy/README.md: a section per alert, links that lead somewhere, commands that are there; the picture up to date."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from tests.test_readme import Block, blocks_of, check

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TEXT = (DEPLOY / "README.md").read_text("utf-8")
CLUSTER = (DEPLOY / "CLUSTER.md").read_text("utf-8")


def test_every_alert_has_a_section_and_every_section_an_alert() -> None:
    groups = yaml.safe_load((DEPLOY / "monitoring" / "alerts.yaml").read_text())["groups"]
    alerts = [rule["alert"] for group in groups for rule in group["rules"]]
    sections = re.split(r"^### ", TEXT, flags=re.MULTILINE)[1:]
    assert [section.split("\n")[0] for section in sections] == alerts
    assert all(len(section.split()) >= 20 for section in sections)


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", TEXT + CLUSTER)
    assert len(links) >= 8
    assert [link for link in links if not (DEPLOY / link).exists()] == []


@pytest.mark.parametrize(
    "block", [*blocks_of(TEXT), *blocks_of(CLUSTER)], ids=lambda block: f"line-{block.line}-{block.language}"
)
def test_the_block_holds(block: Block) -> None:
    assert block.orders == ("no-run",) or block.language == "toml"
    check(block, ROOT)


def test_the_picture_is_up_to_date_and_names_rooms_that_are_there() -> None:
    spec = importlib.util.spec_from_file_location("architecture", DEPLOY / "architecture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    command = "python deploy/architecture.py > deploy/architecture.svg"
    assert (DEPLOY / "architecture.svg").read_text("utf-8") == module.picture(), f"run: {command}"
    rooms = {folder.name for folder in (ROOT / "src" / "stepahead").iterdir() if folder.is_dir()}
    assert set(module.ROOMS) - rooms - {"dashboard"} == set()
