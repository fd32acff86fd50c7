"""The door between engine and trainer: what a fine-tune came to is let in between two batches only."""

from collections.abc import Callable
from dataclasses import dataclass

from stepahead.learning.material import Material
from stepahead.learning.trainer import Trainer
from stepahead.learning.tuner import TuneResult

__all__ = ["Outcome", "OutcomeDoor"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a fine-tune came to; `result` is None when it failed."""

    result: TuneResult | None


class OutcomeDoor:
    """A `Trainer` in front of another one, whose outcomes the engine sees when the service lets them in.

    Whether a fine-tune is under way decides if the engine begins another. So its end, good or bad, has to have a
    place between two batches that can be written down and repeated; a trainer's own clock has none.

    Args:
        trainer: who does the work.

    Attributes:
        under_way: what the engine waits for; None when that is nothing or no longer known.
        waiting: whether the engine waits for an outcome.

    Example:
        >>> from stepahead.contract.settings import LearningSettings
        >>> from stepahead.learning.trainer import InlineTrainer
        >>> door = OutcomeDoor(InlineTrainer(LearningSettings()))
        >>> door.busy, door.arrived()
        (False, None)
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._inside: TuneResult | None = None
        self._held = False
        self.under_way: Material | None = None
        self.waiting = False
        self.on_result: Callable[[TuneResult], None] = lambda result: None
        """Told of each result just before the engine sees it."""

    @property
    def busy(self) -> bool:
        """Whether the engine waits for an outcome or has not fetched it."""
        return self.waiting or self._inside is not None

    def submit(self, material: Material) -> None:
        """Hand a fine-tune on."""
        self.under_way, self.waiting = material, True
        if not self._held:
            self._trainer.submit(material)

    def poll(self) -> TuneResult | None:
        """The result that was let in, once."""
        result, self._inside = self._inside, None
        if result is not None:
            self.on_result(result)
        return result

    def wait(self) -> TuneResult | None:
        """The result, waited for: in the deterministic setting, where it has its place in the middle of a batch."""
        if self._held and self.under_way is not None:
            self._trainer.submit(self.under_way)
        result = self._trainer.wait()
        self.under_way, self.waiting = None, False
        if result is not None:
            self.on_result(result)
        return result

    def arrived(self) -> Outcome | None:
        """The outcome that has come and was not let in yet; call it between two batches, and `let_in` what it gives."""
        if not self.waiting:
            return None
        if self._trainer.busy:
            result = self._trainer.poll()
            return None if result is None else Outcome(result)
        # Not busy any more: the result came this very moment, or never will.
        return Outcome(self._trainer.poll())

    def let_in(self, outcome: Outcome) -> None:
        """Show an outcome to the engine: it takes it at its next step."""
        self._inside = outcome.result
        self.under_way, self.waiting = None, False

    def hold(self) -> None:
        """Keep fine-tunes back, while history is repeated: their outcomes are known, but for the last one's."""
        self._held = True

    def go_on(self) -> None:
        """Hand the fine-tune on whose outcome history did not tell."""
        self._held = False
        if self.waiting and self.under_way is not None:
            self._trainer.submit(self.under_way)

    def close(self) -> None:
        """End the trainer."""
        self._trainer.close()
