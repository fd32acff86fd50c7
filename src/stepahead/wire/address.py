"""Where the broker is and how we prove who we are: URL, user and password, TLS."""

import socket
import ssl
from typing import NamedTuple
from urllib.parse import urlsplit

from stepahead.contract.errors import SettingsError
from stepahead.contract.settings import BrokerSettings

__all__ = ["Address", "HandshakingContext", "parse_address", "read_password", "tls_context"]

DEFAULT_PORT = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
WEBSOCKET_PATH = "/mqtt"
"""Where brokers listen by custom."""
CONNECT_TIMEOUT_S = 3.0
"""Bound of one attempt, below the 5 s within which a stop must be through."""


class Address(NamedTuple):
    """Host, port, whether the connection is encrypted, and the path when it is a WebSocket."""

    host: str
    port: int
    tls: bool
    websocket_path: str | None = None


def parse_address(url: str) -> Address:
    """Take a broker URL apart.

    Args:
        url: `mqtt://host[:port]` (port 1883) or `mqtts://host[:port]` (TLS, port 8883); `ws://host[:port][/path]`
            (port 80) or `wss://host[:port][/path]` (TLS, port 443) over WebSockets (MQTT 3.1.1 §6), path `/mqtt`.

    Raises:
        SettingsError: the URL names no host, an impossible port, or carries more than host and port.

    Example:
        >>> parse_address("mqtts://[::1]")
        Address(host='::1', port=8883, tls=True, websocket_path=None)
        >>> parse_address("ws://broker.example:9001").websocket_path
        '/mqtt'
    """
    allowed = "mqtt://HOST[:PORT], mqtts://HOST[:PORT], ws://HOST[:PORT][/PATH] or wss://HOST[:PORT][/PATH]"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SettingsError(f"broker.url is malformed ({error}); allowed: {allowed}") from None
    if parts.username is not None or parts.password is not None:
        # The URL is not repeated in the text: it may hold the password.
        raise SettingsError("broker.url must not carry user or password; use broker.username and broker.password_file")
    websocket = parts.scheme in ("ws", "wss")
    more = parts.path.strip("/") and not websocket
    if parts.scheme not in DEFAULT_PORT or not parts.hostname or more or parts.query or parts.fragment or port == 0:
        raise SettingsError(f"broker.url = {url!r}; allowed: {allowed}")
    path = (parts.path.rstrip("/") or WEBSOCKET_PATH) if websocket else None
    return Address(parts.hostname, port or DEFAULT_PORT[parts.scheme], parts.scheme in ("mqtts", "wss"), path)


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


class HeedfulSocket(ssl.SSLSocket):
    """A TLS socket that tells its context with which alert the peer ended the connection.

    In TLS 1.3 our side of the handshake is over before the broker has looked at our certificate: its refusal comes
    as an alert at the first read (RFC 8446 §4.4.2.4), where paho sees no more than a lost connection.
    """

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """As the base's; an error is noted on the way."""
        try:
            return super().recv(buflen, flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            if isinstance(self.context, HandshakingContext):
                self.context.alert = error
            raise


class HandshakingContext(ssl.SSLContext):
    """A TLS context that finishes the handshake inside `wrap_socket` and closes the socket when it fails.

    paho leaves the descriptor of a failed handshake to the garbage collector; a broker with a wrong certificate
    would cost one descriptor per attempt.

    Attributes:
        alert: with what the present connection ended, if that was an error of TLS.
    """

    alert: ssl.SSLError | None = None
    sslsocket_class = HeedfulSocket

    def wrap_socket(  # type: ignore[override]  # the signature is the base's, less what paho does not pass
        self, sock: socket.socket, server_hostname: str | None = None, do_handshake_on_connect: bool = True
    ) -> ssl.SSLSocket:
        """Wrap a connected socket and verify the peer, in at most `CONNECT_TIMEOUT_S` per network wait."""
        self.alert = None
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


def tls_context(settings: BrokerSettings) -> HandshakingContext:
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
