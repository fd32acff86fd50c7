"""Why the broker refused or left us, in plain words, and whether trying again can help."""

import ssl

from paho.mqtt.reasoncodes import ReasonCode

__all__ = ["connect_error_text", "disconnect_text", "is_final_error", "is_final_refusal", "refusal_text"]

# MQTT 5 §3.2.2.2; paho translates the return codes of MQTT 3.1.1 §3.2.2.3 into these.
FINAL_REFUSALS = frozenset({132, 133, 134, 135, 138, 140, 144, 149, 153, 154, 155, 156, 157})
REFUSAL_WORDS = {
    132: "it does not speak this MQTT version; set broker.protocol to the other one",
    133: "it does not accept the client id; choose another broker.client_id",
    134: "user name or password is wrong",
    135: "user name or password is wrong, or this client may not connect",
    136: "it is not ready",
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
    139: "it is shutting down",
    141: "it heard nothing from us for too long",
    142: "another client connected with the same client id",
    147: "we sent more unacknowledged messages than it allows",
    151: "a quota is exceeded",
}


def is_final_refusal(reason: ReasonCode) -> bool:
    """Whether the same CONNECT would be refused again: a matter of settings, not of time."""
    return reason.value in FINAL_REFUSALS


def refusal_text(address: str, reason: ReasonCode) -> str:
    """A sentence for a CONNACK that says no."""
    words = REFUSAL_WORDS.get(reason.value, str(reason).lower())
    return f"the broker at {address} refused the connection: {words}"


def disconnect_text(address: str, reason: ReasonCode, from_broker: bool) -> str:
    """A sentence for the end of a connection."""
    if from_broker:
        words = DISCONNECT_WORDS.get(reason.value, str(reason).lower())
        return f"the broker at {address} closed the connection: {words}"
    if reason.value == 141:
        return f"the broker at {address} did not answer a ping"
    if reason.value == 0:
        return f"disconnected from {address}"
    return f"the connection to {address} was lost"


def is_final_error(error: OSError) -> bool:
    """Whether an error while connecting is a matter of trust or of settings rather than of time."""
    return isinstance(error, ssl.SSLCertVerificationError)


def connect_error_text(address: str, error: OSError) -> str:
    """A sentence for an error while connecting."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of the broker at {address} is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS with the broker at {address} failed: {getattr(error, 'reason', None) or error.args[-1]}"
    if isinstance(error, TimeoutError):
        return f"the broker at {address} does not answer"
    return f"cannot reach the broker at {address}: {error.strerror or error}"
