"""The peers by name."""

import importlib
from typing import NamedTuple

from stepahead.contract.errors import MissingExtraError, UsageError
from stepahead.evaluation.peers.peer import MakePeer

__all__ = ["PEERS", "load_peer", "parse_peers"]


class Entry(NamedTuple):
    """Where a peer is: module beside this one, name of the function that makes it, package it stands on."""

    module: str
    make: str
    package: str


PEERS = {
    "snarimax": Entry("snarimax", "default_snarimax", "river"),
    "snarimax-clipped": Entry("snarimax", "clipped_snarimax", "river"),
    "holtwinters": Entry("holt_winters", "make", "river"),
    "autoreg": Entry("autoregression", "make", "statsmodels"),
    "lebre": Entry("lebre", "make", "lebre"),
    "deep-river": Entry("deep_river", "make", "deep_river.forecasting"),
}

DEEP_RIVER_PINS = (
    "deep-river 0.3 pins torch<2.6, river<0.26 and pandas<3, so that no extra can ask for it beside our torch; "
    "it works without its pins: pip install --no-deps deep-river 'river==0.25.*' tqdm"
)


def parse_peers(names: str) -> tuple[str, ...]:
    """The names in a comma-separated list; `all` means all that have an extra.

    Raises:
        UsageError: names the peer that is not known.

    Example:
        >>> parse_peers("autoreg, lebre")
        ('autoreg', 'lebre')
    """
    chosen = dict.fromkeys(name.strip() for name in names.split(",") if name.strip())
    if "all" in chosen:
        return tuple(name for name in PEERS if name != "deep-river")
    for name in chosen:
        if name not in PEERS:
            raise UsageError(f"--against: no peer {name!r}; there are: {', '.join(PEERS)}, all")
    return tuple(chosen)


def load_peer(name: str) -> MakePeer:
    """The function that makes a peer.

    Peers are imported only when asked for: most stand on packages that take a second, or are optional.

    Raises:
        MissingExtraError: the package is not installed.
        UsageError: deep-river is not installed, or not beside the versions it needs.
    """
    entry = PEERS[name]
    try:
        importlib.import_module(entry.package)
        module = importlib.import_module(f"stepahead.evaluation.peers.{entry.module}")
    except ImportError as error:
        if name == "deep-river":
            raise UsageError(f"peer 'deep-river': {error}; {DEEP_RIVER_PINS}") from error
        raise MissingExtraError(f"peer {name!r}", "peers") from error
    make: MakePeer = getattr(module, entry.make)
    return make
