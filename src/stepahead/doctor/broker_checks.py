"""What may be wrong with a broker for us: one class for each."""

from collections.abc import Iterator
from ipaddress import ip_address
from statistics import median

from stepahead.doctor.finding import Finding, Severity
from stepahead.doctor.observation import Observation
from stepahead.wire.address import parse_address

__all__ = ["BROKER_CHECKS"]

SHIPPED = "deploy/mosquitto/stepahead.conf has the settings for mosquitto"


class Unencrypted:
    """Passwords and readings in plain text over a network."""

    name = "unencrypted"

    def look(self, seen: Observation) -> Iterator[Finding]:
        """One finding at most."""
        address = parse_address(seen.settings.broker.url)
        if address.tls or is_loopback(address.host):
            return
        secret = "The password and all readings travel" if seen.settings.broker.username else "All readings travel"
        what = f"{secret} to {address.host} in plain text."
        yield Finding(self.name, Severity.WARNING, what, "Use mqtts://, and give the broker a certificate.")


class Certificate:
    """A certificate that is about to expire: then nobody connects any more."""

    name = "certificate"
    SOON_DAYS = 30

    def look(self, seen: Observation) -> Iterator[Finding]:
        """One finding at most."""
        days = seen.probes.certificate_days
        if days is not None and days < self.SOON_DAYS:
            what = f"The broker's certificate expires in {max(days, 0):.0f} days; after that no connection is made."
            yield Finding(self.name, Severity.WARNING, what, "Renew it.")


class PersistentSession:
    """The broker must keep our session while we are away."""

    name = "session"

    def look(self, seen: Observation) -> Iterator[Finding]:
        """Two findings at most."""
        if seen.probes.session_kept is False:
            what = "The broker forgets our session when we are away: what comes meanwhile is lost."
            do = f"Allow persistent sessions for this client; {SHIPPED}."
            yield Finding(self.name, Severity.ERROR, what, do)
        expiry_s, asked_s = seen.probes.limits.get("SessionExpiryInterval"), seen.settings.broker.session_expiry_s
        if expiry_s is not None and expiry_s < min(asked_s, 300):  # the session that asked wanted no more
            what = f"The broker keeps a session for {expiry_s} s at most: a longer absence loses readings."
            yield Finding(self.name, Severity.WARNING, what, "Raise its limit of the session expiry.")


class Queue:
    """What waits for us while we are away must not be cut short."""

    name = "queue"

    def look(self, seen: Observation) -> Iterator[Finding]:
        """One finding at most."""
        sent, kept = seen.probes.sent_while_away, seen.probes.kept_while_away
        if sent and kept is not None and kept < sent:
            what = f"Of {sent} messages that came while we were away the broker kept {kept}: the rest is lost."
            yield Finding(self.name, Severity.ERROR, what, f"Lift max_queued_messages; {SHIPPED}.")


class InFlight:
    """How many messages may be unacknowledged, either way."""

    name = "in_flight"
    ENOUGH = 1000

    def look(self, seen: Observation) -> Iterator[Finding]:
        """Two findings at most."""
        probes = seen.probes
        enough = min(self.ENOUGH, probes.kept_while_away or 0)
        if probes.in_flight is not None and probes.in_flight < enough:
            what = (
                f"The broker sends {probes.in_flight} messages and then waits for an acknowledgement, which we give "
                "only when readings are on disk."
            )
            yield Finding(self.name, Severity.WARNING, what, f"Raise max_inflight_messages; {SHIPPED}.")
        maximum = probes.limits.get("ReceiveMaximum")
        if maximum is not None and maximum < self.ENOUGH:
            what = f"The broker takes {maximum} of our forecasts and then lets us wait for its acknowledgement."
            yield Finding(self.name, Severity.WARNING, what, f"Raise max_inflight_messages; {SHIPPED}.")


class SmallPackets:
    """Nagle's algorithm at the broker's side delays each small message."""

    name = "nagle"
    HELD_BACK_S = 0.025
    """Kernels delay an acknowledgement by 40 ms or more."""

    def look(self, seen: Observation) -> Iterator[Finding]:
        """One finding at most."""
        probes = seen.probes
        if not probes.bursts_s or not probes.round_trips_s:
            return
        one_s, four_s = median(probes.round_trips_s), median(probes.bursts_s)
        if four_s > 2 * one_s + self.HELD_BACK_S:
            what = (
                f"One message is back after {one_s * 1e3:.1f} ms, four at once after {four_s * 1e3:.1f} ms: the broker "
                "holds small packets back (Nagle's algorithm)."
            )
            yield Finding(self.name, Severity.WARNING, what, f"Set set_tcp_nodelay true; {SHIPPED}.")


class OutputDenied:
    """What we publish must get through. MQTT 3.1.1 has no way to say that it does not: it is tried out."""

    name = "output"

    def look(self, seen: Observation) -> Iterator[Finding]:
        """One finding at most."""
        if seen.probes.echoed is not False:
            return
        prefix = seen.settings.publish.prefix
        if seen.probes.refused is not None:
            what = f"Forecasts will not get through: {seen.probes.refused}."
        else:
            what = (
                f"What we publish below {prefix}/ does not come back: the broker's rules (ACL) deny writing or reading "
                "it, in silence."
            )
        do = f"Let this user write {prefix}/# (and read it, or this check cannot see that it works)."
        yield Finding(self.name, Severity.ERROR, what, do)


class Abilities:
    """What a broker says that it cannot do (MQTT 5 §3.2.2.3)."""

    name = "abilities"

    def look(self, seen: Observation) -> Iterator[Finding]:
        """One finding per missing ability."""
        limits = seen.probes.limits
        if limits.get("MaximumQoS") == 0:
            what = "The broker knows QoS 0 only: whatever is on its way when a connection breaks is lost."
            yield Finding(self.name, Severity.ERROR, what, "Use a broker that speaks QoS 1.")
        if limits.get("RetainAvailable") == 0:
            what = "The broker keeps no retained messages: our status and last will need them, and it will refuse us."
            yield Finding(self.name, Severity.ERROR, what, "Turn retained messages on.")
        if limits.get("WildcardSubscriptionAvailable") == 0 and any(set("+#") & set(f) for f in seen.filters):
            what = "The broker does not support wildcards in subscriptions."
            yield Finding(self.name, Severity.ERROR, what, "Subscribe to each topic by its whole name.")
        size = limits.get("MaximumPacketSize")
        if size is not None and size < 2000:
            what = f"The broker takes packets of {size} bytes at most: a forecast may not fit."
            yield Finding(self.name, Severity.WARNING, what, "Raise its limit to 2,000 bytes or more.")


class Granted:
    """The broker may grant less than we asked for, or nothing."""

    name = "subscription"

    def look(self, seen: Observation) -> Iterator[Finding]:
        """One finding per filter, and one for all when we may not listen."""
        if seen.listening_refused is not None:
            do = "Name filters that this user may read with --subscribe." if not seen.chosen else "Change the rules."
            yield Finding(
                self.name, Severity.ERROR, f"{seen.listening_refused[0].upper()}{seen.listening_refused[1:]}.", do
            )
        for topic_filter, qos in zip(seen.filters, seen.granted, strict=False):
            if qos < seen.settings.broker.qos:
                what = f"We asked for QoS {seen.settings.broker.qos} on {topic_filter!r}, the broker grants QoS {qos}."
                yield Finding(self.name, Severity.WARNING, what, "Raise the broker's highest QoS.")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its name or number.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("10.0.0.1")
        (True, True, True, False)
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


BROKER_CHECKS = (
    Unencrypted(),
    Certificate(),
    PersistentSession(),
    Queue(),
    InFlight(),
    SmallPackets(),
    OutputDenied(),
    Abilities(),
    Granted(),
)
"""In the order in which they are told."""
