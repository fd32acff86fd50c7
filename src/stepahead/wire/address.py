"""Where the broker is and how we prove who we are: URL, user and password, TLS."""

import socket
import ssl
from typing import NamedTuple
from urllib.parse import urlsplit

from stepahead.contract.errors import SettingsError
from stepahead.contract.settings import BrokerSettings

__all__ = ["Address", "HandshakingContext", "parse_address", "read_password", "tls_context"]

DEFAULT_PORT = {"mqtt": 1883, "mqtts": 8883}
CONNECT_TIMEOUT_S = 3.0
"""Bound of one attempt, below the 5 s within which a stop must be through."""


class Address(NamedTuple):
    """Host, port and whether the connection is encrypted."""

    host: str
    port: int
    tls: bool


def parse_address(url: str) -> Address:
    """Take a broker URL apart.

    Args:
        url: `mqtt://host[:port]` (port 1883) or `mqtts://host[:port]` (TLS, port 8883).

    Raises:
        SettingsError: the URL names no host, an impossible port, or carries more than host and port.

    Example:
        >>> parse_address("mqtts://[::1]")
        Address(host='::1', port=8883, tls=True)
    """
    allowed = "mqtt://HOST[:PORT] or mqtts://HOST[:PORT]"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SettingsError(f"broker.url is malformed ({error}); allowed: {allowed}") from None
    if parts.username is not None or parts.password is not None:
        # The URL is not repeated in the text: it may hold the password.
        raise SettingsError("broker.url must not carry user or password; use broker.username and broker.password_file")
    if parts.scheme not in DEFAULT_PORT or not parts.hostname or parts.path.strip("/") or parts.query or port == 0:
        raise SettingsError(f"broker.url = {url!r}; allowed: {allowed}")
    return Address(parts.hostname, port or DEFAULT_PORT[parts.scheme], parts.scheme == "mqtts")


def read_password(settings: BrokerSettings) -> str | None:
    """The password from the settings or from `password_file` (one trailing line end is not part of it).

    Raises:
        SettingsError: the file cannot be read.
    """
    if settings.password_file is None:
        return None if settings.password is None else settings.password.get_secret_value()
    try:
        return settings.password_file.read_text("utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(
            f"broker.password_file = {str(settings.password_file)!r} cannot be read: {reason}"
        ) from None


class HandshakingContext(ssl.SSLContext):
    """A TLS context that finishes the handshake inside `wrap_socket` and closes the socket when it fails.

    paho leaves the descriptor of a failed handshake to the garbage collector; a broker with a wrong certificate
    would cost one descriptor per attempt.
    """

    def wrap_socket(  # type: ignore[override]  # the signature is the base's, less what paho does not pass
        self, sock: socket.socket, server_hostname: str | None = None, do_handshake_on_connect: bool = True
    ) -> ssl.SSLSocket:
        """Wrap a connected socket and verify the peer, in at most `CONNECT_TIMEOUT_S` per network wait."""
        try:
            sock.settimeout(CONNECT_TIMEOUT_S)
            return super().wrap_socket(sock, server_hostname=server_hostname, do_handshake_on_connect=True)
        except ConnectionError as error:
            sock.close()
            raise ssl.SSLError(
                f"the handshake was cut off ({error.strerror or 'closed'}); does it speak TLS?"
            ) from error
        except BaseException:
            sock.close()
            raise


def tls_context(settings: BrokerSettings) -> ssl.SSLContext:
    """A client context that always verifies certificate and host name, TLS 1.2 or newer.

    Raises:
        SettingsError: a file with certificates or a key cannot be used.
    """
    context = HandshakingContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if settings.ca_file is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            context.load_verify_locations(settings.ca_file)
    except OSError as error:
        raise SettingsError(
            f"broker.ca_file = {str(settings.ca_file)!r} cannot be used: {error.strerror or error}"
        ) from None
    if settings.cert_file is not None:
        try:
            context.load_cert_chain(settings.cert_file, settings.key_file, password=lambda: "")
        except OSError as error:
            files = f"broker.cert_file = {str(settings.cert_file)!r} with key_file = {str(settings.key_file)!r}"
            raise SettingsError(f"{files} cannot be used: {error.strerror or error}") from None
    return context
