"""The door between engine and trainer: what a fine-tune came to is let in at a place that can be written down."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from stepahead.learning.material import Material
from stepahead.learning.trainer import Trainer
from stepahead.learning.tuner import TuneResult
from stepahead.service.parcel import Parts
from stepahead.service.tuning_message import result_of, result_parts

__all__ = ["Outcome", "OutcomeDoor", "outcome_of", "outcome_parts"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a fine-tune came to, and from which reading on that counts.

    Attributes:
        result: None when it failed.
        at: the engine sees it when it has taken so many readings, or more.
    """

    result: TuneResult | None
    at: int = 0


class OutcomeDoor:
    """A `Trainer` in front of another one, whose outcomes the engine sees when the service lets them in.

    Whether a fine-tune is under way decides if the engine begins another. So its end, good or bad, has to have a
    place in the stream that can be written down and repeated; a trainer's own clock has none. The place may lie some
    readings ahead, so that what is written down is on the disk by then.

    Args:
        trainer: who does the work.

    Attributes:
        under_way: what the engine waits for; None when that is nothing or no longer known.
        waiting: whether the engine waits for an outcome.
        coming: the outcome that was let in and whose place the engine has not reached; None when there is none.

    Example:
        >>> from stepahead.contract.settings import LearningSettings
        >>> from stepahead.learning.trainer import InlineTrainer
        >>> door = OutcomeDoor(InlineTrainer(LearningSettings()))
        >>> door.busy, door.arrived()
        (False, None)
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._held = False
        self.under_way: Material | None = None
        self.waiting = False
        self.coming: Outcome | None = None
        self.on_result: Callable[[TuneResult], None] = lambda result: None
        """Told of each result just before the engine sees it."""

    @property
    def busy(self) -> bool:
        """Whether the engine waits for an outcome or has not fetched it."""
        return self.waiting or self.coming is not None

    @property
    def not_before(self) -> int:
        """See `Outcome.at`."""
        return 0 if self.coming is None else self.coming.at

    def submit(self, material: Material) -> None:
        """Hand a fine-tune on."""
        self.under_way, self.waiting = material, True
        if not self._held:
            self._trainer.submit(material)

    def poll(self) -> TuneResult | None:
        """The result that was let in, once."""
        result = None if self.coming is None else self.coming.result
        self.coming = None
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
        """Show an outcome to the engine: it takes it at its place, or at its next step when it is past that."""
        self.coming = outcome
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


def outcome_parts(outcome: Outcome) -> Parts:
    """Head and arrays of an outcome, to be stored."""
    if outcome.result is None:
        return {"failed": True, "at": outcome.at}, {}
    head, arrays = result_parts(outcome.result)
    return {"failed": False, "at": outcome.at, **head}, arrays


def outcome_of(head: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Outcome:
    """What was stored; earlier releases named no place."""
    return Outcome(None if head["failed"] else result_of(head, arrays), head.get("at", 0))
