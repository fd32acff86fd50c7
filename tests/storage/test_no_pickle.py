"""A pickle is never opened: not in the source, and not while state is written and read."""

import ast
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stepahead.storage.journal import Journal
from stepahead.storage.snapshot import SnapshotStore
from stepahead.storage.verify import verify_state

SOURCE = Path(__file__).parents[2] / "src" / "stepahead"
MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "copyreg"}
CALLS = {("torch", "load"), ("torch", "save"), ("np", "load"), ("numpy", "load"), ("jit", "load")}


def pickles(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name for name in names if tuple(name.split(".")[-2:]) in CALLS]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            found += [f"{owner}.{node.attr}"] if (owner, node.attr) in CALLS else []
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            found += [] if isinstance(node.value, ast.Constant) and node.value.value is False else ["allow_pickle"]
        found += [name for name in names if name.split(".")[0] in MODULES]
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_source_file_opens_a_pickle(path: Path) -> None:
    assert pickles(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "def f():\n    from pickle import loads",
        "import torch\ntorch.load('a')",
        "from torch import load",
        "import numpy\nnumpy.load('a')",
        "np.savez(f, allow_pickle=True)",
        "import joblib.numpy_pickle",
        "torch.jit.load('a')",
    ],
)
def test_a_pickle_in_the_source_would_be_found(source: str) -> None:
    assert pickles(source) != []


def test_no_pickle_is_opened_while_state_is_written_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_of: Any, state_of: Any
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a pickle was opened")

    for module, names in (
        (pickle, ["load", "loads", "dump", "dumps", "Unpickler", "Pickler"]),
        (torch, ["load", "save"]),
        (np, ["load", "save", "savez"]),
    ):
        for name in names:
            monkeypatch.setattr(module, name, refuse)
    with pytest.raises(AssertionError, match="pickle"):
        pickle.load(io.BytesIO())
    journal = Journal(tmp_path / "journal")
    journal.append(record_of(3))
    journal.close()
    store = SnapshotStore(tmp_path / "snapshots")
    store.write(state_of(1), position=1)
    assert store.load_newest() is not None
    assert len(list(Journal(tmp_path / "journal").read(0))) == 1
    assert verify_state(tmp_path).ok
