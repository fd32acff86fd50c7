"""Listens to a service's forecasts and status, and keeps the score."""

import threading
import time
from types import TracebackType

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from simulators.publisher import connect
from stepahead.telemetry.scoreboard import Scoreboard

__all__ = ["ScoreSubscriber"]


class ScoreSubscriber:
    """Feeds a scoreboard from MQTT while the `with` block lasts.

    Args:
        url: `mqtt://[user:password@]host[:port]` or `mqtts://…`.
        prefix: what the service's topics start with.

    Attributes:
        board: the scores; read it while holding `lock`.
        lock: held while a message is taken.
        online: set when the service's status said that it is online.
        undecodable: messages that were no JSON object.
    """

    def __init__(self, url: str, prefix: str = "stepahead/v1") -> None:
        self.board = Scoreboard()
        self.lock = threading.Lock()
        self.online = threading.Event()
        self.undecodable = 0
        self._url = url
        self._status_topic = f"{prefix}/status"
        self._forecast_filter = f"{prefix}/forecast/#"
        self._decoder = msgspec.json.Decoder(dict[str, object])
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
        self._client.on_message = self._on_message

    def _on_message(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        try:
            content = self._decoder.decode(message.payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.undecodable += 1
            return
        with self.lock:
            if message.topic == self._status_topic:
                self.board.take_status(content)
                if content.get("status") == "online":
                    self.online.set()
            else:
                self.board.forecast(content, time.monotonic())

    def __enter__(self) -> "ScoreSubscriber":
        # Subscribed at each connection, for a broker that restarted has forgotten us.
        connect(
            self._client,
            self._url,
            lambda: void(self._client.subscribe([(self._status_topic, 1), (self._forecast_filter, 0)])),
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def void(result: object) -> None:
    """Drop a result where a function without one is asked for."""
