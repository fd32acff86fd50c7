"""Why the broker refused or left us, in plain words, and whether trying again can help."""

import ssl
from collections.abc import Mapping

from paho.mqtt.client import WebsocketConnectionError
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

__all__ = [
    "TOO_LARGE",
    "connect_error_text",
    "disconnect_text",
    "is_final_alert",
    "is_final_error",
    "is_final_refusal",
    "publish_text",
    "refusal_text",
    "subscription_text",
    "unanswered_tls_text",
]

TOO_LARGE = 149
"""Packet too large (MQTT 5 §2.4)."""

# MQTT 5 §3.2.2.2; paho translates the return codes of MQTT 3.1.1 §3.2.2.3 into these.
FINAL_REFUSALS = frozenset({132, 133, 134, 135, 138, 140, 144, 149, 153, 154, 155, 156, 157})
REFUSAL_WORDS = {
    132: "it does not speak this MQTT version; set broker.protocol to the other one",
    133: "it does not accept the client id; choose another broker.client_id",
    134: "user name or password is wrong",
    135: "user name or password is wrong, or this client may not connect",
    136: "it is not ready",
    137: "it is busy",
    151: "a quota is exceeded",
    159: "clients connect too often",
    138: "this client is banned",
    140: "it asks for a way of authentication that stepahead does not speak",
    144: "it does not accept the topic of our last will; see publish.prefix",
    149: "our CONNECT packet is too large for it",
    154: "it does not keep retained messages, which our last will needs",
    155: "it does not support the QoS of our last will",
    156: "it says to use another server for now",
    157: "it says that it has moved to another server",
}
DISCONNECT_WORDS = {
    129: "it found our packet malformed",
    130: "it says that we broke the protocol",
    131: "it could not work on our packet",
    135: "we may not do what we tried",
    137: "it is busy",
    139: "it is shutting down",
    141: "it heard nothing from us for too long",
    142: "another client connected with the same client id",
    143: "it does not accept a topic filter of ours",
    144: "it does not accept a topic of ours",
    147: "we sent more unacknowledged messages than it allows",
    148: "it does not know a topic alias that we used",
    149: "a packet of ours is too large for it",
    150: "we send too fast for it",
    151: "a quota is exceeded",
    152: "its administrator closed it",
    153: "a payload of ours is not what we said it is",
    154: "it does not keep retained messages; set publish.retain = false",
    155: "it does not support QoS 1; set broker.qos = 0",
    156: "it says to use another server for now",
    157: "it says that it has moved to another server",
    158: "it does not support shared subscriptions",
    159: "clients connect too often",
    160: "it limits how long a connection may last",
    161: "it does not support subscription identifiers",
    162: "it does not support wildcards in topic filters",
}
# MQTT 5 §3.4.2.1.
PUBLISH_WORDS = {
    128: "it does not say why",
    131: "its own rules forbid it",
    135: "not authorised; its rules (ACL) must let us write below publish.prefix",
    144: "it does not accept the topic; see publish.prefix and publish.topic",
    145: "it thinks the packet identifier in use",
    TOO_LARGE: "larger than it takes, so not sent; with publish.mode = batch, let smaller messages come in",
    151: "a quota is exceeded",
    153: "the payload is not what we said it is",
}
# MQTT 5 §3.9.3; MQTT 3.1.1 knows 128 alone.
SUBSCRIPTION_WORDS = {
    128: "it does not say why; often its rules (ACL) forbid it",
    131: "its own rules forbid it",
    135: "not authorised; its rules (ACL) must let us read it",
    143: "it does not accept the filter",
    145: "it thinks the packet identifier in use",
    151: "a quota is exceeded",
    158: "it does not support shared subscriptions",
    161: "it does not support subscription identifiers",
    162: "it does not support wildcards",
}
MOST_OWN_WORDS = 200
# RFC 8446 §6.2 by OpenSSL's names: what the broker thinks of our certificate.
ALERT_WORDS = {
    "CERTIFICATE_REQUIRED": "it asks for a client certificate; set broker.cert_file and broker.key_file",
    "CERTIFICATE_REVOKED": "our client certificate is revoked",
    "CERTIFICATE_EXPIRED": "our client certificate has expired",
    "CERTIFICATE_UNKNOWN": "it does not accept our client certificate",
    "BAD_CERTIFICATE": "it does not accept our client certificate",
    "UNSUPPORTED_CERTIFICATE": "it does not support our client certificate",
    "UNKNOWN_CA": "it does not know the authority that issued our client certificate",
    "ACCESS_DENIED": "it denies access to our client certificate",
}


def is_final_refusal(reason: ReasonCode) -> bool:
    """Whether the same CONNECT would be refused again: a matter of settings, not of time."""
    return reason.value in FINAL_REFUSALS


def own_words(properties: Properties | None) -> str:
    """What the broker adds in its own words (MQTT 5, Reason String), cut short and on one line; "" if nothing."""
    told = getattr(properties, "ReasonString", None)
    if not isinstance(told, str) or not told.strip():
        return ""
    line = "".join(c if c.isprintable() else " " for c in told[:MOST_OWN_WORDS])
    return f" (it says: {line.strip()})"


def refusal_text(address: str, reason: ReasonCode, properties: Properties | None = None) -> str:
    """A sentence for a CONNACK that says no."""
    words = REFUSAL_WORDS.get(reason.value, str(reason).lower())
    return f"the broker at {address} refused the connection: {words}{own_words(properties)}"


def disconnect_text(address: str, reason: ReasonCode, from_broker: bool, properties: Properties | None = None) -> str:
    """A sentence for the end of a connection."""
    if from_broker:
        words = DISCONNECT_WORDS.get(reason.value, str(reason).lower())
        return f"the broker at {address} closed the connection: {words}{own_words(properties)}"
    if reason.value == 141:
        return f"the broker at {address} did not answer a ping"
    if reason.value == 0:
        return f"disconnected from {address}"
    return f"the connection to {address} was lost"


def is_final_error(error: OSError) -> bool:
    """Whether an error while connecting is a matter of trust or of settings rather than of time."""
    return isinstance(error, ssl.SSLCertVerificationError) or (
        isinstance(error, ssl.SSLError) and is_final_alert(error)
    )


def connect_error_text(address: str, error: OSError) -> str:
    """A sentence for an error while connecting."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of the broker at {address} is not trusted: {error.verify_message}"
    if alert_words(error if isinstance(error, ssl.SSLError) else None) is not None:
        return unanswered_tls_text(address, error)  # type: ignore[arg-type]  # TLS 1.2 says it within the handshake
    if isinstance(error, ssl.SSLError):
        return f"TLS with the broker at {address} failed: {getattr(error, 'reason', None) or error.args[-1]}"
    if isinstance(error, WebsocketConnectionError):
        return f"the broker at {address} did not take us over from HTTP; does it speak WebSockets?"
    if isinstance(error, TimeoutError):
        return f"the broker at {address} does not answer"
    return f"cannot reach the broker at {address}: {error.strerror or error}"


def publish_text(address: str, code: int) -> str:
    """A sentence for a PUBACK that says no.

    Example:
        >>> publish_text("plant:8883", 151)
        'the broker at plant:8883 refuses what we publish: a quota is exceeded'
    """
    return f"the broker at {address} refuses what we publish: {PUBLISH_WORDS.get(code, f'reason {code}')}"


def subscription_text(address: str, refused: Mapping[str, ReasonCode], properties: Properties | None = None) -> str:
    """A sentence for a SUBACK that says no to some filters."""
    words = [SUBSCRIPTION_WORDS.get(reason.value, str(reason).lower()) for reason in refused.values()]
    filters = ", ".join(map(repr, refused))
    return (
        f"the broker at {address} refuses the subscription to {filters}: {'; '.join(dict.fromkeys(words))}"
        + own_words(properties)
    )


def alert_words(alert: ssl.SSLError | None) -> str | None:
    """What an alert says of our certificate; None when it speaks of something else or there is none."""
    name = (getattr(alert, "reason", None) or "").partition("ALERT_")[2]
    return ALERT_WORDS.get(name)


def is_final_alert(alert: ssl.SSLError | None) -> bool:
    """Whether the broker refuses our certificate, which is a matter of settings rather than of time."""
    return alert_words(alert) is not None


def unanswered_tls_text(address: str, alert: ssl.SSLError | None) -> str:
    """A sentence for an encrypted connection that ended before the broker answered our CONNECT."""
    words = alert_words(alert)
    if words is not None:
        return f"the broker at {address} refused the connection: {words}"
    if alert is not None:
        return f"TLS with the broker at {address} failed: {alert.reason or alert.args[-1]}"
    return (
        f"the broker at {address} closed the encrypted connection without an answer; does it ask for a client "
        "certificate (broker.cert_file)?"
    )
