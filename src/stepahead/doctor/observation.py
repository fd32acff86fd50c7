"""What was heard and found out at a broker: the one thing that all checks look at."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stepahead.contract.settings import Settings
from stepahead.wire.delivery import Delivery

__all__ = ["HeardTopic", "Observation", "Probes"]

SHOWN_BYTES = 60


@dataclass(slots=True)
class HeardTopic:
    """One topic, as it was heard.

    Attributes:
        topic: raw bytes.
        live: messages that came while we listened.
        retained: messages that the broker had kept from before.
        at_most_once: live messages that came at QoS 0.
        samples: some of the messages, live ones first to be kept, in order of arrival.
    """

    topic: bytes
    live: int = 0
    retained: int = 0
    at_most_once: int = 0
    samples: list[Delivery] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The topic as text; what is not UTF-8 is shown by its code."""
        return self.topic.decode("utf-8", "backslashreplace")

    @property
    def shown(self) -> str:
        """One payload, shortened, on one line."""
        payload = self.samples[-1].payload if self.samples else b""
        text = payload[:SHOWN_BYTES].decode("utf-8", "backslashreplace")
        text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
        return text + ("…" if len(payload) > SHOWN_BYTES else "")


@dataclass(slots=True)
class Probes:
    """What experiments showed; None or empty = was not measured.

    Attributes:
        connect_s: how long the network takes to open a connection: about one round trip.
        round_trips_s: seconds from publishing a message to having it back, QoS 1 both ways.
        bursts_s: the same for four messages published at once, until all are back.
        echoed: whether what we publish below `publish.prefix` comes back to us.
        refused: in which words the broker refused what we published (MQTT 5 only).
        session_kept: whether the broker knew our session when we came back.
        sent_while_away: messages that were published for us while we were away.
        kept_while_away: how many of them came when we were back.
        in_flight: how many came before we acknowledged any.
        limits: numbers of the broker's CONNACK by name (MQTT 5 only).
        certificate_days: days until the broker's certificate expires.
    """

    connect_s: float | None = None
    round_trips_s: list[float] = field(default_factory=list)
    bursts_s: list[float] = field(default_factory=list)
    echoed: bool | None = None
    refused: str | None = None
    session_kept: bool | None = None
    sent_while_away: int | None = None
    kept_while_away: int | None = None
    in_flight: int | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    certificate_days: float | None = None


@dataclass(slots=True)
class Observation:
    """Everything that the checks look at.

    Attributes:
        settings: in effect.
        filters: what was listened to.
        chosen: whether the user named these filters; if not, everything was listened to.
        seconds: how long.
        heard: topics that are not our own output, in order of their first message.
        own_output: messages below `publish.prefix`.
        unheard_topics: messages of topics beyond the most that are kept apart.
        granted: QoS granted to each filter; 128 and above = refused.
        listening_refused: in which words the broker refused to let us listen.
        probes: results of the experiments.
    """

    settings: Settings
    filters: tuple[str, ...]
    chosen: bool
    seconds: float
    heard: list[HeardTopic] = field(default_factory=list)
    own_output: int = 0
    unheard_topics: int = 0
    granted: tuple[int, ...] = ()
    listening_refused: str | None = None
    probes: Probes = field(default_factory=Probes)
