"""What edge nodes of Sparkplug B send: messages, and the births that give aliases their meaning."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from stepahead.contract.records import REFUSED

__all__ = ["BirthMetric", "Births", "Message", "Verdict"]


class Message(NamedTuple):
    """One message of a node or its device.

    Attributes:
        verb, device: of its topic.
        topic: raw.
        payload: as decoded; `raw` are its bytes.
        crc: CRC-32 of the bytes.
        qos: 0, 1 or 2.
        received_ns: UTC nanoseconds.
    """

    verb: str
    device: str
    topic: bytes
    payload: Any
    raw: bytes
    crc: int
    qos: int
    received_ns: int


class Verdict(NamedTuple):
    """A message whose turn it is.

    Attributes:
        message: the message.
        sound: whether aliases and types of births hold for it.
        births: those of its node or device as they were at its place in the sequence; None when there are none.
    """

    message: Message
    sound: bool
    births: "Births | None"


@dataclass(slots=True)
class BirthMetric:
    """What a birth says of a metric, and the slot of its series once that is known."""

    name: str
    datatype: int
    slot: int = REFUSED


@dataclass(slots=True)
class Births:
    """The metrics of a node or a device, by name and by alias."""

    names: dict[str, BirthMetric] = field(default_factory=dict)
    aliases: dict[int, BirthMetric] = field(default_factory=dict)

    @classmethod
    def of(cls, payload: Any) -> "Births":
        """Those of a birth."""
        births = cls()
        for metric in payload.metrics:
            if isinstance(metric.name, str) and metric.name:
                known = births.names[metric.name] = BirthMetric(metric.name, metric.datatype)
                if metric.HasField("alias"):
                    # An alias given twice names nothing.
                    births.aliases[metric.alias] = known if metric.alias not in births.aliases else NOTHING
        births.aliases = {alias: known for alias, known in births.aliases.items() if known is not NOTHING}
        return births

    def as_rows(self) -> list[list[Any]]:
        """Name, datatype and aliases of each metric."""
        aliases: dict[str, list[int]] = {}
        for alias, known in self.aliases.items():
            aliases.setdefault(known.name, []).append(alias)
        return [[known.name, known.datatype, aliases.get(known.name, [])] for known in self.names.values()]

    @classmethod
    def from_rows(cls, rows: list[list[Any]]) -> "Births":
        """Undo `as_rows`."""
        births = cls()
        for name, datatype, aliases in rows:
            known = births.names[name] = BirthMetric(name, datatype)
            births.aliases.update((alias, known) for alias in aliases)
        return births


NOTHING = BirthMetric("", 0)
