"""Which shard a message belongs to, by its topic alone: nobody has to read its payload."""

from stepahead.cluster.shards import shard_of
from stepahead.contract.errors import SettingsError
from stepahead.contract.settings import Settings, SubscriptionSettings
from stepahead.wire.formats.sparkplug import NAMESPACE
from stepahead.wire.route import Mapping
from stepahead.wire.topics import parse_filter

__all__ = ["ShardRule", "filters_of"]

SHARD_LEVEL = "{shard}"
MOST_TOPICS = 1_000_000
"""Topics whose shard is remembered; beyond, all are worked out anew."""


class ShardRule:
    """Finds the shard of a topic.

    The key of a series is made from its topic and, where a payload holds several, the name of the field. The hash is
    that of the key without the field: so all series of one message are in one shard, and it is handed on whole. Members
    of a declared group are together: their last part is left out. An edge node of Sparkplug B is together with its
    devices, whose messages it numbers.

    Args:
        settings: subscriptions, groups and number of shards.

    Raises:
        SettingsError: keys are made from payloads.

    Example:
        >>> rule = ShardRule(Settings())
        >>> rule.of(b"sensors/pump7") == shard_of("sensors/pump7", 64)
        True
    """

    def __init__(self, settings: Settings) -> None:
        self._shards = settings.cluster.shards
        self._groups = settings.groups
        self._mappings = [Mapping(subscription) for subscription in settings.subscriptions]
        for mapping, subscription in zip(self._mappings, settings.subscriptions, strict=True):
            if mapping.key.needs_payload:
                raise SettingsError(
                    f"subscriptions: key = {subscription.key!r} takes the key of a series from the payload; a cluster "
                    "tells the shard by the topic: use {topic}, {field} and captures of the filter"
                )
        self._known: dict[bytes, int] = {}

    def of(self, topic: bytes) -> int:
        """The shard of a topic, whatever bytes it holds."""
        shard = self._known.get(topic)
        if shard is None:
            if len(self._known) >= MOST_TOPICS:
                self._known.clear()
            shard = self._known[topic] = shard_of(self.stem(topic), self._shards)
        return shard

    def stem(self, topic: bytes) -> str | bytes:
        """What the series of a topic's messages have in common with others of their unit."""
        try:
            text = topic.decode()
        except UnicodeDecodeError:
            return topic
        levels = text.split("/")
        if levels[0] == NAMESPACE and len(levels) >= 4:
            return "/".join((NAMESPACE, levels[1], levels[3]))
        mapping = next((mapping for mapping in self._mappings if mapping.filter.matches(text)), None)
        key = None if mapping is None else mapping.key.fill(text, mapping.filter.captures(text), "", None, None)
        if key is None:
            return text
        for group in self._groups:
            for member in group.members:
                stem = key.removesuffix(member)
                if stem != key and key.startswith(group.prefix) and (not stem or stem.endswith("/")):
                    return stem.rstrip("/")
        return key


def filters_of(settings: Settings, shard: int) -> list[str]:
    """What a shard subscribes to when its readings come by filters of its own, or by shared subscriptions.

    Raises:
        SettingsError: a filter does not say whose it is.

    Example:
        >>> by_level = SubscriptionSettings(filter="plant/{shard}/#")
        >>> filters_of(Settings(subscriptions=(by_level,), cluster={"readings": "filters"}), 7)
        ['plant/7/#']
    """
    if settings.cluster.readings == "shared":
        return [
            f"$share/{settings.broker.client_id}/{parse_filter(each.filter).text}" for each in settings.subscriptions
        ]
    return [own_filter(each, shard) for each in settings.subscriptions if each.shard in (None, shard)]


def own_filter(subscription: SubscriptionSettings, shard: int) -> str:
    """The filter of one subscription for one of the shards that it is for."""
    levels = subscription.filter.split("/")
    if subscription.shard is None and SHARD_LEVEL not in levels:
        raise SettingsError(
            f"subscriptions: filter = {subscription.filter!r} does not say which shard reads it; with cluster.readings "
            "= filters, {shard} stands for a level, or shard = NUMBER beside the filter"
        )
    return parse_filter("/".join(str(shard) if level == SHARD_LEVEL else level for level in levels)).text
