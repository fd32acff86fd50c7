"""The training room: one process that fine-tunes for all shards of an owner, one after another."""

from collections import deque
from collections.abc import Callable

from stepahead.learning.material import Material
from stepahead.learning.trainer import Trainer
from stepahead.learning.tuner import TuneResult

__all__ = ["Seat", "TrainingRoom"]


class TrainingRoom:
    """Queues the fine-tunes of several engines before one trainer: a process for each would not fit into memory.

    Args:
        make_trainer: makes the one that does the work.

    Example:
        >>> from stepahead.contract.settings import LearningSettings
        >>> from stepahead.learning.trainer import InlineTrainer
        >>> room = TrainingRoom(lambda: InlineTrainer(LearningSettings()))
        >>> seat = room.seat()
        >>> seat.busy, seat.poll()
        (False, None)
    """

    def __init__(self, make_trainer: Callable[[], Trainer]) -> None:
        self._trainer = make_trainer()
        self._queue: deque[tuple[Seat, Material]] = deque()
        self._under_way: Seat | None = None

    def seat(self) -> "Seat":
        """A trainer for one engine."""
        return Seat(self)

    def submit(self, seat: "Seat", material: Material) -> None:
        """Queue a fine-tune."""
        self._queue.append((seat, material))
        self.turn()

    def turn(self) -> None:
        """Take the result that has come, and begin the next fine-tune; never waits."""
        if self._under_way is not None:
            result = self._trainer.poll()
            if result is None and self._trainer.busy:
                return
            if result is None:
                result = self._trainer.poll()  # it came between the two questions, or never will
            self._under_way.answer(result)
            self._under_way = None
        if self._queue:
            self._under_way, material = self._queue.popleft()
            self._trainer.submit(material)

    def leave(self, seat: "Seat") -> None:
        """Give up what a seat has asked for."""
        self._queue = deque(entry for entry in self._queue if entry[0] is not seat)

    def close(self) -> None:
        """End the trainer."""
        self._queue.clear()
        self._trainer.close()


class Seat:
    """A `Trainer` that shares the training room's."""

    not_before = 0

    def __init__(self, room: TrainingRoom) -> None:
        self._room = room
        self._waiting = False
        self._result: TuneResult | None = None

    @property
    def busy(self) -> bool:
        """Whether a fine-tune is queued or under way, or its result has not been fetched."""
        self._room.turn()
        return self._waiting or self._result is not None

    def submit(self, material: Material) -> None:
        """Begin a fine-tune, or queue it."""
        self._waiting = True
        self._room.submit(self, material)

    def answer(self, result: TuneResult | None) -> None:
        """Told what came of it; None when it failed."""
        self._waiting, self._result = False, result

    def poll(self) -> TuneResult | None:
        """The result if it is there; never waits."""
        self._room.turn()
        result, self._result = self._result, None
        return result

    def wait(self) -> TuneResult | None:
        """As `poll`: nobody waits in a room that is shared; the deterministic setting tunes in line."""
        return self.poll()

    def close(self) -> None:
        """Leave; the others go on."""
        self._room.leave(self)
