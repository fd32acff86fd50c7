"""The README's table of formats: payloads in, forecasts out, as decoder, engine and encoder make them.

Written by `python -m tests.wire.test_formats_table`, which prints the table; the test holds the README to it.
"""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

from stepahead.contract.reasons import DropCounter
from stepahead.contract.settings import LearningSettings, PublishSettings, Settings, SubscriptionSettings
from stepahead.forecasting.engine import Engine
from stepahead.wire.decoder import Decoder
from stepahead.wire.delivery import Delivery
from stepahead.wire.encoder import ForecastEncoder
from stepahead.wire.formats.sparkplug_schema import DataType, Payload

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- formats: begin -->\n", "<!-- formats: end -->\n"
NOW_S = 1_760_000_000
STEPS = 4

NODE = "spBv1.0/plant/{}/gw"


def spark(seq: int, second: int) -> bytes:
    payload = Payload(timestamp=second * 1000, seq=seq)
    metric = payload.metrics.add(alias=1, timestamp=second * 1000, double_value=21.5)
    if seq == 0:
        metric.name, metric.datatype = "flow", int(DataType.DOUBLE)
    return bytes(payload.SerializeToString())


# What sends it, topic, settings, payload; NOW, MS, NS and ISO stand for the time.
ROWS: list[tuple[str, str, dict[str, object], str]] = [
    ("bare number: Home Assistant, Homie, Shelly", "home/1/state", {}, "21.5"),
    ("… and its unit", "home/2/state", {"units": True}, "21.5 °C"),
    ("switch", "home/3/state", {"booleans": True}, "ON"),
    ("flat JSON: zigbee2mqtt", "zigbee2mqtt/hall", {"ignore": ["linkquality"]},
     '{"temperature": 21.5, "humidity": 40, "linkquality": 90}'),
    ("one value and its time", "plant/pump", {}, '{"ts": MS, "value": 21.5, "seq": 7}'),
    ("… and its quality", "plant/tank", {"quality": "q"}, '{"ts": MS, "value": 21.5, "q": 192}'),
    ("nested JSON: Tasmota", "tele/x/SENSOR", {"zone": "Europe/Berlin"},
     '{"Time": "LOCAL", "AM2301": {"Temperature": 24.6}}'),
    ("Shelly Gen2, `events/rpc`", "shelly/events/rpc",
     {"value": "/params", "time": "/params/ts", "ignore": ["*/id"]},
     '{"src": "shelly", "method": "NotifyStatus", "params": {"ts": NOW.0, "switch:0": {"id": 0, "apower": 8.5}}}'),
    ("array of values", "plant/a1", {"value": "/values"}, '{"ts": MS, "values": [1.5, 2.5]}'),
    ("array of pairs", "plant/a2", {}, "[[MS, 21.5]]"),
    ("array of objects", "plant/a3", {}, '[{"ts": MS, "value": 21.5}]'),
    ("SenML, JSON (RFC 8428)", "dev", {}, '[{"bn": "ow1:", "bt": NOW, "n": "temp", "u": "Cel", "v": 23.1}]'),
    ("SenML, CBOR", "dev/cbor", {}, "hex 82a3 2163 6f77 3100 6174 02f9 4dc0 a200 6175 0207"),
    ("InfluxDB line protocol", "influx", {"key": "{host}/{measurement}/{field}"}, "cpu,host=edge idle=91.5,user=5i NS"),
    ("Sparkplug B 3.0, after its NBIRTH", "spBv1.0/plant/NDATA/gw", {}, "sparkplug"),
    ("Telegraf, JSON", "telegraf",
     {"value": "/fields", "key": "{/tags/host}/{name}/{field}"},
     '{"fields": {"used": 7.5}, "name": "mem", "tags": {"host": "edge"}, "timestamp": NOW}'),
    ("Node-RED", "nodered", {"value": "payload", "key": "{/topic}"}, '{"topic": "boiler/flow", "payload": 21.5}'),
    ("Kura and Kapua", "kura/out", {"value": "/metrics", "time": "sentOn"}, '{"sentOn": MS, "metrics": {"flow": 5.5}}'),
]  # fmt: skip


def payload_at(text: str, second: int) -> bytes:
    if text.startswith("hex "):
        return bytes.fromhex(text[4:])
    if text == "sparkplug":
        return spark((second - NOW_S) // 60 + STEPS, second)
    local = datetime.fromtimestamp(second + 7200, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    for name, value in (
        ("LOCAL", local),
        ("MS", str(second * 1000)),
        ("NS", f"{second}{'0' * 9}"),
        ("NOW", str(second)),
    ):
        text = re.sub(rf"\b{name}\b", value, text)
    return text.encode()


def forecasts_of(topic: str, settings: dict[str, object], text: str, engine: Engine) -> list[dict[str, object]]:
    """What goes out for the last of some payloads, one a minute."""
    subscription = SubscriptionSettings.model_validate({"filter": "#", **settings})
    drops = DropCounter()
    decoder = Decoder([subscription], engine.intern, drops, "stepahead/v1")
    encoder = ForecastEncoder(PublishSettings(), [0.9], engine.table.keys.__getitem__)
    rows: list[tuple[bytes, bytes]] = []
    for step in range(-STEPS + 1, 1):
        second = NOW_S + 60 * step
        deliveries = [Delivery(topic.encode(), payload_at(text, second), 0, 0, second * 10**9)]
        if text == "sparkplug" and step == -STEPS + 1:
            deliveries.insert(0, Delivery(b"spBv1.0/plant/NBIRTH/gw", spark(0, second - 60), 0, 0, second * 10**9))
        rows = encoder.encode(engine.step(decoder.decode(deliveries).readings))
    assert drops.as_dict() == {}
    return [json.loads(payload) for _, payload in rows]


def told(forecast: dict[str, object]) -> str:
    at = datetime.fromtimestamp(int(str(forecast["valid_at"])) / 1000, UTC)
    return f"`{forecast['series']}` {forecast['value']:.2f} at {at:%H:%M:%S}"


def table() -> str:
    """The table as it stands in the README."""
    engine = Engine(Settings(learning=LearningSettings(enabled=False)))
    lines = [
        "| sent by | settings beside `filter` | topic and payload | forecast of its next reading |",
        "|---|---|---|---|",
    ]
    for sender, topic, settings, text in ROWS:
        toml = "<br>".join(f"`{name} = {json.dumps(value, ensure_ascii=False)}`" for name, value in settings.items())
        payload = payload_at(text, NOW_S)
        shown = f"hex {payload.hex()}" if text.startswith("hex ") or text == "sparkplug" else payload.decode()
        out = "<br>".join(map(told, forecasts_of(topic, settings, text, engine)))
        lines.append(f"| {sender} | {toml} | `{topic}`<br>`{shown}` | {out} |")
    return "\n".join(lines) + "\n"


def test_the_table_in_the_readme_is_what_comes_out() -> None:
    _, _, rest = README.read_text("utf-8").partition(BEGIN)
    written, mark, _ = rest.partition(END)
    assert mark, "the README has no table of formats"
    assert written == table(), "write it anew with: python -m tests.wire.test_formats_table"


if __name__ == "__main__":
    print(table(), end="")
