"""The import graph runs one way: a room imports from lower floors only, never from a room beside it."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "stepahead"
FLOORS = {
    "contract": 0,
    "transform": 1,
    "network": 1,
    "replay": 1,
    "experts": 1,
    "uncertainty": 1,
    "wire": 1,
    "storage": 1,
    "telemetry": 1,
    "dashboard": 1,
    "learning": 2,
    "forecasting": 3,
    "evaluation": 4,
    "inspection": 4,
    "doctor": 4,
    "service": 4,
    "library": 4,
    "river": 5,
    "cluster": 5,
    "cli": 6,
    "__main__": 7,
}


def imported_modules(tree: ast.AST) -> list[str]:
    """Every absolute module name imported anywhere: in functions and under TYPE_CHECKING too."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide arrows from this test"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def wrong_arrows(room: str, source: str) -> list[str]:
    wrong = []
    for name in imported_modules(ast.parse(source)):
        parts = name.split(".")
        if parts[0] == "simulators":
            wrong.append(f"{room} imports {name}")
        elif parts[0] == "stepahead" and len(parts) > 1 and parts[1] in FLOORS:
            target = parts[1]
            if target != room and FLOORS[target] >= FLOORS[room]:
                wrong.append(f"{room} imports {name}")
    return wrong


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down_only(path: Path) -> None:
    room = room_of(path)
    if room != "__init__":
        assert room in FLOORS, f"{room} is not a room of the house"
        assert wrong_arrows(room, path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "from stepahead.service import loop",
        "def f():\n    import stepahead.forecasting.engine",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from stepahead.network import lstm",
        "import simulators.feeds",
        "from stepahead import wire",
    ],
)
def test_a_wrong_arrow_is_found(source: str) -> None:
    assert wrong_arrows("transform", source) != []


def test_the_simulators_use_no_private_room() -> None:
    for path in (SOURCE.parents[1] / "simulators").rglob("*.py"):
        used = {n.split(".")[1] for n in imported_modules(ast.parse(path.read_text())) if n.startswith("stepahead.")}
        assert used <= {"contract", "wire", "evaluation", "telemetry"}, f"{path.name} imports {used}"
