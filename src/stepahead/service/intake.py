"""The queue between network and engine: read early, taken in portions."""

from collections import deque
from collections.abc import Callable

from stepahead.service.ports import LoopSession
from stepahead.wire.delivery import Delivery

__all__ = ["Intake"]

BROKER_MESSAGES = 65_535
"""So many unacknowledged messages a broker may send at most (MQTT 3.1.1 §2.3.1)."""
MAX_BYTES = 64 * 2**20
READ_S = 0.001


class Intake:
    """Reads deliveries as they come and hands them out in portions that the engine answers in time.

    Reading must not wait for the engine: the broker's answers to our pings stand behind its messages in the stream,
    and an engine that fine-tunes would seem a dead connection to us. So as much is read as a broker may send without
    an acknowledgement; only then reading pauses.

    What waits here when a connection breaks is answered all the same, for a broker that was killed may have lost it:
    mosquitto writes down what waits for a client that is away, and not what is on its way to one that is there. When
    it is delivered again while it waits, the two are one message, to be acknowledged on the new connection.

    Args:
        session: the broker.
        queue_messages: bound, on top of what a broker may send unasked.
        clock: monotonic seconds.
    """

    def __init__(self, session: LoopSession, queue_messages: int, clock: Callable[[], float]) -> None:
        self._session = session
        self._bound = queue_messages + BROKER_MESSAGES
        self._clock = clock
        self._queue: deque[Delivery] = deque()
        self._bytes = 0
        self._epoch = 0  # number of the newest connection that a QoS 1 message came on
        self._session_kept = True
        self._old: dict[int, Delivery] = {}  # packet identifier -> what waits from earlier connections
        self._renewed: dict[int, int] = {}  # token of such a message -> token of its repetition

    def __len__(self) -> int:
        return len(self._queue)

    def read(self, wait_s: float, enough: int, delay_s: float) -> None:
        """Read what is there; when nothing is, and nothing waits, wait for it.

        Args:
            wait_s: longest wait for a first message, seconds.
            enough: with so many there is no waiting for company.
            delay_s: messages that come in pieces are read together for so long.
        """
        if self._queue:
            wait_s = 0.0
        if not self._read(wait_s) or len(self._queue) >= enough:
            return
        until_s = self._clock() + delay_s
        while self._clock() < until_s and self._read(0.0) and len(self._queue) < enough:
            continue

    def _read(self, wait_s: float) -> bool:
        session = self._session
        # Without a connection, a session reads the broker's welcome only while fewer messages than this wait in it.
        room = self._bound - len(self._queue) if session.connected else self._bound
        if room <= 0 or (self._bytes > MAX_BYTES and session.connected):
            session.flush(READ_S)
            return False
        deliveries = session.receive(wait_s, room)
        taken_in = deliveries
        if deliveries and (self._old or deliveries[-1].token >> 16 != self._epoch):
            taken_in = [message for message in deliveries if not self._repeats(message)]
        self._queue.extend(taken_in)
        self._bytes += sum(len(message.payload) for message in taken_in)
        return bool(deliveries)

    def _repeats(self, message: Delivery) -> bool:
        """Whether a message is one of those that wait from earlier connections, delivered again."""
        if not message.flags & 6:
            return False
        if message.token >> 16 > self._epoch:
            self._epoch = message.token >> 16
            kept = self._queue if self._session_kept else ()
            self._old = {old.token & 0xFFFF: old for old in kept if old.flags & 6}
            self._session_kept = True
        old = self._old.get(message.token & 0xFFFF)
        if old is None or (old.topic, old.payload) != (message.topic, message.payload):
            return False
        del self._old[message.token & 0xFFFF]
        self._renewed[old.token] = message.token
        return True

    def take(self, most: int) -> list[Delivery]:
        """The oldest messages, at most so many."""
        taken = [self._queue.popleft() for _ in range(min(most, len(self._queue)))]
        self._bytes -= sum(len(message.payload) for message in taken)
        if self._old:
            for message in taken:
                self._old.pop(message.token & 0xFFFF, None)
        if self._renewed:
            taken = [message._replace(token=self._renewed.pop(message.token, message.token)) for message in taken]
        return taken

    def connected_anew(self, session_present: bool) -> None:
        """Told of a new connection: a broker that lost our session delivers nothing again."""
        self._session_kept = session_present
