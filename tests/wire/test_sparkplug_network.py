"""An edge node behind a network that loses, reorders and repeats: every value is right or counted."""

import json
import random

import pytest

from simulators.sparkplug import START_MS, STEP_MS, Sent, SparkplugNode, UnreliableNetwork
from stepahead.contract.reasons import DropCounter
from stepahead.contract.settings import SparkplugSettings, SubscriptionSettings
from stepahead.wire.decoder import Decoded, Decoder
from stepahead.wire.delivery import Delivery
from stepahead.wire.formats.sparkplug_schema import Payload

METRIC_LEVEL = ("before_birth", "session_over", "alias_unknown")
STEP_NS = STEP_MS * 1_000_000


class Host:
    """A decoder that hears a node, and the books that must balance."""

    def __init__(self, node: SparkplugNode, rebirth: bool = True) -> None:
        self.node = node
        self.settings = SparkplugSettings(rebirth=rebirth, rebirth_every_s=1.0, reorder_s=0.5)
        self.keys: dict[str, int] = {}
        self.drops = DropCounter()
        self.decoder = self.fresh()
        self.now_ns = START_MS * 1_000_000
        self.metrics = self.rows = 0
        self.late: list[tuple[str, int, float]] = []

    def fresh(self) -> Decoder:
        return Decoder(
            [SubscriptionSettings(filter="spBv1.0/#")],
            lambda key: self.keys.setdefault(key, len(self.keys)),
            self.drops,
            "stepahead/v1",
            sparkplug=self.settings,
        )

    def hear(self, sent: Sent, qos: int = 0) -> list[tuple[bytes, bytes]]:
        """Take a message; the commands that the host wants to send."""
        self.now_ns = max(self.now_ns + STEP_NS, self.node.now_ms * 1_000_000)
        self.metrics += sent.metrics
        delivery = Delivery(sent.topic.encode(), sent.payload, qos << 1, 0, self.now_ns)
        self.check(self.decoder.decode([delivery]))
        return self.decoder.sparkplug.take_commands()

    def check(self, decoded: Decoded) -> None:
        names = list(self.keys)
        readings = decoded.readings
        for slot, time_ns, value in zip(
            readings.series.tolist(), readings.time_ns.tolist(), readings.value.tolist(), strict=True
        ):
            _, group, node, *device, metric = names[slot].split("/")
            assert (group, node) == ("plant", self.node.name)
            assert self.node.truth[device[0] if device else "", metric, time_ns // 1_000_000] == value
        self.rows += len(readings)

    def settle(self) -> None:
        """Let every wait end; then nothing may be missing from the books."""
        self.now_ns += 10**10
        self.check(self.decoder.overdue(self.now_ns))
        assert self.rows + sum(self.drops[reason] for reason in METRIC_LEVEL) == self.metrics  # type: ignore[index]


@pytest.mark.parametrize("seed", range(12))
def test_every_value_is_right_or_counted_and_the_host_recovers(seed: int) -> None:
    rng = random.Random(seed)
    node = SparkplugNode(rng)
    network = UnreliableNetwork(rng)
    host = Host(node)
    outgoing = node.start()
    snapshot, told = json.dumps(host.decoder.sparkplug.state_dict()), []
    for turn in range(1200):
        asked = [command for sent in network.carry(outgoing) for command in host.hear(sent)]
        told += host.decoder.sparkplug.changes()
        outgoing = node.rebirth() if asked and rng.random() < 0.8 else []
        fate = rng.random()
        if fate < 0.01:
            outgoing += node.restart()
        elif fate < 0.02:
            outgoing += node.device_rebirth()
        outgoing.append(node.data())
        if fate > 0.995:  # the host dies and resumes from its snapshot and its journal
            host.settle()
            told += host.decoder.sparkplug.changes()
            host.decoder = host.fresh()
            host.decoder.sparkplug.load_state_dict(json.loads(snapshot))
            host.decoder.sparkplug.take_changes(json.loads(json.dumps(told)))
        elif turn % 200 == 0:
            snapshot, told = json.dumps(host.decoder.sparkplug.state_dict()), []
    for sent in [*outgoing, *network.rest()]:
        host.hear(sent)
    host.settle()
    assert network.losses > 10
    assert node.restarts > 0
    assert host.drops["sequence_gap"] > 0  # type: ignore[index]
    assert host.rows > 0.25 * host.metrics
    # A network without faults, and a node that answers: all is well again.
    network.lost = network.repeated = network.delayed = 0.0
    for _ in range(60):
        asked = [command for sent in [node.data()] for command in host.hear(sent)]
        for sent in node.rebirth() if asked else []:
            host.hear(sent)
    host.settle()
    rows, metrics = host.rows, host.metrics
    for _ in range(300):
        assert host.hear(node.data()) == []
    assert host.rows - rows == host.metrics - metrics


@pytest.mark.parametrize("lost", [*range(1, 6), 100, 127, 128, 254, 255])
@pytest.mark.parametrize("at", [1, 3, 200, 255])
def test_every_gap_is_detected_and_asks_for_a_rebirth(lost: int, at: int) -> None:
    node = SparkplugNode(random.Random(at), devices=("pump",))
    host = Host(node)
    for sent in [*node.start(), *(node.data() for _ in range(at))]:
        assert host.hear(sent) == []
    for _ in range(lost):
        node.data()
    asked = [command for _ in range(15) for command in host.hear(node.data())]
    assert host.drops["sequence_gap"] == 1  # type: ignore[index]
    topic, payload = asked[0]
    assert topic == b"spBv1.0/plant/NCMD/gateway"
    (metric,) = Payload.FromString(payload).metrics
    assert (metric.name, metric.boolean_value) == ("Node Control/Rebirth", True)
    host.settle()
    assert host.drops["before_birth"] > 0  # type: ignore[index]
    for sent in [*node.rebirth(), node.data()]:
        assert host.hear(sent) == []
    dropped = host.drops.total()
    assert host.hear(node.data()) == []
    assert host.drops.total() == dropped


def test_a_message_that_is_overtaken_is_waited_for_and_put_in_its_place() -> None:
    node = SparkplugNode(random.Random(5))
    host = Host(node)
    births = node.start()
    for sent in births:
        host.hear(sent)
    before = host.rows
    early, *late = [node.data() for _ in range(5)]
    for sent in reversed(late):
        host.hear(sent)
    assert host.rows == before
    host.hear(early)
    assert host.rows == before + early.metrics + sum(sent.metrics for sent in late)
    assert not host.drops


def test_births_may_overtake_one_another() -> None:
    node = SparkplugNode(random.Random(6))
    host = Host(node)
    first, second, third = node.start()
    for sent in (third, node.data(), second, first):
        host.hear(sent)
    assert not host.drops
    host.settle()


def test_requests_for_rebirth_come_at_a_bounded_rate() -> None:
    node = SparkplugNode(random.Random(7))
    host = Host(node)
    node.start()  # nobody hears it
    asked = sum(len(host.hear(node.data())) for _ in range(200))  # 10 s
    assert 9 <= asked <= 11
    silent = Host(node, rebirth=False)
    assert sum(len(silent.hear(node.data())) for _ in range(200)) == 0


def test_a_death_is_believed_only_under_its_own_birth() -> None:
    node = SparkplugNode(random.Random(8))
    host = Host(node)
    for sent in node.start():
        host.hear(sent)
    will = node.die()
    for sent in node.start():
        host.hear(sent)
    host.hear(will)  # late: of the session before
    host.hear(node.data())
    assert host.decoder.sparkplug.take_stale() == []
    host.hear(node.die())
    assert sorted(host.decoder.sparkplug.take_stale()) == sorted(host.keys.values())
    host.hear(node.data())
    host.settle()
    assert host.drops["before_birth"] > 0  # type: ignore[index]


def test_the_death_of_a_device_makes_its_series_stale_and_no_others() -> None:
    node = SparkplugNode(random.Random(9))
    host = Host(node)
    for sent in node.start():
        host.hear(sent)
    death, birth = node.device_rebirth()
    host.hear(death)
    stale = host.decoder.sparkplug.take_stale()
    device = death.topic.rsplit("/", 1)[1]
    assert {key for key, slot in host.keys.items() if slot in stale} == {
        f"spBv1.0/plant/gateway/{device}/m{k}" for k in range(4)
    }
    host.hear(birth)
    host.hear(node.data())
    assert not host.drops


def test_after_a_restart_qos_1_goes_on_where_it_was_and_qos_0_waits_for_a_birth() -> None:
    for qos in (0, 1):
        node = SparkplugNode(random.Random(10))
        host = Host(node)
        for sent in [*node.start(), *(node.data() for _ in range(40))]:
            host.hear(sent, qos)
        told = json.loads(json.dumps(host.decoder.sparkplug.changes()))
        again = node.data()
        host.hear(again, qos)  # was heard, and is delivered again: the crash came before its acknowledgement
        told += json.loads(json.dumps(host.decoder.sparkplug.changes()))
        host.decoder = host.fresh()
        host.decoder.sparkplug.take_changes(told)
        asked = [*host.hear(again, qos), *host.hear(node.data(), qos), *host.hear(node.data(), qos)]
        host.settle()
        assert bool(asked) == (qos == 0)
        assert bool(host.drops) == (qos == 0)


def test_without_rebirths_known_births_are_trusted_through_gaps() -> None:
    node = SparkplugNode(random.Random(11))
    host = Host(node, rebirth=False)
    for sent in node.start():
        host.hear(sent)
    for turn in range(100):
        sent = node.data()
        if turn % 9:
            assert host.hear(sent) == []
    host.settle()
    assert host.drops.as_dict().keys() == {"sequence_gap"}
