"""Listening to a broker for some seconds, in bounded memory."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from stepahead.doctor.observation import HeardTopic, Observation
from stepahead.wire.delivery import Delivery

__all__ = ["ListeningSession", "listen"]

MOST_TOPICS = 20_000
LIVE_SAMPLES, RETAINED_SAMPLES = 5, 1
MOST_SAMPLE_BYTES = 64 * 2**20


class ListeningSession(Protocol):
    """What listening asks of an MQTT session."""

    def receive(self, timeout_s: float, max_messages: int) -> list[Delivery]:
        """Wait for messages."""

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge messages."""


def listen(
    session: ListeningSession,
    observation: Observation,
    early: Sequence[Delivery] = (),
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Note in the observation what comes within its seconds.

    Args:
        session: connected and subscribed.
        observation: its `heard` is filled.
        early: messages that came before, not acknowledged.
        clock: monotonic seconds.
    """
    own = observation.settings.publish.prefix.encode() + b"/"
    topics: dict[bytes, HeardTopic] = {}
    room = MOST_SAMPLE_BYTES
    deadline = clock() + observation.seconds
    deliveries = list(early)
    while True:
        session.acknowledge(deliveries)
        for message in deliveries:
            if message.topic.startswith(own):
                observation.own_output += 1
                continue
            heard = topics.get(message.topic)
            if heard is None:
                if len(topics) >= MOST_TOPICS:
                    observation.unheard_topics += 1
                    continue
                heard = topics[message.topic] = HeardTopic(message.topic)
            heard.retained += message.retain
            heard.live += not message.retain
            heard.at_most_once += not message.retain and message.qos == 0
            wanted = heard.retained <= RETAINED_SAMPLES if message.retain else heard.live <= LIVE_SAMPLES
            if wanted and len(message.payload) <= room:
                room -= len(message.payload)
                heard.samples.append(message)
        left = deadline - clock()
        if left <= 0:
            break
        deliveries = session.receive(min(left, 0.5), 1000)
    observation.heard = list(topics.values())
