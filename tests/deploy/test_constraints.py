"""Every package that the demo and the tests need is pinned, within the ranges that pyproject.toml promises."""

import importlib.metadata
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins() -> dict[str, str]:
    lines = (ROOT / "deploy" / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    assert all(len(pair) == 2 for pair in pairs)
    return {canonicalize_name(name): version for name, version in pairs}


def direct(*extras: str) -> list[Requirement]:
    texts = list(PROJECT["dependencies"])
    for extra in extras:
        texts += PROJECT["optional-dependencies"][extra]
    found = []
    for requirement in map(Requirement, texts):
        if requirement.name == PROJECT["name"]:
            found += direct(*requirement.extras)
        else:
            found.append(requirement)
    return found


def closure(requirements: list[Requirement]) -> set[str]:
    names: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    while requirements:
        requirement = requirements.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        names.add(key[0])
        for text in importlib.metadata.requires(requirement.name) or []:
            child = Requirement(text)
            extras = ["", *requirement.extras]
            if child.marker is None or any(child.marker.evaluate({"extra": extra}) for extra in extras):
                requirements.append(child)
    return names


def test_everything_that_is_needed_is_pinned() -> None:
    assert closure(direct("test", "demo")) - pins().keys() == set()


def test_pins_lie_within_the_ranges() -> None:
    pinned = pins()
    wrong = [str(r) for r in direct("test", "demo") if not r.specifier.contains(pinned[canonicalize_name(r.name)])]
    assert wrong == []


def test_torch_is_pinned_without_naming_a_build() -> None:
    assert pins()["torch"] == "2.13.0"
