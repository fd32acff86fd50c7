"""What a broker says of itself when it accepts us: how much it takes, and what it does not do."""

from typing import Any, NamedTuple

from paho.mqtt.properties import Properties

__all__ = ["IDENTIFIERS", "Welcome", "read_welcome"]

IDENTIFIERS = 60_000
"""QoS 1 messages in flight at most: below the 65,535 packet identifiers that MQTT has."""


class Welcome(NamedTuple):
    """The properties of a CONNACK that bind us (MQTT 5 §3.2.2.3); of MQTT 3.1.1 nothing is known.

    Attributes:
        window: QoS 1 messages that may be in flight (Receive Maximum).
        alias_maximum: topics that may have an alias.
        packet_bytes: longest packet that the broker takes; none = any.
        maximum_qos: 0 or 1.
        notes: what else is worth a line in the log, in plain words.
    """

    window: int
    alias_maximum: int
    packet_bytes: int | None
    maximum_qos: int
    notes: tuple[str, ...]


def read_welcome(properties: Properties | None, session_expiry_s: int) -> Welcome:
    """Read a CONNACK's properties.

    Args:
        properties: of the CONNACK; none with MQTT 3.1.1.
        session_expiry_s: how long we asked the broker to keep our session.
    """

    def given(name: str, default: Any) -> Any:
        return getattr(properties, name, default)

    notes = []
    expiry_s = given("SessionExpiryInterval", session_expiry_s)
    if expiry_s < session_expiry_s:
        notes.append(f"it keeps our session for {expiry_s} s only, not for broker.session_expiry_s")
    if not given("RetainAvailable", 1):
        notes.append("it keeps no retained messages")
    if not given("SharedSubscriptionAvailable", 1):
        notes.append("it knows no shared subscriptions")
    if not given("WildcardSubscriptionAvailable", 1):
        notes.append("it knows no wildcards")
    return Welcome(
        min(IDENTIFIERS, given("ReceiveMaximum", IDENTIFIERS)),
        given("TopicAliasMaximum", 0),
        given("MaximumPacketSize", None),
        min(1, given("MaximumQoS", 1)),
        tuple(notes),
    )
