"""Fine-tuning in a process of its own, so that forecasts go out while gradients are computed."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable

from stepahead.contract.settings import LearningSettings
from stepahead.learning.tuner import TuneRequest, TuneResult
from stepahead.service.tuning_message import read_message, request_parts, result_of, write_message

__all__ = ["ProcessTrainer", "trainer_command"]

GRACE_S = 30.0
"""On top of `learning.max_seconds`, which the fine-tune keeps itself: for the start of the process and the way there
and back. What is slower hangs, and is killed."""


def trainer_command() -> list[str]:
    """What starts the process; `-P` keeps a `numpy.py` in the working directory out of its way."""
    return [sys.executable, "-P", "-m", "stepahead.service.trainer_child"]


class ProcessTrainer:
    """A `Trainer` whose work is done by a child process at low priority.

    `submit` and `poll` never wait: a thread feeds the child and waits for its answer. A child that dies or hangs is
    counted in `failures` and its request is given up; the next request starts another. The child ends with us,
    however we end, because it reads from a pipe that closes then.

    Args:
        settings: of the fine-tunes.
        report: told in one sentence about each failure; called from another thread.
        command: starts the child.
        time_limit_s: a fine-tune that takes longer is killed; none = `settings.max_seconds` and 30 s.

    Example:
        >>> trainer = ProcessTrainer(LearningSettings(), print)
        >>> trainer.busy, trainer.poll()
        (False, None)
        >>> trainer.close()
    """

    def __init__(
        self,
        settings: LearningSettings,
        report: Callable[[str], None],
        command: Callable[[], list[str]] = trainer_command,
        time_limit_s: float | None = None,
    ) -> None:
        self._settings = settings
        self._report = report
        self._command = command
        self._time_limit_s = settings.max_seconds + GRACE_S if time_limit_s is None else time_limit_s
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._result: TuneResult | None = None
        self._closed = False
        self.failures = 0

    @property
    def busy(self) -> bool:
        """Whether a request is under way or its result has not been fetched."""
        return self._result is not None or (self._thread is not None and self._thread.is_alive())

    @property
    def pid(self) -> int | None:
        """Process id of the child, if one runs."""
        return None if self._process is None else self._process.pid

    def submit(self, request: TuneRequest) -> None:
        """Begin a fine-tune; returns at once."""
        self._thread = threading.Thread(target=self._work, args=(request,), name="trainer", daemon=True)
        self._thread.start()

    def poll(self) -> TuneResult | None:
        """The result if it is there; never waits."""
        result, self._result = self._result, None
        return result

    def wait(self) -> TuneResult | None:
        """The result, waited for; None when the fine-tune failed or there is none."""
        if self._thread is not None:
            self._thread.join()
        return self.poll()

    def close(self) -> None:
        """Give up what is under way and end the child."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()
        if self._thread is not None:
            self._thread.join()
        self._end_child()

    def _work(self, request: TuneRequest) -> None:
        try:
            process = self._child()
            assert process.stdin is not None
            assert process.stdout is not None
            watchdog = threading.Timer(self._time_limit_s, process.kill)
            watchdog.daemon = True
            watchdog.start()
            try:
                write_message(process.stdin, *request_parts(request, self._settings))
                self._result = result_of(*read_message(process.stdout))
            finally:
                watchdog.cancel()
        except (OSError, EOFError, ValueError) as error:
            code = self._end_child()
            if self._closed:
                return
            self.failures += 1
            ended = "" if code is None else f", its process ended with code {code}"
            reason = str(error) or "no answer"
            self._report(f"fine-tune {request.number} of {request.cohort} failed: {reason}{ended}")

    def _child(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end_child()
            path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # Members of the network are trained one after another on one core: the other is the service's.
                env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
                start_new_session=True,  # Ctrl-C in the terminal is ours to handle
            )
        return self._process

    def _end_child(self) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        process.kill()
        code = process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # bytes that the child did not read before it died
        return code
