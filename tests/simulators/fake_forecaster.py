"""A stand-in for the service: a small online autoregression that speaks the same messages. Usage: URL."""

import json
import sys
import time
from urllib.parse import urlsplit

import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from simulators.stop import Stop

ORDER = 16
LEVEL = 0.9


class Series:
    def __init__(self) -> None:
        self.x = np.zeros(ORDER + 1)
        self.p = np.eye(ORDER) * 1e3
        self.w = np.zeros(ORDER)
        self.n = 0
        self.forecast: float | None = None
        self.scale = 0.0

    def step(self, value: float, ts: int, key: str) -> dict[str, object]:
        error = None if self.forecast is None else value - self.forecast
        anomaly = error is not None and self.n > 60 and abs(error) > 4.5 * self.scale
        if error is not None and not anomaly:
            self.scale += (abs(error) - self.scale) * max(0.02, 1 / self.n)
        features = np.diff(self.x)
        self.x = np.append(self.x[1:], value)
        if self.n > ORDER + 1:
            gain = self.p @ features / (0.999 + features @ self.p @ features)
            self.w += gain * (self.x[-1] - self.x[-2] - features @ self.w)
            self.p = (self.p - np.outer(gain, features @ self.p)) / 0.999
        self.n += 1
        self.forecast = float(self.x[-1] + np.diff(self.x) @ self.w) if self.n > 40 else value
        half = 2.0 * self.scale
        message = {"series": key, "issued_at": ts, "valid_at": ts + 50, "value": self.forecast, "level": LEVEL}
        message |= {"lower": self.forecast - half, "upper": self.forecast + half, "observed": value}
        message |= {"anomaly": anomaly, "status": "ok" if self.n > 40 else "warming", "model": self.n // 200}
        message |= {"id": f"{key}-{ts}"} | ({} if error is None else {"error": error})
        return message


def main() -> None:
    url = urlsplit(sys.argv[1])
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    series: dict[str, Series] = {}
    began = time.monotonic()
    readings = 0

    def on_message(client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        nonlocal readings
        content = json.loads(message.payload)
        readings += 1
        forecast = series.setdefault(message.topic, Series()).step(content["value"], content["ts"], message.topic)
        client.publish(f"stepahead/v1/forecast/{message.topic}", json.dumps(forecast))

    client.on_message = on_message
    client.connect(url.hostname or "", url.port or 1883)
    client.loop_start()
    client.subscribe("plant/#", 1)
    with Stop() as stop:
        while not stop.wait(0.5):
            rate = readings / (
                time.monotonic() - began
            )  # of all the time, in which a moment of standing still is little
            status = {"status": "online", "series": len(series), "readings": readings, "readings_per_second": rate}
            status |= {"uptime_s": time.monotonic() - began, "model": readings // 2400, "drops": {"late": 0}}
            status |= {"fine_tunes": {"adopted": readings // 2400, "rejected": readings // 9000, "failed": 0}}
            client.publish("stepahead/v1/status", json.dumps(status), retain=True)
    client.publish("stepahead/v1/status", json.dumps({"status": "offline"}), qos=1, retain=True).wait_for_publish(2)
    client.disconnect()
    client.loop_stop()


if __name__ == "__main__":
    main()
