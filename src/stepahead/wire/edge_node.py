"""What is known of one Sparkplug edge node: its births, its place in the sequence, and what waits to be put in order.

The law kept here: a metric that is named by an alias is attributed only when every message since the birth that made
the alias is known to have come. Messages that carry names and types need no birth and are always attributed.

Two things a number from 0 to 255 cannot tell: that a multiple of 256 messages was lost, and that all messages of a
young session and the next birth were lost and what follows has the number that was due. In the first case the aliases
still hold; against the second, the first messages after a birth must not be older than those before them.
"""

from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Mapping
from typing import Any

from stepahead.contract.records import REFUSED
from stepahead.wire.births import Births, Message, Verdict
from stepahead.wire.formats.sparkplug import decode_payload

__all__ = ["EdgeNode"]

MODULUS = 256
AHEAD = 128
"""A message so far ahead, or further, is taken as one from behind: half of the sequence's circle."""
MOST_HELD = 256
MOST_HELD_BYTES = 2**20
YOUNG = 32
"""So many messages after a birth, another session can still have just the number that is due."""
LATE_BIRTH_NS = 5 * 10**9
"""A birth older than the known one that comes within this time was overtaken; later, the clock was set back."""


class EdgeNode:
    """Puts the messages of a node in order and says for each whether births hold for it.

    Args:
        group, name: who it is.
        strict: after a lost message nothing is attributed by alias until the next birth; otherwise it goes on.
        reorder_ns: how long a message that others have overtaken is waited for.

    Attributes:
        born: whether the births that are known hold.
        gaps: how often a message was lost.
        ask: whether a rebirth is wanted; the owner clears it.
        changed: devices whose births changed since the owner last looked; "" is the node itself.
        moved: whether anything else changed since then that a restart must know.
        stale: slots of the metrics of what died since then.
    """

    def __init__(self, group: str, name: str, strict: bool, reorder_ns: int) -> None:
        self.group, self.name = group, name
        self._strict, self._reorder_ns = strict, reorder_ns
        self.born = False
        self.dead = False
        self.resumed = False
        self.gaps = 0
        self.ask = False
        self.asked_ns = 0
        self.changed: set[str] = set()
        self.moved = False
        self.stale: list[int] = []
        self.devices: dict[str, Births] = {}
        self._seq = 0
        self._epoch = 0
        self._bd_seq: int | None = None
        self._death: tuple[int, int] | None = None  # `bdSeq` of the newest, and when it came
        self._birth_ms = 0
        self._floor_ms = 0  # no message that is next may be older
        self._age = 0
        self._birth_crc = -1
        self._birth_received_ns = 0
        self._old_births: deque[int] = deque(maxlen=16)
        self._passed: dict[int, tuple[int, int]] = {}
        self._fresh: set[int] = set()  # passed since a journal was told
        self._held: list[Message] = []
        self._held_bytes = 0
        self._held_since_ns = 0

    def advance(self, seq: int, stamp_ms: int, crc: int, qos: int) -> bool:
        """Take the next message of data in the plain case; False, and nothing done, when the case is another."""
        if (
            seq != (self._seq + 1) % MODULUS
            or not self.born
            or stamp_ms < self._floor_ms
            or self._held
            or (self.resumed and (self._strict and not qos))
        ):
            return False
        self._seq = seq
        self._passed[seq] = (crc, self._epoch)
        if self._age < YOUNG:
            self._grow(stamp_ms)
        if qos:
            self.resumed, self.moved = False, True
            self._fresh.add(seq)
        return True

    def take(self, message: Message) -> list[Verdict]:
        """Take a message of a verb NBIRTH, NDATA, NDEATH, DBIRTH, DDATA or DDEATH.

        Returns:
            The messages whose turn it is, in order: none while an overtaken one is waited for. An empty payload
            sequence is the caller's to refuse: all but NDEATH must have a `seq` from 0 to 255.
        """
        if message.verb == "NBIRTH":
            return self._node_birth(message)
        if message.verb == "NDEATH":
            return self._node_death(message)
        out = self.expire(message.received_ns)
        if self.resumed and self.born and self._strict and not message.qos:
            self.born, self.moved = False, True  # what came while nobody listened is not known
        stamp = message.payload.timestamp
        if self.born and stamp and stamp < self._birth_ms:
            self.ask = True  # of an earlier session, or the clock was set back and a birth mends it
            return [*out, Verdict(message, False, None)]
        if not self.born:
            if not self._strict and self.devices and not self.dead:
                return [*out, *self._accept(message), *self._drain()]
            self.ask = True
            return out + self._hold(message)
        seq = message.payload.seq
        if seq == (self._seq + 1) % MODULUS:
            if self._belies(message):
                self._lose()
                return out + self._hold(message)
            self.resumed = False
            return [*out, *self._accept(message), *self._drain()]
        known = self._passed.get(seq)
        if known is not None and known[0] == message.crc:
            return [*out, self._verdict(message, known[1] == self._epoch)]
        if (seq - self._seq) % MODULUS >= AHEAD:
            self._lose()  # from behind, and never seen: another session speaks
        return out + self._hold(message)

    def expire(self, now_ns: int) -> list[Verdict]:
        """Give up waiting when it is time; what was held, if so."""
        if not self._held or now_ns - self._held_since_ns < self._reorder_ns:
            return []
        return self._give_up()

    @property
    def waits(self) -> bool:
        """Whether messages are held."""
        return bool(self._held)

    def doubt(self) -> None:
        """Told that messages may have been missed: a connection began anew, or a run did."""
        self.resumed = True

    def forget_slots(self) -> None:
        """Forget the slots of all metrics."""
        for births in self.devices.values():
            for known in births.names.values():
                known.slot = REFUSED

    def _node_birth(self, message: Message) -> list[Verdict]:
        stamp = message.payload.timestamp
        overtaken = stamp < self._birth_ms and message.received_ns - self._birth_received_ns < LATE_BIRTH_NS
        if self._death is not None and message.received_ns - self._death[1] < LATE_BIRTH_NS:
            overtaken = overtaken or _bd_seq(message.payload) == self._death[0]  # its own death came first
        if message.crc == self._birth_crc or message.crc in self._old_births or overtaken:
            return [Verdict(message, False, None)]
        if self._birth_crc >= 0:
            self._old_births.append(self._birth_crc)
        self._birth_ms, self._birth_crc, self._birth_received_ns = stamp, message.crc, message.received_ns
        self._bd_seq = _bd_seq(message.payload)
        self._seq = message.payload.seq
        self._floor_ms, self._age = stamp, 0
        self._epoch += 1
        self._passed, self._fresh = {}, set()
        self.born, self.dead, self.resumed, self.ask = True, False, False, False
        self.devices = {"": Births.of(message.payload)}
        self.changed.add("")
        waiting, self._held, self._held_bytes = self._held, [], 0
        out = [self._verdict(message, True)]
        for held in waiting:  # some may be of this session, and have overtaken their birth
            out += self.take(held)
        return out

    def _node_death(self, message: Message) -> list[Verdict]:
        bd_seq = _bd_seq(message.payload)
        if bd_seq is not None:
            self._death, self.moved = (bd_seq, message.received_ns), True
        if bd_seq is not None and self._bd_seq is not None and bd_seq != self._bd_seq:
            return []  # the will of an earlier session
        self.born, self.dead, self.moved = False, True, True
        for births in self.devices.values():
            self._bury(births)
        out = self._give_up()
        self.ask = False  # it is gone: there is nobody to ask
        return out

    def _accept(self, message: Message) -> list[Verdict]:
        self._seq = message.payload.seq
        if message.verb == "DBIRTH":
            births = Births.of(message.payload)
            before = self.devices.get(message.device)
            if before is not None and before.as_rows() != births.as_rows():
                self._epoch += 1  # what came before spoke of other aliases
            self.devices[message.device] = births
            self.changed.add(message.device)
        elif message.verb == "DDEATH":
            self._bury(self.devices.pop(message.device, Births()))
            self._epoch += 1
            self.moved = True
        self._passed[self._seq] = (message.crc, self._epoch)
        if self._age < YOUNG:
            self._grow(message.payload.timestamp)
        if message.qos:
            self.moved = True
            self._fresh.add(self._seq)
        return [self._verdict(message, True)]

    def _grow(self, stamp_ms: int) -> None:
        self._age += 1
        self._floor_ms = max(self._floor_ms, stamp_ms) if self._age < YOUNG else self._birth_ms

    def _belies(self, message: Message) -> bool:
        """Whether the time of a message that seems to be next says that it is of another session than the others."""
        stamp = message.payload.timestamp
        if not stamp:
            return False
        followers = (
            held.payload.timestamp
            for held in self._held
            if 0 < (held.payload.seq - message.payload.seq) % MODULUS < AHEAD
        )
        return stamp < self._floor_ms or any(0 < follower < stamp for follower in followers)

    def _verdict(self, message: Message, sound: bool) -> Verdict:
        return Verdict(message, sound, self.devices.get(message.device) if sound else None)

    def _bury(self, births: Births) -> None:
        self.stale += [known.slot for known in births.names.values() if known.slot >= 0]

    def _hold(self, message: Message) -> list[Verdict]:
        if not self._held:
            self._held_since_ns = message.received_ns
        self._held.append(message)
        self._held_bytes += len(message.raw)
        self.moved = True
        if len(self._held) > MOST_HELD or self._held_bytes > MOST_HELD_BYTES or not self._reorder_ns:
            return self._give_up()
        return []

    def _drain(self) -> list[Verdict]:
        """Those of the held whose turn has come."""
        out: list[Verdict] = []
        progress = bool(self._held)
        while progress:
            progress = False
            for held in self._held:
                known = self._passed.get(held.payload.seq)
                repeated = known is not None and known[0] == held.crc
                if not repeated and held.payload.seq == (self._seq + 1) % MODULUS and self._belies(held):
                    self._lose()
                    return out
                if repeated or held.payload.seq == (self._seq + 1) % MODULUS:
                    self._held.remove(held)
                    self.moved = True
                    self._held_bytes -= len(held.raw)
                    sound = known is not None and known[1] == self._epoch
                    out += [self._verdict(held, sound)] if repeated else self._accept(held)
                    progress = True
                    break
        if self._held and out:
            self._held_since_ns = min(held.received_ns for held in self._held)
        return out

    def _give_up(self) -> list[Verdict]:
        """Wait no longer for what is missing."""
        waiting, self._held, self._held_bytes = self._held, [], 0
        if not waiting:
            return []
        self.moved = True
        if self.born:
            self._lose()
        if self._strict or self.dead:
            return [Verdict(held, False, None) for held in waiting]
        out: list[Verdict] = []
        for held in sorted(waiting, key=lambda held: (held.payload.seq - self._seq) % MODULUS):
            out += self._accept(held)
        return out

    def _lose(self) -> None:
        """A message is lost, and with it, for all we know, a birth."""
        self.gaps += 1
        self.ask = True
        if self._strict:
            self.born, self.moved = False, True

    def state_dict(self, devices: set[str] | None = None) -> dict[str, Any]:
        """All that is known, as plain values; with `devices`, of the births theirs and of the sequence what is new."""
        chosen = self.devices if devices is None else {name: self.devices[name] for name in devices & set(self.devices)}
        passed = self._passed if devices is None else {seq: self._passed[seq] for seq in self._fresh}
        if devices is not None:
            self._fresh = set()
        return {
            "group": self.group,
            "node": self.name,
            "born": self.born,
            "dead": self.dead,
            "seq": self._seq,
            "epoch": self._epoch,
            "bd_seq": -1 if self._bd_seq is None else self._bd_seq,
            "birth": [self._birth_ms, self._birth_crc, self._birth_received_ns, *self._old_births],
            "death": list(self._death or ()),
            "young": [self._floor_ms, self._age],
            "passed": [[seq, crc, epoch] for seq, (crc, epoch) in passed.items()],
            "held": [
                [held.verb, held.device, held.topic.decode("latin-1"), b64encode(held.raw).decode(), held.crc, held.qos,
                 held.received_ns]
                for held in self._held
            ],
            "known": sorted(self.devices),
            "births": {name: births.as_rows() for name, births in chosen.items()},
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; births that it does not tell, and the sequence behind them, stay."""
        if state["birth"][1] != self._birth_crc:
            self._passed = {}
        self.born, self.dead = bool(state["born"]), bool(state["dead"])
        self._seq, self._epoch = int(state["seq"]), int(state["epoch"])
        self._bd_seq = None if state["bd_seq"] < 0 else int(state["bd_seq"])
        self._birth_ms, self._birth_crc, self._birth_received_ns, *old = map(int, state["birth"])
        self._old_births = deque(old, maxlen=16)
        self._floor_ms, self._age = map(int, state["young"])
        self._death = (int(state["death"][0]), int(state["death"][1])) if state["death"] else None
        self._passed |= {int(seq): (int(crc), int(epoch)) for seq, crc, epoch in state["passed"]}
        self._held = [
            Message(verb, device, topic.encode("latin-1"), decode_payload(b64decode(raw)), b64decode(raw), crc, qos, at)
            for verb, device, topic, raw, crc, qos, at in state["held"]
        ]
        self._held_bytes = sum(len(held.raw) for held in self._held)
        self._held_since_ns = min((held.received_ns for held in self._held), default=0)
        told = {name: Births.from_rows(rows) for name, rows in state["births"].items()}
        everything = self.devices | told
        self.devices = {name: everything[name] for name in state["known"]}
        self.resumed = True


def _bd_seq(payload: Any) -> int | None:
    for metric in payload.metrics:
        if metric.name == "bdSeq" and metric.WhichOneof("value") in ("int_value", "long_value"):
            return int(metric.long_value or metric.int_value)
    return None
