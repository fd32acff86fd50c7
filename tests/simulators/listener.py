"""A subscriber that keeps what arrives."""

import threading
import time

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from simulators.publisher import connect


class Listener:
    """Keeps what arrives below a topic."""

    def __init__(self, url: str, topic_filter: str) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self._changed = threading.Condition()
        subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda *_: subscribed.set()
        connect(self._client, url)
        self._client.subscribe(topic_filter, qos=1)
        assert subscribed.wait(60)

    def _on_message(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        with self._changed:
            self.messages.append((message.topic, message.payload))
            self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        """Wait for so many messages, then a moment longer for any too many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.messages) >= count, timeout=120)
        time.sleep(0.3)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
