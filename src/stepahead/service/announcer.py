"""Tells Home Assistant of each series when its first forecast comes."""

from collections.abc import Callable

import numpy as np

from stepahead.contract.records import Forecasts
from stepahead.wire.output.homeassistant import discovery_message
from stepahead.wire.stock_client import Row

__all__ = ["Announcer"]


class Announcer:
    """Makes discovery messages, one per series and run: Home Assistant keeps nothing that the broker forgot.

    Args:
        prefix: Home Assistant's discovery prefix.
        status_topic: where our status stands.
        expire_after_s: see `discovery_message`.
        version: of this program.
        key_of: slot -> series key.
        topic_of: series key -> topic of its forecasts.
        unit_of: slot -> unit, if it is known when the first forecast comes.
    """

    def __init__(
        self,
        prefix: str,
        status_topic: str,
        expire_after_s: int,
        version: str,
        key_of: Callable[[int], str],
        topic_of: Callable[[str], str],
        unit_of: Callable[[int], str | None] = lambda slot: None,
    ) -> None:
        self._prefix = prefix
        self._status_topic = status_topic
        self._expire_after_s = expire_after_s
        self._version = version
        self._key_of = key_of
        self._topic_of = topic_of
        self._unit_of = unit_of
        self._known = np.zeros(64, np.bool_)

    def new(self, forecasts: Forecasts) -> list[Row]:
        """Topics and payloads, to be retained, for series that had no forecast in this run."""
        if not len(forecasts):
            return []
        most = int(forecasts.series.max()) + 1
        if most > len(self._known):
            self._known = np.concatenate((self._known, np.zeros(max(most, len(self._known)), np.bool_)))
        known = self._known[forecasts.series]
        if known.all():
            return []
        slots = np.unique(forecasts.series[~known])
        self._known[slots] = True
        return [self._message(slot) for slot in slots.tolist()]

    def _message(self, slot: int) -> Row:
        key, unit = self._key_of(slot), self._unit_of(slot)
        topic, payload = discovery_message(
            key, self._topic_of(key), self._status_topic, self._prefix, self._expire_after_s, self._version, unit
        )
        return topic.encode(), payload
