"""Fine-tuning in a process of its own, so that forecasts go out while gradients are computed."""

import os
import queue
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from stepahead.contract.settings import LearningSettings
from stepahead.learning.material import Material
from stepahead.learning.tuner import TuneResult
from stepahead.service.parcel import pack, unpack
from stepahead.service.trainer_child import BEGIN, DONE, MOST_BYTES
from stepahead.service.tuning_message import material_parts, result_of

__all__ = ["ProcessTrainer", "trainer_command"]

GRACE_S = 120.0
"""On top of `learning.max_seconds`, which the fine-tune keeps itself: for the start of the process and the way there
and back; with a cold disk PyTorch alone takes most of a minute. What is slower hangs, and is killed."""
ENDING_S = 0.1
"""Between the end of a process' socket and of the process itself."""


def trainer_command(descriptor: int, memory_bytes: int, device: str = "cpu") -> list[str]:
    """What starts the process; `-P` keeps a `numpy.py` in the working directory out of its way."""
    child = [sys.executable, "-P", "-m", "stepahead.service.trainer_child"]
    return [*child, str(descriptor), str(memory_bytes), device]


class ProcessTrainer:
    """A `Trainer` whose work is done by a child process: at low priority, with one thread and bounded memory.

    Material and results lie in memory that both processes see, and a thread of ours puts them there, takes them out and
    waits: `submit` and `poll` never do. A child that dies or hangs is counted in `failures` and its fine-tune is given
    up; the next one starts another. The child ends with us, however we end, because its socket is closed then.

    Args:
        settings: of the fine-tunes.
        report: told in one sentence about each failure.
        command: starts the child, given the number of its socket and the bytes that it may take.
        time_limit_s: a fine-tune that takes longer is killed; none = `settings.max_seconds` and GRACE_S.
        clock: monotonic seconds.

    Example:
        >>> trainer = ProcessTrainer(LearningSettings(), print)
        >>> trainer.busy, trainer.poll()
        (False, None)
        >>> trainer.close()
    """

    not_before = 0

    def __init__(
        self,
        settings: LearningSettings,
        report: Callable[[str], None],
        command: Callable[[int, int], list[str]] = trainer_command,
        time_limit_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._report = report
        self._command = command
        self._time_limit_s = settings.max_seconds + GRACE_S if time_limit_s is None else time_limit_s
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._under_way: str | None = None
        self._closed = False
        self._thread: threading.Thread | None = None
        self._requests: queue.SimpleQueue[Material | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[TuneResult | Exception] = queue.SimpleQueue()
        self.failures = 0

    @property
    def busy(self) -> bool:
        """Whether a fine-tune is under way or its result has not been fetched."""
        return self._under_way is not None

    @property
    def pid(self) -> int | None:
        """Process id of the child, if one was started and not ended."""
        return None if self._process is None else self._process.pid

    def submit(self, material: Material) -> None:
        """Begin a fine-tune, whose arrays nobody changes any more; returns at once."""
        if self._thread is None:
            # A daemon: whoever forgets to close us shall not wait for a fine-tune at his end.
            self._thread = threading.Thread(target=self._serve, name="trainer", daemon=True)
            self._thread.start()
        self._under_way = f"fine-tune {material.number} of {material.cohort}"
        self._requests.put(material)

    def poll(self) -> TuneResult | None:
        """The result if it is there; never waits."""
        return self._fetch(block=False)

    def wait(self) -> TuneResult | None:
        """The result, waited for; None when the fine-tune failed or there is none."""
        return self._fetch(block=True)

    def close(self) -> None:
        """Give up what is under way and end the child."""
        self._under_way = None
        self._closed = True
        if self._thread is not None:
            process = self._process
            if process is not None:
                process.kill()  # the thread hears of it
            self._requests.put(None)
            self._thread.join()
            self._thread = None

    def _fetch(self, block: bool) -> TuneResult | None:
        if self._under_way is None:
            return None
        try:
            answer = self._answers.get(block)
        except queue.Empty:
            return None
        what, self._under_way = self._under_way, None
        if isinstance(answer, TuneResult):
            return answer
        self.failures += 1
        self._report(f"{what} failed: {answer}")
        return None

    def _serve(self) -> None:
        """What the thread does: one fine-tune after the other, each answered."""
        while (material := self._requests.get()) is not None:
            try:
                self._answers.put(self._tune(material))
            except (OSError, ValueError) as error:
                self._end_child()
                self._answers.put(error)
        self._end_child()

    def _tune(self, material: Material) -> TuneResult:
        until_s = self._clock() + self._time_limit_s
        parcel = pack(*material_parts(material, self._settings), MOST_BYTES)
        try:
            ours = self._child()
            socket.send_fds(ours, [BEGIN], [parcel])
        finally:
            os.close(parcel)
        if not select.select([ours], [], [], max(0.0, until_s - self._clock()))[0]:
            raise ValueError(f"not done after {self._time_limit_s:g} s")
        message, descriptors, _, _ = socket.recv_fds(ours, len(DONE), 1)
        if not message:
            raise ValueError(f"its process ended with code {self._code()}")
        try:
            head, arrays = unpack(descriptors[0], MOST_BYTES)
        finally:
            os.close(descriptors[0])
        if "failed" in head:
            raise ValueError(head["failed"])
        return result_of(head, arrays)

    def _child(self) -> socket.socket:
        """The socket to a child that lives, as far as we know: what has died is noticed when it does not answer."""
        if self._socket is None or self._process is None or self._process.poll() is not None:
            self._end_child()
            ours, theirs = socket.socketpair()
            with theirs:
                self._socket = ours
                self._process = subprocess.Popen(
                    self._command(theirs.fileno(), self._settings.max_memory_bytes),
                    stdin=subprocess.DEVNULL,
                    stdout=2,  # what a library prints is for the log
                    pass_fds=[theirs.fileno()],
                    # Members of the network are trained one after another on one core: the other is the service's.
                    env=os.environ | {"PYTHONPATH": os.pathsep.join(search_path())} | dict.fromkeys(THREADS, "1"),
                    start_new_session=True,  # Ctrl-C in the terminal is ours to handle
                )
        if self._closed:  # it may have been too late to be killed
            raise ValueError("closed")
        return self._socket

    def _code(self) -> int | None:
        """Exit code of a child that has closed its end, or minus the signal that ended it; None when it lives."""
        assert self._process is not None
        try:
            return self._process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            return None

    def _end_child(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def search_path() -> list[str]:
    """Where we find modules, and so shall the child."""
    return [entry or os.getcwd() for entry in sys.path]
