"""Ray: found or started, and only where strangers cannot reach it."""

import contextlib
import ipaddress
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from stepahead.contract.errors import MissingExtraError, StateError, UsageError
from stepahead.storage.filesystem import FILE_MODE

__all__ = ["joined", "need_ray", "refuse_strangers", "strangers"]

NAMESPACE = "stepahead"
OBJECT_STORE_BYTES = 80 * 2**20
"""Ray's least, about: nothing but orders and figures goes through it."""
REACH_S = 5.0
QUIET = {
    "RAY_task_events_report_interval_ms": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_worker_niceness": "0",
}
"""Of our own Ray: it would note every call, and report every process' figures, once a second; nobody reads either. And
it would put actors behind everything else on the machine (niceness 15), where `run` is not."""


def need_ray() -> None:
    """Make sure that the package is there, without importing it: it looks at the environment when it is imported.

    Raises:
        MissingExtraError: it is not installed.
    """
    # A module may also be kept from being imported, by None in its place.
    if sys.modules.get("ray", "") is None or find_spec("ray") is None:
        raise MissingExtraError("stepahead cluster", "ray")


@contextlib.contextmanager
def joined(address: str | None, public: bool, token: Path, tell: bool = True) -> Iterator[str]:
    """Take part in a Ray cluster while the `with` block lasts.

    A Ray of our own asks for a token, where it can (Ray 2.52 and newer): it lies in a file of mode 0600, made if need
    be. Whoever runs the Ray of an address decides how that one is guarded, by Ray's own `RAY_AUTH_MODE` and
    `RAY_AUTH_TOKEN_PATH`; so does who sets them for ours.

    Args:
        address: host:port of its head, or "auto" for one on this machine; None = a Ray of our own, on loopback.
        public: whether nodes may have public addresses.
        token: the file of our own Ray's token; used for an address too when it is there.
        tell: print what our processes log.

    Yields:
        The address of the head, for others to join.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: nobody answers there, or strangers could.
    """
    need_ray()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # tells nobody what runs here
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # our lines are events, not noise
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "2")  # of a minute each, where somebody else listens
    if address is None or address.startswith(("127.", "localhost:", "[::1]")):
        # Without it Ray would replace a loopback address by one that others can reach, and bind to all of them.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    options: dict[str, Any] = {"namespace": NAMESPACE, "log_to_driver": tell, "logging_level": "error"}
    folder: str | None = None
    if "RAY_AUTH_MODE" not in os.environ and (address is None or token.exists()):
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(made(token))}
    if address is None:
        os.environ |= {name: os.environ.get(name, value) for name, value in QUIET.items()}
        folder = tempfile.mkdtemp(prefix="stepahead-ray-")
        options |= {
            "address": "local",
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
            "num_gpus": 0,
            "_node_ip_address": "127.0.0.1",
            "_temp_dir": folder,
        }
    else:
        need_somebody(address)
        options["address"] = address
    import ray

    try:
        try:
            ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = "a Ray of its own cannot be started" if address is None else f"no Ray at {address}"
            raise UsageError(f"{where}: {error}") from error
        try:
            if not public:
                refuse_strangers([node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]])
            yield str(ray.get_runtime_context().gcs_address)
        finally:
            ray.shutdown()
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def made(token: Path) -> Path:
    """The token's file, with a new token in it if it is not there.

    Raises:
        StateError: it cannot be written.
    """
    try:
        descriptor = os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    except FileExistsError:
        return token
    except OSError as error:
        raise StateError(f"{token} cannot be written: {error}") from error
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
    return token


def need_somebody(address: str) -> None:
    """Make sure that somebody listens there: Ray itself tries for a minute.

    Raises:
        UsageError: it is no address, or nobody does.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise UsageError(f"--address {address}: allowed are HOST:PORT and auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_S).close()
    except (OSError, OverflowError) as error:
        raise UsageError(f"no Ray at {address}: {error}") from error


def refuse_strangers(addresses: list[str]) -> None:
    """Make sure that no node can be reached from anywhere.

    Raises:
        UsageError: one can.
    """
    outside = strangers(addresses)
    if outside:
        raise UsageError(
            f"Ray's nodes have public addresses: {', '.join(outside)}. Its ports ask for no password and run "
            "what they are sent: put them into a private network, or say cluster.public = true"
        )


def strangers(addresses: list[str]) -> list[str]:
    """Those addresses that can be reached from anywhere.

    Example:
        >>> strangers(["127.0.0.1", "10.1.2.3", "8.8.8.8", "not-an-address"])
        ['8.8.8.8', 'not-an-address']
    """
    return [address for address in addresses if reachable(address)]


def reachable(address: str) -> bool:
    """Whether an address is not certainly private."""
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return True
