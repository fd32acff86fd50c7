"""sparkplug-payload, another's library, reads what we publish as an edge node and asks us for births."""

import base64
import json
import signal
from typing import Any

from tests.broker.conftest import Peer
from tests.clients.conftest import Plant
from tests.clients.node import sparkplug

BASE_MS = 1_760_000_000_000


def decoded(peer: Peer, count: int) -> list[tuple[str, dict[str, Any]]]:
    """So many messages of the node, decoded by sparkplug-payload: kind/device, and payload with metrics by name."""
    messages = []
    while len(messages) < count:
        messages += [m for m in peer.take(1) if b"/NCMD/" not in m.topic]
    payloads = sparkplug([{"decode": base64.b64encode(m.payload).decode()} for m in messages])
    for payload in payloads:
        payload["metrics"] = {metric["name"]: metric for metric in payload["metrics"]}
    topics = [m.topic.decode().removeprefix("spBv1.0/g/").replace("/stepahead", "", 1) for m in messages]
    return list(zip(topics, payloads, strict=True))


def test_another_host_library_reads_our_births_data_and_death(edge_plant: tuple[Plant, Peer]) -> None:
    plant, peer = edge_plant
    [(kind, birth)] = decoded(peer, 1)
    assert (kind, birth["seq"]) == ("NBIRTH", 0)
    assert birth["metrics"]["Node Control/Rebirth"]["value"] is False
    bd_seq = birth["metrics"]["bdSeq"]["value"]

    [command] = sparkplug(
        [{"encode": {"timestamp": BASE_MS, "metrics": [
            {"name": "Node Control/Rebirth", "type": "Boolean", "value": True, "timestamp": BASE_MS}]}}]
    )  # fmt: skip
    rebirth = ("spBv1.0/g/NCMD/stepahead", base64.b64decode(command), 0, False)
    peer.session.publish(*rebirth)
    [(kind, birth)] = decoded(peer, 1)
    assert (kind, birth["seq"], birth["metrics"]["bdSeq"]["value"]) == ("NBIRTH", 0, bd_seq)

    rows = [(b"plant/pump/a", b'{"ts": %d, "value": %d.5}' % (BASE_MS + 1000 * i, 20 + i)) for i in range(3)]
    peer.session.publish_many([*rows, (b"plant/pump/b", b"7.25")], 1, False)
    messages = decoded(peer, 4)
    assert [payload["seq"] for _, payload in messages] == [1, 2, 3, 4]
    assert sorted(kind for kind, _ in messages) == [
        "DBIRTH/plant:pump:a",
        "DBIRTH/plant:pump:b",
        "DDATA/plant:pump:a",
        "DDATA/plant:pump:a",
    ]
    for _, payload in messages:
        values = {name: metric.get("value") for name, metric in payload["metrics"].items()}
        types = {name: metric["type"] for name, metric in payload["metrics"].items()}
        assert values["lower"] <= values["value"] <= values["upper"]
        assert (types["value"], types["anomaly"], types["model"], types["valid_at"]) == (
            "Double", "Boolean", "Int64", "DateTime",
        )  # fmt: skip
    observed = [p["metrics"]["observed"]["value"] for kind, p in messages if kind.endswith(":a")]
    assert observed == [20.5, 21.5, 22.5]

    peer.session.publish(*rebirth)
    again = decoded(peer, 3)
    assert [(kind, payload["seq"]) for kind, payload in again] == [
        ("NBIRTH", 0),
        ("DBIRTH/plant:pump:a", 1),
        ("DBIRTH/plant:pump:b", 2),
    ]
    assert again[1][1]["metrics"]["observed"]["value"] == 22.5
    plant.service.process.send_signal(signal.SIGTERM)
    [(kind, death)] = decoded(peer, 1)
    assert (kind, death["metrics"]["bdSeq"]["value"]) == ("NDEATH", bd_seq)
    peer.session.close(1)
    assert plant.service.process.wait(60) == 0
    assert json.dumps(death["metrics"])  # nothing else that only JavaScript would read
