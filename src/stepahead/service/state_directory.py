"""Where the state of this service lies."""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from stepahead.contract.settings import Settings

__all__ = ["state_directory"]


def state_directory(settings: Settings, environ: Mapping[str, str] = os.environ) -> Path:
    """The directory that `durability.state_dir` names, or the usual one.

    That is `$STATE_DIRECTORY`, which systemd sets for `StateDirectory=`, else `stepahead/CLIENT_ID` in the user's
    directory for state (XDG Base Directory Specification 0.8): what the broker keeps for a client id and what we
    keep belong together.

    Example:
        >>> str(state_directory(Settings(), {"HOME": "/home/plant"}))
        '/home/plant/.local/state/stepahead/stepahead'
    """
    if settings.durability.state_dir is not None:
        return settings.durability.state_dir
    if environ.get("STATE_DIRECTORY"):
        return Path(environ["STATE_DIRECTORY"].split(":")[0])
    home = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME") or Path.home()) / ".local" / "state"
    return Path(home) / "stepahead" / quote(settings.broker.client_id, safe="")
