"""The cache of compiled loops: what an installation has compiled is used, and nothing that is out of date."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LOOP = """
from stepahead.contract.compiled import compiled
from other import double

@compiled
def loop(x):
    return double(x) + 1
"""
OTHER = """
from stepahead.contract.compiled import compiled

@compiled
def double(x):
    return 2 * x
"""
CALL = "from loop import loop; print(loop(2.0), 'loaded' if loop.stats.cache_hits else 'compiled')"
NOTHING_MAY_BE_WRITTEN = (
    "from stepahead.contract import compiled as c; c._LoopCacheImpl._locator_classes = [c._ReadOnly]\n"
)


def call(folder: Path, code: str = CALL, **environment: str) -> str:
    paths = os.pathsep.join((str(folder), *sys.path))
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": paths} | environment,
        capture_output=True, text=True, timeout=250, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def compiled_files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.nb?"))


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A module whose loop was called, and so compiled, once."""
    folder = tmp_path / "installed"
    folder.mkdir()
    (folder / "loop.py").write_text(LOOP)
    (folder / "other.py").write_text(OTHER)
    assert call(folder) == "5.0 compiled"
    return folder


def test_what_is_compiled_is_loaded_here_and_where_it_was_copied(installed: Path, tmp_path: Path) -> None:
    assert call(installed) == "5.0 loaded"
    shutil.copytree(installed, tmp_path / "copy")
    assert call(tmp_path / "copy") == "5.0 loaded"


def test_a_change_of_what_is_called_counts(installed: Path) -> None:
    state = (installed / "other.py").stat()
    (installed / "other.py").write_text(OTHER.replace("2 * x", "3 * x"))
    os.utime(installed / "other.py", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert call(installed) == "7.0 compiled"
    assert call(installed) == "7.0 loaded"


def test_what_the_installation_has_is_loaded_though_another_folder_is_written(installed: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    assert call(installed, NUMBA_CACHE_DIR=str(own)) == "5.0 loaded"
    assert compiled_files(own) == []
    (installed / "other.py").write_text(OTHER.replace("2 * x", "3 * x"))
    assert call(installed, NUMBA_CACHE_DIR=str(own)) == "7.0 compiled"
    assert len(compiled_files(own)) >= 2
    assert call(installed, NUMBA_CACHE_DIR=str(own)) == "7.0 loaded"


def test_where_nothing_may_be_written_it_is_read_or_else_compiled(installed: Path) -> None:
    assert call(installed, NOTHING_MAY_BE_WRITTEN + CALL) == "5.0 loaded"
    for file in (installed / "__pycache__").glob("*.nb?"):
        file.unlink()
    assert call(installed, NOTHING_MAY_BE_WRITTEN + CALL) == "5.0 compiled"
    assert compiled_files(installed) == []
