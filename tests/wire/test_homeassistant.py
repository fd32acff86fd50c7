"""Discovery messages against Home Assistant's rules, written down here with their sources.

Home Assistant itself needs a newer Python than ours and installs hundreds of packages: tests/bench/discovery.py asks
its own schemas, by hand. The rules here are those of its documentation of 2024.12 and later: MQTT integration, "MQTT
Discovery", sections "Discovery topic", "Discovery payload", "Device discovery payload", "Using availability topics";
"MQTT Sensor" and "MQTT binary sensor", section "Configuration variables"; and of the schema that checks them,
`DEVICE_DISCOVERY_SCHEMA` in homeassistant/components/mqtt/schemas.py.
"""

import json
import re
from typing import Any

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepahead.contract.settings import PublishSettings
from stepahead.service.announcer import Announcer
from stepahead.wire.encoder import ForecastEncoder, encode_status, offline_status
from stepahead.wire.output.homeassistant import discovery_message, object_id
from tests.wire.forecasts_double import KEYS, forecasts

# Root: device, origin and components are mandatory; the others are the shared options that we use.
ROOT = {"device", "origin", "components", "availability", "state_topic", "qos", "encoding", "command_topic"}
DEVICE = {"identifiers", "connections", "manufacturer", "model", "name", "hw_version", "serial_number", "sw_version"}
DEVICE |= {"via_device", "suggested_area", "configuration_url", "model_id"}
ORIGIN = {"name", "sw_version", "support_url"}
AVAILABILITY = {"topic", "payload_available", "payload_not_available", "value_template"}
ENTITY = {"platform", "unique_id", "name", "device_class", "expire_after", "force_update", "icon", "value_template"}
ENTITY |= {"enabled_by_default", "entity_category", "state_topic", "json_attributes_topic", "json_attributes_template"}
PLATFORMS = {
    "sensor": ENTITY | {"state_class", "unit_of_measurement", "suggested_display_precision", "options"},
    "binary_sensor": ENTITY | {"payload_on", "payload_off", "off_delay"},
}
STATE_CLASSES = {"measurement", "measurement_angle", "total", "total_increasing"}
KEY = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)


def rendered(template: str, payload: bytes) -> str:
    """A value template, with the message as `value_json` ("Templating", section "MQTT")."""
    return (
        jinja2.Environment(undefined=jinja2.StrictUndefined)
        .from_string(template)
        .render(value_json=json.loads(payload))
    )


@settings(max_examples=60, deadline=None)
@given(KEY, st.sampled_from([0, 60]))
def test_messages_keep_the_rules(key: str, expire_after_s: int) -> None:
    topic, payload = discovery_message(key, "out/x", "out/status", "ha/discovery", expire_after_s, "1.2.3")
    # "Discovery topic": <discovery_prefix>/device/<object_id>/config, the id of these characters only.
    assert re.fullmatch(r"ha/discovery/device/[a-zA-Z0-9_-]+/config", topic)
    message: dict[str, Any] = json.loads(payload)
    assert {"device", "origin", "components"} <= set(message) <= ROOT
    assert set(message["device"]) <= DEVICE
    assert message["device"]["identifiers"]  # at least one identifying value
    assert message["device"]["name"] == key
    assert {"name"} <= set(message["origin"]) <= ORIGIN
    assert all({"topic"} <= set(entry) <= AVAILABILITY for entry in message["availability"])
    assert set(message["components"]) == {"forecast", "low", "high", "anomaly"}
    for component in message["components"].values():
        assert {"platform", "unique_id"} <= set(component) <= PLATFORMS[component["platform"]]
        assert component.get("state_class", "measurement") in STATE_CLASSES
        assert component.get("expire_after", 0) == expire_after_s
    assert len({component["unique_id"] for component in message["components"].values()}) == 4


@settings(max_examples=60, deadline=None)
@given(KEY, KEY)
def test_no_two_series_are_one_device(one: str, other: str) -> None:
    assert (object_id(one) == object_id(other)) == (one == other)
    assert object_id("a/b") != object_id("a_b")


def test_the_templates_find_what_our_messages_hold() -> None:
    """`sensor` wants a number, `binary_sensor` wants ON or OFF, availability wants online or offline (the defaults)."""
    _, payload = discovery_message("k", "out/x", "out/status", "homeassistant", 0, "1")
    message = json.loads(payload)
    templates = {name: component["value_template"] for name, component in message["components"].items()}
    encoder = ForecastEncoder(PublishSettings(), [0.9], KEYS.__getitem__)
    for row in encoder.encode(forecasts([[1.5], [2.5]], [0.0, 0.0])):
        told = json.loads(row[1])
        assert float(rendered(templates["forecast"], row[1])) == told["value"]
        assert float(rendered(templates["low"], row[1])) == told["lower"]
        assert float(rendered(templates["high"], row[1])) == told["upper"]
        assert rendered(templates["anomaly"], row[1]) == ("ON" if told["anomaly"] else "OFF")
    available = message["availability"][0]["value_template"]
    assert rendered(available, encode_status("online", series=1)) == "online"
    assert rendered(available, offline_status()) == "offline"


def test_a_unit_stands_at_what_is_measured_and_at_nothing_else() -> None:
    announcer = Announcer("ha", "s", 0, "1", lambda slot: f"k{slot}", str, {0: "bar"}.get)
    for row, unit in zip(announcer.new(forecasts([[1.0], [2.0]], [0.0, 0.0])), ("bar", None), strict=True):
        components = json.loads(row[1])["components"]
        told = {name: component.get("unit_of_measurement") for name, component in components.items()}
        assert told == {"forecast": unit, "low": unit, "high": unit, "anomaly": None}


def test_each_series_is_announced_once() -> None:
    announcer = Announcer("homeassistant", "out/status", 60, "1", lambda slot: f"k{slot}", lambda key: f"out/{key}")
    batch = forecasts([[float(i)] for i in range(300)], [0.0] * 300, keys=150)
    rows = announcer.new(batch)
    assert [json.loads(row[1])["state_topic"] for row in rows] == [f"out/k{i}" for i in range(150)]
    assert announcer.new(batch) == []
    assert announcer.new(batch[:0]) == []


@pytest.mark.parametrize(
    "publish", [{"mode": "batch"}, {"mode": "anomaly"}, {"format": "senml"}, {"payload": "{value}"}]
)
def test_what_home_assistant_could_not_read_is_refused(publish: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="homeassistant needs"):
        PublishSettings.model_validate({"homeassistant": True} | publish)


if __name__ == "__main__":
    for key in ("plant/pump7/temperature", "ü/°C", 'a b"c', "x" * 300, "spBv1.0/g/n/d/m"):
        for expire_after_s in (0, 60):
            unit = "°C" if expire_after_s else None
            message = discovery_message(key, "out/forecast/x", "out/status", "homeassistant", expire_after_s, "1", unit)
            print(json.dumps([message[0], message[1].decode()]))
