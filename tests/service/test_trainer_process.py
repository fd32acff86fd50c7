import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from stepahead.contract.settings import LearningSettings
from stepahead.learning.tuner import tune
from stepahead.service.parcel import pack
from stepahead.service.trainer_child import MOST_BYTES, NICENESS
from stepahead.service.trainer_process import ProcessTrainer, trainer_command
from stepahead.service.tuning_message import material_parts
from tests.devices import needs_cuda
from tests.learning.drawn import material

# The limits stand for a process that hangs: on a machine with much to do, its libraries alone load for a minute.
SETTINGS = LearningSettings(steps=2, windows=6, window_steps=16, burn_in=4, held_out=4, max_seconds=200)
HANG_S = 100


@pytest.fixture(scope="module")
def trainer() -> Iterator[ProcessTrainer]:
    """One whose process runs: its start takes seconds."""
    trainer = ProcessTrainer(SETTINGS, pytest.fail)
    trainer.submit(material())
    assert trainer.wait() is not None
    yield trainer
    trainer.close()


def test_the_process_gives_the_same_bits_as_tuning_in_place(trainer: ProcessTrainer) -> None:
    expected = tune(material().request(), SETTINGS)
    trainer.submit(material())
    assert trainer.busy
    result = trainer.wait()
    assert result is not None
    assert (result.cohort, result.number, result.gave_up) == ("default", 1, False)
    for ours, theirs in zip(
        [*result.weights, *result.optimisers], [*expected.weights, *expected.optimisers], strict=True
    ):
        assert set(ours) == set(theirs)
        for name in theirs:
            np.testing.assert_array_equal(ours[name], theirs[name])
            assert ours[name].dtype == theirs[name].dtype
            assert ours[name].shape == theirs[name].shape
    np.testing.assert_array_equal(result.challenger_loss, expected.challenger_loss)
    assert not trainer.busy
    assert trainer.poll() is None
    trainer.submit(material(2))
    again = trainer.wait()
    assert again is not None
    assert again.number == 2


@needs_cuda
def test_the_process_tunes_on_a_gpu_within_its_share_of_the_gpus_memory() -> None:
    told: list[str] = []
    trainer = ProcessTrainer(SETTINGS, told.append, partial(trainer_command, device="cuda"))
    trainer.submit(material())
    result, expected = trainer.wait(), tune(material().request(), SETTINGS)
    assert result is not None, told
    for ours, theirs in zip(result.weights, expected.weights, strict=True):
        for name in theirs:
            np.testing.assert_allclose(ours[name], theirs[name], atol=1e-4, err_msg=name)
    trainer.close()
    small = SETTINGS.model_copy(update={"max_memory_bytes": 2**24})
    trainer = ProcessTrainer(small, told.append, partial(trainer_command, device="cuda"))
    trainer.submit(material(2, count=9_000, steps=96))
    assert trainer.wait() is None
    assert "memory" in told[-1].lower()
    trainer.close()


def test_submitting_ten_megabytes_costs_not_even_a_copy_of_them(trainer: ProcessTrainer) -> None:
    big = material(count=800, steps=96)
    assert len(big.lessons) * 96 * (4 * 4 + 2 * 7) > 9e6
    took, copied = [], []
    for _ in range(7):
        began = time.thread_time()
        trainer.submit(big)
        took.append(time.thread_time() - began)
        assert trainer.wait() is not None
        began = time.thread_time()
        os.close(pack(*material_parts(big, SETTINGS), MOST_BYTES))
        copied.append(time.thread_time() - began)
    assert min(took) < min(copied)


def test_a_killed_process_is_counted_and_another_one_started() -> None:
    told: list[str] = []
    trainer = ProcessTrainer(SETTINGS, told.append)
    trainer.submit(material())
    assert trainer.wait() is not None
    first = trainer.pid
    assert first is not None
    stop(first)  # so that it is killed in the middle of its work
    trainer.submit(material(2))
    until_sent(trainer)
    os.kill(first, signal.SIGKILL)
    assert trainer.wait() is None
    assert not trainer.busy
    assert trainer.failures == 1
    assert len(told) == 1
    assert "fine-tune 2 of default failed" in told[0]
    trainer.submit(material(3))
    result = trainer.wait()
    assert result is not None
    assert result.number == 3
    assert trainer.pid != first
    trainer.close()


def test_the_process_is_at_low_priority_with_few_threads(trainer: ProcessTrainer) -> None:
    pid = trainer.pid
    assert pid is not None
    assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 0) + NICENESS
    autogroup = Path(f"/proc/{pid}/autogroup")
    if autogroup.exists():  # of what share the process' whole session gets, where sessions are given shares
        assert autogroup.read_text().split()[-2:] == ["nice", str(NICENESS)]
    # The one that computes, the one that waits for our end, and what a library starts and lets sleep.
    threads = list(Path(f"/proc/{pid}/task").iterdir())
    assert len(threads) <= 4
    before = [cpu_ticks(task) for task in threads]
    busy, work = [0], material(2, count=400)
    while sum(busy) < 50:  # of so many, a tick that another thread completes is no share
        trainer.submit(work)
        assert trainer.wait() is not None
        busy = [after - then for after, then in zip(map(cpu_ticks, threads), before, strict=True)]
    assert max(busy) >= 0.9 * sum(busy)


def test_one_that_needs_more_memory_than_allowed_is_given_up_and_the_next_one_is_done() -> None:
    told: list[str] = []
    settings = SETTINGS.model_copy(update={"max_memory_bytes": 2**27})
    trainer = ProcessTrainer(settings, told.append)
    trainer.submit(material())
    assert trainer.wait() is not None
    trainer.submit(material(2, count=9_000, steps=96))
    assert trainer.wait() is None
    assert trainer.failures == 1
    assert "fine-tune 2 of default failed" in told[0]
    assert "memory" in told[0].lower()
    trainer.submit(material(3))
    assert trainer.wait() is not None
    trainer.close()


def test_neither_memory_nor_descriptors_are_left_behind() -> None:
    descriptors, memory = len(os.listdir("/proc/self/fd")), set(os.listdir("/dev/shm"))
    trainer = ProcessTrainer(SETTINGS, lambda text: None)
    for number in range(1, 7):
        pid = trainer.pid
        if number == 3 and pid is not None:
            stop(pid)  # so that it is killed in the middle of its work
        trainer.submit(material(number))
        if number == 3 and pid is not None:
            until_sent(trainer)
            os.kill(pid, signal.SIGKILL)
        assert (trainer.wait() is None) == (number == 3)
        child = Path(f"/proc/{trainer.pid}/fd")
        assert number == 3 or len(list(child.iterdir())) <= 6
    assert trainer.failures == 1
    trainer.submit(material(7))
    trainer.close()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    until(lambda: set(os.listdir("/dev/shm")) <= memory)  # others, who share it, take away what is theirs


def test_an_answer_that_makes_no_sense_is_a_failure_in_words() -> None:
    told: list[str] = []
    liar = (
        "import os, socket, sys; s = socket.socket(fileno=int(sys.argv[1])); socket.recv_fds(s, 1, 1)\n"
        "fd = os.memfd_create('x'); os.write(fd, b'no message'); socket.send_fds(s, [b'd'], [fd]); s.recv(1)"
    )
    trainer = ProcessTrainer(SETTINGS, told.append, lambda number, memory: [sys.executable, "-c", liar, str(number)])
    trainer.submit(material())
    assert trainer.wait() is None
    assert (trainer.failures, trainer.busy) == (1, False)
    assert "message" in told[0]
    trainer.close()


def test_a_process_that_cannot_be_started_is_a_failure_in_words() -> None:
    told: list[str] = []
    trainer = ProcessTrainer(SETTINGS, told.append, lambda number, memory: ["/nowhere/python"])
    trainer.submit(material())
    assert trainer.wait() is None
    assert (trainer.failures, trainer.busy) == (1, False)
    assert "/nowhere/python" in told[0]


def test_a_process_that_hangs_is_killed_in_time() -> None:
    told: list[str] = []
    hang = [sys.executable, "-c", "import sys, time; time.sleep(600)"]
    trainer = ProcessTrainer(SETTINGS, told.append, lambda descriptor, memory: hang, time_limit_s=0.5)
    began = time.monotonic()
    trainer.submit(material())
    assert trainer.wait() is None
    assert time.monotonic() - began < HANG_S
    assert trainer.failures == 1
    trainer.close()


def test_close_gives_up_what_is_under_way_without_a_word() -> None:
    told: list[str] = []
    hang = [sys.executable, "-c", "import sys, time; time.sleep(600)"]
    trainer = ProcessTrainer(SETTINGS, told.append, lambda descriptor, memory: hang)
    trainer.submit(material())
    until(lambda: trainer.pid is not None)
    pid = trainer.pid
    began = time.monotonic()
    trainer.close()
    assert time.monotonic() - began < HANG_S
    assert told == []
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("waiting", [False, True], ids=["idle", "with work that it has not begun"])
def test_the_process_ends_when_its_parent_is_killed(waiting: bool) -> None:
    again = "stop(trainer.pid); trainer.submit(material(2)); until_sent(trainer)\n"
    program = (
        "import time\n"
        "from tests.service.test_trainer_process import SETTINGS, material, stop, until_sent\n"
        "from stepahead.service.trainer_process import ProcessTrainer\n"
        "trainer = ProcessTrainer(SETTINGS, print)\n"
        "trainer.submit(material())\n"
        "assert trainer.wait() is not None\n"
        f"{again if waiting else ''}"
        "print(trainer.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path}
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        parent.kill()
    if waiting:
        os.kill(pid, signal.SIGCONT)
    until(lambda: not alive(pid))


def until(condition: Callable[[], object]) -> None:
    until_s = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.01)


def stop(pid: int) -> None:
    """Stop a process, and wait until every thread of it stands still."""
    os.kill(pid, signal.SIGSTOP)
    tasks = Path(f"/proc/{pid}/task")
    until(lambda: all(state_of(task / "stat") == "T" for task in tasks.iterdir()))


def state_of(stat: Path) -> str:
    return stat.read_text().rsplit(")", 1)[1].split()[0]


def until_sent(trainer: ProcessTrainer) -> None:
    """Until a child that is stopped has the message before it."""
    assert trainer._socket is not None
    sock = trainer._socket
    until(lambda: struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0])


def alive(pid: int) -> bool:
    try:
        return state_of(Path(f"/proc/{pid}/stat")) != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter when it goes between open and read
        return False


def cpu_ticks(task: Path) -> int:
    user, system = (task / "stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return int(user) + int(system)
