"""One process per state directory."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from stepahead.contract.errors import StateError
from stepahead.storage.lock import StateLock

HOLDER = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from stepahead.storage.lock import StateLock
with StateLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_process_is_refused_and_the_kernel_lets_go_of_a_dead_one(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path), *filter(None, sys.path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StateError, match=f"{tmp_path} is in use by process {holder.pid}: stop it"):
            StateLock(tmp_path)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with StateLock(tmp_path) as lock:
        with pytest.raises(StateError, match="in use"):
            StateLock(tmp_path)
        lock.release()
        lock.release()
        StateLock(tmp_path).release()


def test_the_directory_is_made_for_the_owner_only(tmp_path: Path) -> None:
    StateLock(tmp_path / "a" / "b").release()
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a" / "b" / "lock").stat().st_mode & 0o777 == 0o600


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="file/state cannot be used"):
        StateLock(tmp_path / "file" / "state")


def test_a_directory_of_something_else_is_refused_and_left_open(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "letters").touch()
    with pytest.raises(StateError, match=r"is no state directory, and not empty: give durability.state_dir a dir"):
        StateLock(shared)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o777
    (shared / "letters").rename(shared / "lost+found")  # what a disk of its own has at its root
    with StateLock(shared):
        assert stat.S_IMODE(shared.stat().st_mode) == 0o700
    with StateLock(shared):
        assert (shared / "lock").is_file()
