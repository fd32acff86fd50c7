"""What `suggest` writes reads everything that it was written for."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.sparkplug import SparkplugNode
from stepahead.contract.reasons import DropCounter
from stepahead.service.configuration import load_settings
from stepahead.wire.decoder import Decoder
from stepahead.wire.delivery import Delivery
from stepahead.wire.suggestion import suggest
from stepahead.wire.topic_template import OwnTopics, own_output_error
from stepahead.wire.topics import parse_filter
from tests.wire.desk import NOW_NS
from tests.wire.test_mapping import KURA, NODE_RED, SHELLY, TASMOTA, TELEGRAF

KAPUA = b'{"metrics":[{"name":"temp","valueType":"double","value":21.5},{"name":"rpm","value":900}]}'
MIX: dict[str, list[bytes]] = {
    "homeassistant/sensor/a/state": [b"21.5", b"21.6"],
    "homeassistant/binary/b/state": [b"ON", b"OFF"],
    "shellies/em/power": [b"21.5 W"],
    "shellyplus1pm-a8/events/rpc": [SHELLY],
    "tele/tasmota_1/SENSOR": [TASMOTA],
    "zigbee2mqtt/living": [b'{"temperature":21.5,"humidity":40,"linkquality":90,"state":"ON"}'],
    "plant/arrays/objects": [b'[{"ts":1759999990000,"value":1},{"ts":1759999991000,"value":2}]'],
    "plant/arrays/pairs": [b"[[1759999990000,1.5]]"],
    "plant/arrays/values": [b'{"ts":1759999990000,"values":[1,2,3]}'],
    "plant/arrays/inner": [b'{"device":"d","readings":[{"ts":1759999990000,"value":1}]}'],
    "plant/quality": [b'{"value":1.5,"quality":192,"ts":1759999990000}'],
    "plant/meta": [b'{"temp":1.5,"meta":{"ts":1759999990000}}'],
    "senml/json": [b'[{"bn":"dev/","n":"t","u":"Cel","v":23.1}]'],
    "senml/cbor": [bytes.fromhex("81a2006161 02182a")],
    "telegraf/line": [b"cpu,host=edge usage=1.5 1759999990000000000"],
    "telegraf/json": [TELEGRAF],
    "kura/out": [KURA],
    "kapua/out": [KAPUA],
    "nodered/out": [NODE_RED],
    "text/only": [b"online"],
    "$SYS/broker/uptime": [b"7 seconds"],
    "stepahead/v1/forecast/x": [b'{"value":1}'],
}
NODE = SparkplugNode(random.Random(3))
SPARKPLUG = [(sent.topic, sent.payload) for sent in (*NODE.start(), NODE.data(), NODE.data())]


def heard() -> dict[str, list[bytes]]:
    mix = {topic: list(payloads) for topic, payloads in MIX.items()}
    for topic, payload in SPARKPLUG:
        mix.setdefault(topic, []).append(payload)
    return mix


def test_a_mapping_for_a_mix_of_everything_reads_all_of_it(tmp_path: Path) -> None:
    text = suggest(heard())
    file = tmp_path / "stepahead.toml"
    file.write_text(text, "utf-8")
    loaded = load_settings(file, {}, {})
    filters = [parse_filter(subscription.filter) for subscription in loaded.subscriptions]
    assert own_output_error(filters, {"publish.prefix": OwnTopics(("stepahead", "v1", "#"))}) is None
    keys: dict[str, int] = {}
    drops = DropCounter()
    decoder = Decoder(loaded.subscriptions, lambda key: keys.setdefault(key, len(keys)), drops, "stepahead/v1")
    silent = {"text/only", "$SYS/broker/uptime", "stepahead/v1/forecast/x"}
    messages = [(t, p) for t, ps in MIX.items() if t not in silent for p in ps] + SPARKPLUG
    deliveries = [Delivery(t.encode(), p, 0, 0, NOW_NS + 10**9) for t, p in messages]
    for _ in range(2):
        decoded = decoder.decode(deliveries)
        assert sorted(set(decoded.message.tolist())) == [*range(len(messages))]
        assert drops.as_dict() == {}
    assert keys.keys() >= {
        "telegraf/json/cpu,cpu=cpu0,host=edge/usage_idle", "kapua/out/rpm", "boiler/flow", "senml/cbor/a",
        "shellyplus1pm-a8/events/rpc/switch:0/apower", "plant/meta/temp", "plant/quality", "plant/arrays/inner",
    }  # fmt: skip
    assert "plant/quality/quality" not in keys
    assert "# holds no number: text/only" in text
    assert "$SYS" not in text


@pytest.mark.parametrize("payload", [b"", b"\xff", b"{}", b"[]", b"null", b"online", b"[[]]", b'{"a":{}}'])
def test_what_holds_no_number_is_not_subscribed_to(payload: bytes) -> None:
    assert suggest({"a/b": [payload]}) == "# holds no number: a/b\n"


def test_our_own_tree_is_left_alone_even_when_others_live_in_it(tmp_path: Path) -> None:
    text = suggest({"stepahead/mine": [b"1"], "stepahead/v1/status": [b'{"a":1}']})
    assert 'filter = "stepahead/mine"' in text
    assert "v1" not in text


PAYLOADS = st.one_of(
    st.binary(max_size=30), st.sampled_from([p for payloads in MIX.values() for p in payloads]), st.just(b"1")
)
TOPICS = st.lists(st.sampled_from(["a", "b", "c{d}", "", "+x", "ü", "\n"]), min_size=1, max_size=3).map("/".join)


@given(st.dictionaries(TOPICS, st.lists(PAYLOADS, max_size=3), max_size=6))
@settings(max_examples=100, deadline=None)
def test_whatever_is_heard_the_mapping_loads(
    tmp_path_factory: pytest.TempPathFactory, mix: dict[str, list[bytes]]
) -> None:
    file = tmp_path_factory.mktemp("mapping") / "stepahead.toml"
    file.write_text(suggest(mix), "utf-8")
    for subscription in load_settings(file, {}, {}).subscriptions:
        parse_filter(subscription.filter)
