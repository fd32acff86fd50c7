"""Publishes at full speed without losing anything: a bounded window of messages in flight, and a wait at the end."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from stepahead.contract.errors import BrokerError, UsageError

__all__ = ["Publisher", "connect"]


def connect(
    client: mqtt.Client, url: str, connected: Callable[[], None] | None = None, timeout_s: float = 60.0
) -> None:
    """Connect a client to `mqtt://[user:password@]host[:port]` (or `mqtts://`, TLS) and start its network thread.

    Args:
        client: not yet connected.
        url: where to.
        connected: called now and at each reconnect, on the network thread.
        timeout_s: how long the broker may take to answer.

    Raises:
        UsageError: the URL is not of this form.
        BrokerError: nobody answers there, or the broker refused.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or port == -1:
        raise UsageError(f"broker {url!r} is not of the form mqtt://host[:port] or mqtts://host[:port]")
    if parts.username:
        client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
    if parts.scheme == "mqtts":
        client.tls_set()
    answered = threading.Event()
    refusal: list[str] = []

    def on_connect(
        c: mqtt.Client, userdata: object, flags: mqtt.ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.is_failure:
            refusal.append(str(code))
        elif connected is not None:
            connected()
        answered.set()

    client.on_connect = on_connect
    where = f"{parts.hostname}:{port or (8883 if parts.scheme == 'mqtts' else 1883)}"
    try:
        client.connect(parts.hostname, port or (8883 if parts.scheme == "mqtts" else 1883), keepalive=30)
    except OSError as error:
        raise BrokerError(f"no broker answers at {where}: {error}") from error
    client.loop_start()
    if not answered.wait(timeout_s) or refusal:
        client.loop_stop()
        raise BrokerError(f"the broker at {where} refused: {refusal[0]}" if refusal else f"no answer from {where}")


class Publisher:
    """An MQTT client that only publishes.

    At QoS 1 a message counts as delivered when the broker has acknowledged it. A lost connection is made again, and
    what was not acknowledged is sent again (so the broker may see it twice, MQTT 3.1.1 section 4.4).

    Args:
        url: `mqtt://[user:password@]host[:port]` or `mqtts://…`.
        qos: 0 or 1.
        window: how many messages may wait for their acknowledgement; `publish` blocks beyond it.
        client_id: empty = the broker chooses.
        timeout_s: how long `publish` and `drain` wait for an acknowledgement at most.

    Attributes:
        published: messages handed over so far.
        lost: messages of QoS 0 handed over while there was no connection.

    Raises:
        BrokerError: nobody answers, the broker refused, or acknowledgements stay out for `timeout_s`.
    """

    def __init__(
        self, url: str, qos: int = 1, window: int = 1000, client_id: str = "", timeout_s: float = 60.0
    ) -> None:
        if qos not in (0, 1):
            raise UsageError(f"qos is {qos}, allowed are 0 and 1")
        self.published = 0
        self.lost = 0
        self._qos = qos
        self._window = window
        self._timeout_s = timeout_s
        self._done = 0
        self._changed = threading.Condition()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv311)
        # The window above is the bound; paho's own costs a scan of all messages in flight per acknowledgement.
        self._client.max_inflight_messages_set(0)
        self._client.on_publish = self._on_publish
        connect(self._client, url)

    def _on_publish(
        self, client: mqtt.Client, userdata: object, mid: int, code: ReasonCode, properties: Properties
    ) -> None:
        with self._changed:
            self._done += 1
            if self.published - self._done <= self._window // 2 or self._done == self.published:
                self._changed.notify_all()

    def publish(self, topic: str, payload: bytes) -> None:
        """Hand over one message; blocks while the window is full."""
        if self.published - self._done >= self._window:
            self._wait(self._window // 2)
        self.published += 1
        code = self._client.publish(topic, payload, self._qos).rc
        if self._qos == 0 and code != mqtt.MQTT_ERR_SUCCESS:
            with self._changed:
                self._done += 1
                self.lost += 1

    def drain(self) -> None:
        """Wait until everything handed over is written out (QoS 0) or acknowledged (QoS 1)."""
        self._wait(0)

    def _wait(self, most: int) -> None:
        with self._changed:
            last, since = self._done, time.monotonic()
            while self.published - self._done > most:
                self._changed.wait(1.0)
                if self._done != last:
                    last, since = self._done, time.monotonic()
                elif time.monotonic() - since > self._timeout_s:
                    waiting = self.published - self._done
                    raise BrokerError(f"{waiting} messages were not acknowledged within {self._timeout_s:g} s")

    def close(self) -> None:
        """Disconnect; what was not drained may be lost."""
        self._client.disconnect()
        self._client.loop_stop()

    def __enter__(self) -> "Publisher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.drain()
        self.close()
