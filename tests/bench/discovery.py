"""Holds discovery messages against Home Assistant's own schemas; run by hand, by the Python that Home Assistant is in.

    python -m tests.wire.test_homeassistant | HOME_ASSISTANT/bin/python tests/bench/discovery.py

HOME_ASSISTANT is a virtual environment with `pip install homeassistant paho-mqtt`, for which Python must be newer than
ours. On 2026-11-28 homeassistant 2024.12.5 on Python 3.12 took all of them, 40 entities, and refused the wrong ones
that are made here, so that the check is seen to check.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

from homeassistant.components.mqtt import (  # type: ignore[import-not-found]
    binary_sensor,
    discovery,
    sensor,
)
from homeassistant.const import __version__  # type: ignore[import-not-found]
from voluptuous import Invalid  # type: ignore[import-not-found]

PLATFORMS = {"sensor": sensor, "binary_sensor": binary_sensor}
WRONG: list[dict[str, object]] = [{"state_class": "some"}, {"expire_after": -1}, {"device_class": "some"}]


def entities(topic: str, payload: str) -> Iterator[dict[str, Any]]:
    """What Home Assistant makes of a message: one configuration an entity (its `async_discovery_message_received`)."""
    found = discovery.TOPIC_MATCHER.match(topic.removeprefix("homeassistant/"))
    assert found is not None, topic
    assert found["component"] == "device", topic
    device = discovery._parse_device_payload(None, payload, found["object_id"], found["node_id"])
    assert device, f"refused: {payload}"
    for component in device.pop("components").values():
        config = discovery.MQTTDiscoveryPayload(component | {"device": device["device"], "origin": device["origin"]})
        discovery._merge_common_device_options(config, device)
        yield dict(config)


def check(config: dict[str, Any]) -> None:
    """Raise `Invalid` where the platform's schema refuses an entity."""
    platform = PLATFORMS[config["platform"]]
    platform.DISCOVERY_SCHEMA({name: value for name, value in config.items() if name != "platform"})


def main() -> None:
    """Check every line of the standard input, a JSON array of topic and payload."""
    configs = [config for line in sys.stdin for config in entities(*json.loads(line))]
    for config in configs:
        check(config)
    for wrong in WRONG:
        try:
            check(configs[0] | wrong)
        except Invalid:
            continue
        raise AssertionError(f"{wrong} was taken")
    print(f"Home Assistant {__version__} takes all {len(configs)} entities")


if __name__ == "__main__":
    main()
