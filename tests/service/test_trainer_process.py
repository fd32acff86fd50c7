import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from stepahead.contract.settings import LearningSettings
from stepahead.learning.tuner import Sequences, TuneRequest, tune
from stepahead.network.ensemble import weights_of
from stepahead.network.lstm import MemberNetwork, NetworkShape
from stepahead.service.trainer_process import ProcessTrainer

SHAPE = NetworkShape(features=5, hidden=8)
SETTINGS = LearningSettings(steps=2, windows=6, window_steps=16, burn_in=4, held_out=4)


def sequences(rng: np.random.Generator, count: int, steps: int, features: int = 5) -> Sequences:
    return Sequences(
        rng.normal(size=(count, steps, features)).astype(np.float32),
        rng.integers(0, 9, count),
        rng.normal(size=(count, steps, 1)).astype(np.float32),
        np.ones((count, steps, 1), np.float32),
    )


def request(number: int = 1, count: int = 6, steps: int = 15, shape: NetworkShape = SHAPE) -> TuneRequest:
    rng = np.random.default_rng(number)
    return TuneRequest(
        cohort="default",
        number=number,
        shape=shape,
        weights=[weights_of(MemberNetwork(shape, seed)) for seed in range(2)],
        optimisers=[],
        batches=[[sequences(rng, count, steps, shape.features) for _ in range(2)] for _ in range(2)],
        exam=sequences(rng, 4, steps, shape.features),
    )


def test_the_process_gives_the_same_bits_as_tuning_in_place() -> None:
    trainer = ProcessTrainer(SETTINGS, pytest.fail)
    expected = tune(request(), SETTINGS)
    trainer.submit(request())
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
    trainer.submit(request(2))
    again = trainer.wait()
    assert again is not None
    assert again.number == 2
    trainer.close()


def test_submitting_ten_megabytes_does_not_hold_the_loop_up() -> None:
    shape = NetworkShape(features=20, hidden=8)
    big = request(count=300, steps=95, shape=shape)
    assert sum(batch.inputs.nbytes for batches in big.batches for batch in batches) > 9e6
    trainer = ProcessTrainer(SETTINGS, pytest.fail)
    trainer.submit(request())
    assert trainer.wait() is not None
    took = []
    for _ in range(5):
        began = time.perf_counter()
        trainer.submit(big)
        took.append(time.perf_counter() - began)
        assert trainer.wait() is not None
    assert sorted(took)[2] < 0.005
    trainer.close()


def test_a_killed_process_is_counted_and_another_one_started() -> None:
    told: list[str] = []
    trainer = ProcessTrainer(SETTINGS, told.append)
    trainer.submit(request())
    assert trainer.wait() is not None
    first = trainer.pid
    assert first is not None
    os.kill(first, signal.SIGSTOP)  # so that it is killed in the middle of its work
    trainer.submit(request(2))
    os.kill(first, signal.SIGKILL)
    assert trainer.wait() is None
    assert not trainer.busy
    assert trainer.failures == 1
    assert len(told) == 1
    assert "fine-tune 2 of default failed" in told[0]
    trainer.submit(request(3))
    result = trainer.wait()
    assert result is not None
    assert result.number == 3
    assert trainer.pid != first
    trainer.close()


def test_a_process_that_hangs_is_killed_in_time() -> None:
    told: list[str] = []
    hang = [sys.executable, "-c", "import sys, time; sys.stdin.buffer.read(1); time.sleep(60)"]
    trainer = ProcessTrainer(SETTINGS, told.append, lambda: hang, time_limit_s=0.5)
    began = time.monotonic()
    trainer.submit(request())
    assert trainer.wait() is None
    assert time.monotonic() - began < 10
    assert trainer.failures == 1
    trainer.close()


def test_close_gives_up_what_is_under_way_without_a_word() -> None:
    told: list[str] = []
    hang = [sys.executable, "-c", "import sys, time; sys.stdin.buffer.read(1); time.sleep(60)"]
    trainer = ProcessTrainer(SETTINGS, told.append, lambda: hang)
    trainer.submit(request())
    while trainer.pid is None:
        time.sleep(0.01)
    pid = trainer.pid
    began = time.monotonic()
    trainer.close()
    assert time.monotonic() - began < 5
    assert told == []
    assert not Path(f"/proc/{pid}").exists()


def test_the_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        "from tests.service.test_trainer_process import SETTINGS, request\n"
        "from stepahead.service.trainer_process import ProcessTrainer\n"
        "trainer = ProcessTrainer(SETTINGS, print)\n"
        "trainer.submit(request())\n"
        "assert trainer.wait() is not None\n"
        "print(trainer.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path}
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        parent.kill()
    for _ in range(100):
        if not alive(pid):
            return
        time.sleep(0.1)
    pytest.fail("the trainer's process outlived its parent by 10 s")


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
