"""What may be wrong with the feeds for us: one class for each."""

from collections.abc import Iterator, Sequence

import msgspec

from stepahead.contract.reasons import Reason
from stepahead.doctor.finding import Finding, Severity
from stepahead.doctor.observation import Observation
from stepahead.doctor.understanding import UNDECODED, Understood
from stepahead.wire.topic_template import OwnTopics, own_output_error
from stepahead.wire.topics import parse_filter

__all__ = ["FEED_CHECKS"]

REASON_WORDS = {
    Reason.NO_READING: "no number where a reading should be",
    Reason.VALUE_MISSING: "empty",
    Reason.VALUE_NOT_NUMBER: "text, not a number",
    Reason.VALUE_NOT_FINITE: "NaN or infinite",
    Reason.VALUE_TOO_LARGE: "a number beyond float64",
    Reason.TIME_NOT_DECODABLE: "a time that cannot be read",
    Reason.TIME_ABSURD: "a time before 1971 or more than a day ahead",
    Reason.KEY_INVALID: "no key for the series",
    Reason.NOT_DECODABLE: "neither a number nor JSON",
    Reason.NOT_UTF8: "bytes that are no text",
    Reason.TOO_DEEP: "nested too deeply",
    Reason.TOO_LARGE: "larger than broker.max_payload_bytes",
}


class Silence:
    """Nothing came."""

    name = "silence"

    def look(self, seen: Observation, understood: Sequence[Understood]) -> Iterator[Finding]:
        """One finding at most."""
        if not seen.heard and seen.listening_refused is None:
            filters = ", ".join(map(repr, seen.filters))
            what = f"Nothing came on {filters} in {seen.seconds:g} s."
            do = "Check the filter and the broker's rules (ACL), or listen longer with --seconds."
            yield Finding(self.name, Severity.WARNING, what, do)


class OwnOutput:
    """Our forecasts must not become our readings."""

    name = "own_output"

    def look(self, seen: Observation, understood: Sequence[Understood]) -> Iterator[Finding]:
        """One finding for the filters, one for topics of another stepahead."""
        prefix = seen.settings.publish.prefix
        if seen.chosen:
            ours = {"publish.prefix": OwnTopics((*prefix.split("/"), "#"))}
            error = own_output_error([parse_filter(f) for f in seen.filters], ours)
            if error is not None:
                what = f"Our own output is in our input, and `run` will refuse to start: {error}."
                yield Finding(self.name, Severity.ERROR, what, "Subscribe to less, or change publish.prefix.")
        foreign = [topic for topic in understood if any(is_forecast(m.payload) for m in topic.heard.samples)]
        if foreign:
            what = f"{named(foreign, 'hold')} forecasts of another stepahead, which would be forecast in turn."
            yield Finding(self.name, Severity.WARNING, what, "Subscribe to less, so that they are not heard.")


class AtMostOnce:
    """Feeds at QoS 0 are lost whenever somebody is away."""

    name = "qos0"

    def look(self, seen: Observation, understood: Sequence[Understood]) -> Iterator[Finding]:
        """One finding at most."""
        if seen.settings.broker.qos == 0:
            what = "broker.qos is 0: readings that come while we are away are lost."
            yield Finding(self.name, Severity.WARNING, what, "Set broker.qos = 1.")
            return
        feeds = [topic for topic in understood if topic.readings and topic.heard.at_most_once]
        if feeds:
            what = f"{named(feeds, 'are')} published at QoS 0: what comes while we are away, or on its way, is lost."
            yield Finding(self.name, Severity.WARNING, what, "Let the sensors publish at QoS 1, where they can.")


class RetainedFlood:
    """With MQTT 3.1.1 every kept message comes again at every new session, as a reading that is long over."""

    name = "retained"
    MANY = 500

    def look(self, seen: Observation, understood: Sequence[Understood]) -> Iterator[Finding]:
        """One finding at most."""
        retained = sum(topic.retained for topic in seen.heard)
        if retained < self.MANY:
            return
        stale = sum(not topic.live for topic in seen.heard)
        what = f"{retained} retained messages came at once, {stale} of them of topics that said nothing since."
        if seen.settings.broker.protocol == "5":
            do = "Nothing: with MQTT 5 they come for new subscriptions only."
            yield Finding(self.name, Severity.NOTE, what, do)
        else:
            do = 'Set broker.protocol = "5", with which they come once and not at every start.'
            yield Finding(self.name, Severity.WARNING, what, do)


class ClockSkew:
    """A sensor's clock that is wrong, or ours."""

    name = "clock"
    AHEAD_S, BEHIND_S = 5.0, 300.0

    def look(self, seen: Observation, understood: Sequence[Understood]) -> Iterator[Finding]:
        """One finding for each direction."""
        timed = [topic for topic in understood if topic.ahead_s is not None]
        for way, wrong in (
            ("ahead of", [t for t in timed if (t.ahead_s or 0) > self.AHEAD_S]),
            ("behind", [t for t in timed if (t.ahead_s or 0) < -self.BEHIND_S]),
        ):
            if not wrong:
                continue
            worst = max(wrong, key=lambda topic: abs(topic.ahead_s or 0))
            what = f"The times of {named(wrong)} are {way} our clock, by {span(abs(worst.ahead_s or 0))} at worst."
            ours = len(wrong) == len(timed) and len(timed) > 1
            do = "All are: check the clock of this machine." if ours else "Check the sensors' clocks (and time zones)."
            yield Finding(self.name, Severity.WARNING, what, do)


class NotUnderstood:
    """Payloads that we cannot read."""

    name = "not_understood"

    def look(self, seen: Observation, understood: Sequence[Understood]) -> Iterator[Finding]:
        """One finding at most."""
        topics = [t for t in understood if not t.readings and UNDECODED & set(t.drops)]
        if topics:
            yield about(
                self.name, Severity.WARNING, topics, "are", "not understood", "Set `format`, or leave them out."
            )


class WithoutReadings:
    """Topics without a number, as a status or a name: harmless, and in the way."""

    name = "no_readings"

    def look(self, seen: Observation, understood: Sequence[Understood]) -> Iterator[Finding]:
        """One finding at most."""
        topics = [t for t in understood if not t.readings and t.drops and not UNDECODED & set(t.drops)]
        if not topics:
            return
        # Where times are at fault there are values, and they are lost.
        lost = [t for t in topics if {Reason.TIME_ABSURD, Reason.TIME_NOT_DECODABLE} & set(t.drops)]
        if lost:
            do = 'Name the field of the time with `time`, or set `time = ""` to take the time of arrival.'
            yield about(self.name, Severity.WARNING, lost, "lose", "all readings", do)
        rest = [t for t in topics if t not in lost]
        if rest:
            do = "Nothing, or subscribe to less; `booleans = true` takes ON and OFF as 1 and 0."
            yield about(self.name, Severity.NOTE, rest, "have", "no reading", do)


class SomeReadingsLost:
    """Topics of which a part is read."""

    name = "some_lost"

    def look(self, seen: Observation, understood: Sequence[Understood]) -> Iterator[Finding]:
        """One finding at most."""
        topics = [t for t in understood if t.readings and t.drops]
        if topics:
            do = "Leave out what is no reading with `ignore`, or name what is with `only`."
            yield about(self.name, Severity.NOTE, topics, "are", "read in part", do)


def about(check: str, severity: Severity, topics: Sequence[Understood], verb: str, what: str, do: str) -> Finding:
    """A finding about some topics, with one payload shown and the reason in words."""
    example = topics[0]
    reason = max(example.drops, key=lambda reason: example.drops[reason])
    shown = f"{example.heard.name}: '{example.heard.shown}' is {REASON_WORDS.get(reason, reason)}"
    return Finding(check, severity, f"{named(topics, verb)} {what}; for example {shown}.", do)


SINGULAR = {"are": "is", "have": "has", "hold": "holds", "lose": "loses"}


def named(topics: Sequence[Understood], verb: str = "") -> str:
    """Some topics in words, and what they do.

    Example:
        >>> from stepahead.contract.reasons import DropCounter
        >>> from stepahead.doctor.observation import HeardTopic
        >>> topics = [Understood(HeardTopic(name), "number", (), 1, DropCounter(), None) for name in (b"a", b"b", b"c")]
        >>> named(topics[:1], "are"), named(topics, "are"), named(topics)
        ('1 topic (a) is', '3 topics (a, b, …) are', '3 topics (a, b, …)')
    """
    names = ", ".join(topic.heard.name for topic in topics[:2])
    many = len(topics) > 1
    said = f"{len(topics)} topic{'s' * many} ({names}{', …' if len(topics) > 2 else ''})"
    return f"{said} {verb if many else SINGULAR[verb]}" if verb else said


def span(seconds: float) -> str:
    """A time in words.

    Example:
        >>> span(12), span(7200), span(200_000)
        ('12 s', '2.0 h', '2.3 days')
    """
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * 86_400 else f"{seconds / 86_400:.1f} days"


def is_forecast(payload: bytes) -> bool:
    """Whether a payload is what `wire.encoder` writes, whatever the topic.

    Example:
        >>> is_forecast(b'{"series":"a","issued_at":1,"valid_at":2,"value":3,"id":"9f"}'), is_forecast(b"21.5")
        (True, False)
    """
    if b'"valid_at"' not in payload:
        return False
    try:
        document = msgspec.json.decode(payload)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and {"series", "issued_at", "valid_at", "value", "id"} <= document.keys()


FEED_CHECKS = (
    Silence(),
    OwnOutput(),
    AtMostOnce(),
    RetainedFlood(),
    ClockSkew(),
    NotUnderstood(),
    WithoutReadings(),
    SomeReadingsLost(),
)
"""In the order in which they are told."""
