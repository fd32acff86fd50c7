"""Home Assistant's MQTT discovery: a device per series with forecast, low, high and anomaly."""

import hashlib
import re
from typing import Any

import msgspec

__all__ = ["discovery_message", "object_id"]

NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]+")
SENSORS = {"forecast": ("Forecast", "value"), "low": ("Low", "lower"), "high": ("High", "upper")}


def object_id(key: str) -> str:
    """A key as an object id: letters, digits, `_` and `-` only, and a hash of the key that tells apart what is alike.

    Example:
        >>> object_id("plant/pump7")
        'stepahead_plant_pump7_21776023'
    """
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"stepahead_{NOT_IN_IDS.sub('_', key)[:100].strip('_')}_{digest}"


def discovery_message(
    key: str,
    forecast_topic: str,
    status_topic: str,
    prefix: str,
    expire_after_s: int,
    version: str,
    unit: str | None = None,
) -> tuple[str, bytes]:
    """Topic and payload that make Home Assistant show a series; to be retained.

    (Home Assistant, MQTT integration, "MQTT Discovery": "Device discovery payload"; "MQTT Sensor" and "MQTT binary
    sensor": "Configuration variables".) Available is what our status says, `offline` being our last will.

    Args:
        key: of the series.
        forecast_topic: where its forecasts go out, one JSON object each.
        status_topic: where our status stands.
        prefix: Home Assistant's discovery prefix.
        expire_after_s: entities are unavailable when no forecast came for so long; 0 = never.
        version: of this program.
        unit: of the series.
    """
    identity = object_id(key)
    measured = {"unit_of_measurement": unit} if unit else {}
    expiry = {"expire_after": expire_after_s} if expire_after_s else {}
    components: dict[str, dict[str, Any]] = {
        name: {
            "platform": "sensor",
            "name": title,
            "unique_id": f"{identity}_{name}",
            "state_class": "measurement",
            "value_template": f"{{{{ value_json.{field} }}}}",
            **measured,
            **expiry,
        }
        for name, (title, field) in SENSORS.items()
    }
    components["anomaly"] = {
        "platform": "binary_sensor",
        "name": "Anomaly",
        "unique_id": f"{identity}_anomaly",
        "device_class": "problem",
        "value_template": "{{ 'ON' if value_json.anomaly else 'OFF' }}",
        **expiry,
    }
    payload = {
        "device": {"identifiers": [identity], "name": key, "manufacturer": "stepahead", "sw_version": version},
        "origin": {"name": "stepahead", "sw_version": version},
        "availability": [{"topic": status_topic, "value_template": "{{ value_json.status }}"}],
        "state_topic": forecast_topic,
        "components": components,
    }
    return f"{prefix}/device/{identity}/config", msgspec.json.encode(payload)
