"""`stepahead run`, doomed: it kills itself with signal 9 when a chosen moment of its work comes for the nth time.

It notes the moment just before. Everything else is the program as it is: the moments are found where the disk and the
trainer are handed to it.
"""

import multiprocessing
import os
import signal
import sys
import threading
from pathlib import Path

from stepahead.contract.settings import LearningSettings
from stepahead.learning.material import Material
from stepahead.learning.trainer import InlineTrainer, Trainer
from stepahead.learning.tuner import TuneResult
from stepahead.service.configuration import load_settings, merge, parse_assignment
from stepahead.service.program import run
from stepahead.storage.filesystem import Bytes, OsFilesystem, WritableFile

MOMENTS = (
    "in a journal write",
    "before its fsync",
    "after its fsync",
    "in a snapshot write",
    "before a rename",
    "after a rename",
    "in removing old state",
    "in a fine-tune",
    "before an adoption",
    "after an adoption",
)
ANY = "any"


class Fate:
    """Counts how often the moment has come, and strikes at the chosen time."""

    def __init__(self, moment: str, nth: int, notes: Path) -> None:
        self.moment, self.left, self.notes = moment, nth, notes
        self.adopting = False

    def comes(self, moment: str) -> bool:
        """Whether to die at this one."""
        if moment != self.moment:
            return False
        self.left -= 1
        return self.left <= 0

    def strike(self) -> None:
        with self.notes.open("a") as notes:
            notes.write(self.moment + "\n")
        os.kill(os.getpid(), signal.SIGKILL)

    def strike_at(self, moment: str) -> None:
        if self.comes(moment):
            self.strike()


class DoomedFile:
    def __init__(self, file: WritableFile, path: Path, fate: Fate) -> None:
        self.file, self.fate = file, fate
        self.journal = path.name.startswith("journal-")

    def write(self, data: Bytes) -> None:
        moment = "in a journal write" if self.journal else "in a snapshot write"
        if self.fate.comes(moment):
            self.file.write(memoryview(data)[: len(data) // 2])
            self.fate.strike()
        self.file.write(data)

    def sync(self) -> None:
        if self.journal:
            self.fate.strike_at("before its fsync")
        self.file.sync()
        if self.journal:
            self.fate.strike_at("after its fsync")
            if self.fate.adopting:  # the outcome is in the journal, and the engine has taken it
                self.fate.strike_at("after an adoption")

    def truncate(self, size: int) -> None:
        self.file.truncate(size)

    def close(self) -> None:
        self.file.close()


class DoomedFilesystem(OsFilesystem):
    def __init__(self, fate: Fate) -> None:
        self.fate = fate

    def create(self, path: Path) -> WritableFile:
        return DoomedFile(super().create(path), path, self.fate)

    def append(self, path: Path) -> WritableFile:
        return DoomedFile(super().append(path), path, self.fate)

    def rename(self, source: Path, target: Path) -> None:
        self.fate.strike_at("before a rename")
        super().rename(source, target)
        self.fate.strike_at("after a rename")

    def remove(self, path: Path) -> None:
        self.fate.strike_at("in removing old state")
        super().remove(path)


class DoomedTrainer:
    """A trainer beside which fate stands."""

    not_before = 0

    def __init__(self, trainer: Trainer, fate: Fate, delay_s: float) -> None:
        self.trainer, self.fate, self.delay_s = trainer, fate, delay_s

    @property
    def busy(self) -> bool:
        return self.trainer.busy

    def submit(self, material: Material) -> None:
        if self.fate.comes("in a fine-tune"):
            threading.Timer(self.delay_s, self.fate.strike).start()
        self.trainer.submit(material)

    def poll(self) -> TuneResult | None:
        return self._seen(self.trainer.poll())

    def wait(self) -> TuneResult | None:
        return self._seen(self.trainer.wait())

    def _seen(self, result: TuneResult | None) -> TuneResult | None:
        if result is not None:
            self.fate.strike_at("before an adoption")
            self.fate.adopting = True
        return result

    def close(self) -> None:
        self.trainer.close()


class ThreadTrainer(InlineTrainer):
    """Fine-tunes beside the stream, in a thread: a process of its own takes seconds to begin, in every life."""

    def __init__(self, settings: LearningSettings) -> None:
        super().__init__(settings)
        self.thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        return super().busy or (self.thread is not None and self.thread.is_alive())

    def submit(self, material: Material) -> None:
        self.thread = threading.Thread(target=super().submit, args=(material,), daemon=True)
        self.thread.start()


def live_out(doom: tuple[str, ...], log: Path, folder: Path, assignments: tuple[str, ...]) -> None:
    """One life, in a process that was forked for it.

    Args:
        doom: MOMENT, NTH, the file for notes, and `process` for fine-tunes in a process of their own as in `run`.
        log: takes stdout and stderr.
        folder: working directory.
        assignments: settings, as for `--set`.
    """
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.chdir(folder)
    moment, nth, notes, trainer = doom
    fate = Fate(moment, int(nth), Path(notes))
    flags: dict[str, object] = {}
    for text in assignments:
        merge(flags, parse_assignment(text))
    settings = load_settings(None, flags, {})
    # In line a small fine-tune takes some ten milliseconds, in a process of its own some tenths of a second.
    delay_s = 0.1 if trainer == "process" else 0.01

    def around(real: Trainer) -> Trainer:
        beside = settings.engine.deterministic or trainer == "process"
        return DoomedTrainer(real if beside else ThreadTrainer(settings.learning), fate, delay_s)

    sys.exit(run(settings, DoomedFilesystem(fate), around))


class Life:
    """A process of the doomed program, with what the tests need of `subprocess.Popen`."""

    def __init__(self, doom: tuple[str, ...], log: Path, folder: Path, assignments: tuple[str, ...]) -> None:
        # Forked from a process that has everything ready: a life begins in a tenth of a second instead of three.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.crash.warmed"])
        self.process = context.Process(target=live_out, args=(doom, log, folder, assignments))
        self.process.start()

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, seconds: float) -> int:
        self.process.join(seconds)
        code = self.process.exitcode
        assert code is not None, f"still running after {seconds} s"
        return code

    def send_signal(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.process.kill()
