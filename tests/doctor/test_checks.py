"""Each check against an observation made by hand: what it finds, and that it is silent when all is well."""

import json
import re
from collections.abc import Sequence

import pytest

from stepahead.contract.settings import BrokerSettings, Settings, SubscriptionSettings
from stepahead.doctor.command import findings_of
from stepahead.doctor.feed_checks import RetainedFlood
from stepahead.doctor.finding import Finding, Severity
from stepahead.doctor.listening import LIVE_SAMPLES, listen
from stepahead.doctor.observation import HeardTopic, Observation, Probes
from stepahead.doctor.report import Report
from stepahead.wire.delivery import Delivery

NOW_NS = 1_760_000_000 * 10**9
WELL = {
    "connect_s": 0.0001,
    "round_trips_s": [0.0002] * 15,
    "bursts_s": [0.0004] * 9,
    "echoed": True,
    "session_kept": True,
    "sent_while_away": 1100,
    "kept_while_away": 1100,
    "in_flight": 1100,
}


def heard(topic: str, *payloads: bytes, qos: int = 1, retained: bool = False, ahead_ns: int = 0) -> HeardTopic:
    samples = [Delivery(topic.encode(), p, qos << 1 | retained, 0, NOW_NS - ahead_ns) for p in payloads]
    live = 0 if retained else len(samples)
    return HeardTopic(topic.encode(), live, len(samples) - live, live * (qos == 0), samples)


def observation(*topics: HeardTopic, chosen: bool = False, **changes: object) -> Observation:
    probes = Probes(**WELL | {k: v for k, v in changes.items() if k in Probes.__dataclass_fields__})  # type: ignore[arg-type]
    broker = BrokerSettings.model_validate({k: v for k, v in changes.items() if k in BrokerSettings.model_fields})
    filters = ("sensors/#",) if chosen else ("#",)
    subscriptions = tuple(SubscriptionSettings(filter=f) for f in changes.get("filters", filters))  # type: ignore[attr-defined]
    settings = Settings(broker=broker, subscriptions=subscriptions)
    seen = Observation(settings, tuple(s.filter for s in subscriptions), chosen, 10.0, list(topics), probes=probes)
    seen.granted = changes.get("granted", (1,))  # type: ignore[assignment]
    seen.listening_refused = changes.get("listening_refused")  # type: ignore[assignment]
    return seen


def found(seen: Observation) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings_of(seen)}


FEED = heard("plant/pump", b"21.5", b"21.6")


def test_all_well_is_no_finding() -> None:
    seen = observation(FEED, heard("plant/air", b'{"temperature": 20.5}'))
    assert found(seen) == {}
    assert Report("host:1883", seen, [], [], []).exit_code == 0


@pytest.mark.parametrize(
    ("changes", "check", "severity", "words"),
    [
        ({"url": "mqtt://10.0.0.1"}, "unencrypted", "warning", "All readings travel to 10.0.0.1 in plain text"),
        ({"url": "mqtt://plant", "username": "u"}, "unencrypted", "warning", "The password and all readings travel"),
        ({"certificate_days": 12.4}, "certificate", "warning", "expires in 12 days"),
        ({"session_kept": False}, "session", "error", "forgets our session"),
        ({"limits": {"SessionExpiryInterval": 60}}, "session", "warning", "keeps a session for 60 s at most"),
        ({"kept_while_away": 1000}, "queue", "error", "Of 1100 messages .* kept 1000"),
        ({"in_flight": 20}, "in_flight", "warning", "sends 20 messages and then waits"),
        ({"limits": {"ReceiveMaximum": 20}}, "in_flight", "warning", "takes 20 of our forecasts"),
        ({"bursts_s": [0.0418] * 9}, "nagle", "warning", "four at once after 41.8 ms"),
        ({"echoed": False}, "output", "error", "below stepahead/v1/ does not come back: .* in silence"),
        ({"echoed": False, "refused": "no way"}, "output", "error", "Forecasts will not get through: no way"),
        ({"limits": {"MaximumQoS": 0}}, "abilities", "error", "knows QoS 0 only"),
        ({"limits": {"RetainAvailable": 0}}, "abilities", "error", "no retained messages"),
        ({"limits": {"WildcardSubscriptionAvailable": 0}}, "abilities", "error", "does not support wildcards"),
        ({"limits": {"MaximumPacketSize": 512}}, "abilities", "warning", "packets of 512 bytes"),
        ({"granted": (0,)}, "subscription", "warning", "asked for QoS 1 on '#', the broker grants QoS 0"),
        ({"listening_refused": "the broker refuses"}, "subscription", "error", "^The broker refuses"),
        ({"qos": 0}, "qos0", "warning", "broker.qos is 0"),
    ],
)
def test_what_is_wrong_with_a_broker_is_found(
    changes: dict[str, object], check: str, severity: str, words: str
) -> None:
    seen = observation(FEED, **changes)
    findings = found(seen)
    assert set(findings) == {check}
    assert findings[check].severity == Severity(severity)
    assert re.search(words, findings[check].what), findings[check].what
    assert findings[check].do.endswith(".")
    assert Report("host:1883", seen, list(findings.values()), [], []).exit_code == 1


def later(seconds: float) -> bytes:
    return json.dumps({"ts": NOW_NS // 10**9 + seconds, "value": 1}).encode()


FORECAST = b'{"series":"a","issued_at":1,"valid_at":2,"value":3,"observed":1,"anomaly":false,"id":"9f"}'


@pytest.mark.parametrize(
    ("topics", "check", "severity", "words"),
    [
        ([], "silence", "warning", r"Nothing came on '#' in 10 s"),
        ([heard("x", FORECAST)], "own_output", "warning", r"1 topic \(x\) holds forecasts of another stepahead"),
        ([heard("x", b"1", qos=0), FEED], "qos0", "warning", r"1 topic \(x\) is published at QoS 0"),
        ([heard("x", later(60)), FEED], "clock", "warning", r"1 topic \(x\) are ahead of our clock, by 60 s"),
        ([heard("x", later(-7200)), FEED], "clock", "warning", r"are behind our clock, by 2.0 h"),
        ([heard("x", b"\x08\x96\x01"), FEED], "not_understood", "warning", r"x: '\\x08\\x96\\x01' is "),
        ([heard("x", b"{broken"), FEED], "not_understood", "warning", r"x: '\{broken' is neither a number nor JSON"),
        ([heard("x", b'{"name": "a"}'), FEED], "no_readings", "note", r"no number where a reading should be"),
        ([heard("x", later(200_000)), FEED], "no_readings", "warning", r"loses all readings; .* a day ahead"),
        ([heard("x", b'{"a": 1, "b": NaN}'), FEED], "some_lost", "note", r"is read in part; .* NaN or infinite"),
    ],
)
def test_what_is_wrong_with_feeds_is_found(topics: list[HeardTopic], check: str, severity: str, words: str) -> None:
    findings = found(observation(*topics))
    assert set(findings) == {check}
    assert findings[check].severity == Severity(severity)
    assert re.search(words, findings[check].what), findings[check].what


def test_a_payload_that_is_no_text_and_no_number_is_shown_in_a_line() -> None:
    topic = heard("x", b"\x00\n\xff" + b"a" * 100)
    assert topic.shown == "\\x00\\n\\xff" + "a" * 57 + "…"


def test_the_clock_is_ours_when_all_disagree() -> None:
    findings = found(observation(heard("x", later(60)), heard("y", later(60))))
    assert findings["clock"].do == "All are: check the clock of this machine."


def test_our_output_in_our_input_is_what_run_refuses() -> None:
    findings = found(observation(FEED, chosen=True, filters=("stepahead/#", "plant/#")))
    assert "topic filter 'stepahead/#' also matches our own output" in findings["own_output"].what
    assert findings["own_output"].severity is Severity.ERROR


@pytest.mark.parametrize(("protocol", "severity"), [("3.1.1", Severity.WARNING), ("5", Severity.NOTE)])
def test_a_flood_of_retained_messages(protocol: str, severity: Severity) -> None:
    topics = [heard(f"x/{i}", b"1", retained=True) for i in range(RetainedFlood.MANY)]
    findings = found(observation(*topics, protocol=protocol))
    assert findings["retained"].severity is severity
    assert findings["retained"].what.startswith(f"{RetainedFlood.MANY} retained messages")
    assert "retained" not in found(observation(*topics[1:], protocol=protocol))


class Script:
    """A session that delivers what it is told, one list a call, each a second later."""

    def __init__(self, batches: Sequence[list[Delivery]]) -> None:
        self.batches = list(batches)
        self.acknowledged = 0
        self.now_s = 0.0

    def receive(self, timeout_s: float, max_messages: int) -> list[Delivery]:
        self.now_s += 1.0
        return self.batches.pop(0) if self.batches else []

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        self.acknowledged += len(deliveries)


def test_listening_counts_everything_and_keeps_a_few() -> None:
    live = [Delivery(b"a/b", b"%d" % i, 2, 0, NOW_NS) for i in range(40)]
    kept = [Delivery(b"a/b", b"old", 3, 0, NOW_NS)] * 2
    own = [Delivery(b"stepahead/v1/status", b"{}", 2, 0, NOW_NS)]
    loose = [Delivery(b"a/c", b"1", 0, 0, NOW_NS)]
    script, seen = Script([live, own, loose]), observation()
    listen(script, seen, kept, lambda: script.now_s)
    assert script.acknowledged == 44
    first, second = seen.heard
    assert (first.name, first.live, first.retained, first.at_most_once) == ("a/b", 40, 2, 0)
    assert [m.payload for m in first.samples] == [b"old", *(b"%d" % i for i in range(LIVE_SAMPLES))]
    assert (second.name, second.live, second.at_most_once) == ("a/c", 1, 1)
    assert seen.own_output == 1
    assert script.now_s == 10.0
