"""How each heard topic is read by given subscriptions: by the very decoder that the service uses."""

from collections.abc import Sequence
from dataclasses import dataclass

from stepahead.contract.reasons import DropCounter, Reason
from stepahead.contract.settings import SubscriptionSettings
from stepahead.doctor.observation import HeardTopic
from stepahead.wire.decoder import Decoder

__all__ = ["UNDECODED", "Understood", "understand"]

UNDECODED = frozenset({Reason.NOT_DECODABLE, Reason.TOO_DEEP, Reason.TOO_LARGE, Reason.NOT_UTF8})
"""The payload itself cannot be read; for all other reasons it can, and what is in it is no reading."""


@dataclass(frozen=True, slots=True)
class Understood:
    """What the samples of one topic are read as.

    Attributes:
        heard: the topic.
        format: `number`, `json`, `senml`, `line` or `sparkplug`; empty when there is no reading.
        keys: of the series, in order of their first reading.
        readings: how many.
        drops: what could not be taken, by reason.
        ahead_s: seconds by which the newest reading of a live sample was ahead of its arrival, the median sample;
            negative = it came late. None without live samples that carry a time.
    """

    heard: HeardTopic
    format: str
    keys: tuple[str, ...]
    readings: int
    drops: DropCounter
    ahead_s: float | None


def understand(
    heard: HeardTopic, subscriptions: Sequence[SubscriptionSettings], own_prefix: str, max_payload_bytes: int
) -> Understood:
    """Read the samples of one topic.

    Args:
        heard: the topic.
        subscriptions: how payloads are read; the first whose filter matches counts.
        own_prefix: topics below it are never input.
        max_payload_bytes: larger payloads are not looked into.
    """
    keys: dict[str, int] = {}
    drops = DropCounter()
    decoder = Decoder(subscriptions, lambda key: keys.setdefault(key, len(keys)), drops, own_prefix, max_payload_bytes)
    readings = 0
    ahead_s: list[float] = []
    for message in heard.samples:
        times = decoder.decode([message]).readings.time_ns
        readings += len(times)
        if len(times) and not message.retain and (newest := int(times.max())) != message.received_ns:
            ahead_s.append((newest - message.received_ns) / 1e9)
    read_as: str = decoder.format_of(heard.topic) or ""
    if read_as == "plain":  # one reader knows both, payload by payload
        read_as = "json" if heard.samples[0].payload.lstrip()[:1] in (b"{", b"[") else "number"
    middle = sorted(ahead_s)[len(ahead_s) // 2] if ahead_s else None
    return Understood(heard, read_as if readings else "", tuple(keys), readings, drops, middle)
