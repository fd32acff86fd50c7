"""Who carries out fine-tunes: a promise that the engine is handed, and the simplest one that keeps it."""

import time
from collections.abc import Callable
from typing import Protocol

import torch

from stepahead.contract.settings import LearningSettings
from stepahead.learning.material import Material
from stepahead.learning.tuner import TuneResult, tune
from stepahead.network.device import CPU

__all__ = ["InlineTrainer", "Trainer"]


class Trainer(Protocol):
    """Takes the material of one fine-tune at a time and gives its result back, sooner or later."""

    @property
    def busy(self) -> bool:
        """Whether a fine-tune is under way or its result has not been fetched."""

    @property
    def not_before(self) -> int:
        """The engine's position from which on the next result is for it; 0: as soon as there is one."""

    def submit(self, material: Material) -> None:
        """Start a fine-tune. Only when not busy."""

    def poll(self) -> TuneResult | None:
        """The result if it is there; never waits."""

    def wait(self) -> TuneResult | None:
        """The result, waited for; None when the fine-tune failed or there is none."""

    def close(self) -> None:
        """Give up what is under way and free everything."""


class InlineTrainer:
    """Tunes where it is called, on the caller's time: for evaluation, tests and library users.

    Args:
        settings: of the fine-tunes.
        threads: members tuned at the same time.
        clock: seconds, for the time limit of a fine-tune; one that stands still lifts it, so that the result depends
            on the request alone.
        device: where.
    """

    not_before = 0

    def __init__(
        self,
        settings: LearningSettings,
        threads: int = 1,
        clock: Callable[[], float] = time.monotonic,
        device: torch.device = CPU,
    ) -> None:
        self._settings = settings
        self._threads = threads
        self._clock = clock
        self._device = device
        self._result: TuneResult | None = None

    @property
    def busy(self) -> bool:
        """Whether a result waits to be fetched."""
        return self._result is not None

    def submit(self, material: Material) -> None:
        """Carry the fine-tune out at once."""
        self._result = tune(material.request(), self._settings, self._threads, self._clock, self._device)

    def poll(self) -> TuneResult | None:
        """The result of the last request, once."""
        result, self._result = self._result, None
        return result

    def wait(self) -> TuneResult | None:
        """As `poll`: the work is done at `submit`."""
        return self.poll()

    def close(self) -> None:
        """Nothing to free."""
