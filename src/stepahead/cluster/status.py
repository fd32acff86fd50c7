"""What `stepahead cluster status` prints."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from stepahead.cluster.directory import ClusterDirectory
from stepahead.cluster.program import CONTROLLER
from stepahead.cluster.ray_start import NAMESPACE, joined
from stepahead.contract.errors import UsageError
from stepahead.contract.settings import Settings
from stepahead.service.state_directory import state_directory

__all__ = ["lines_of", "show_status"]

ANSWER_S = 30.0


def show_status(settings: Settings, address: str | None, as_json: bool, echo: Callable[[str], object]) -> int:
    """Print how a running cluster is.

    Args:
        settings: its own: they say where its state, and so its address, is.
        address: of Ray's head; None = as the state directory says.
        as_json: for machines.
        echo: prints a line.

    Returns:
        0 when all shards are served, else 1.

    Raises:
        UsageError: there is no such cluster.
    """
    root = state_directory(settings).absolute()
    where = address or ClusterDirectory.read_address(root)
    if where is None:
        raise UsageError(f"no cluster has run on {root}: name its settings by --config, or Ray's head by --address")
    with joined(where, public=True, token=ClusterDirectory.token(root), tell=False):
        import ray

        try:
            status: Any = ray.get(ray.get_actor(CONTROLLER, namespace=NAMESPACE).status.remote(), timeout=ANSWER_S)
        except (ValueError, ray.exceptions.RayError) as error:
            raise UsageError(f"the Ray at {where} has no stepahead cluster that answers: {error}") from error
    if as_json:
        echo(json.dumps(status))
    else:
        for line in lines_of(status):
            echo(line)
    return 0 if status["served"] == len(status["shards"]) else 1


def lines_of(status: Mapping[str, Any]) -> list[str]:
    """The status as a table.

    Example:
        >>> shard = {"owner": "owner-1", "state": "served", "epoch": 2, "lag_s": 0.5, "waiting": 0, "series": 3}
        >>> owner = {"node": "abc", "pid": 7, "up": True, "restarts": 0, "shards": 1, "spare": False}
        >>> for line in lines_of({"shards": {"0": shard}, "served": 1, "nodes": 1, "uptime_s": 5, "failed": None,
        ...                       "owners": {"owner-1": owner}, "router": None, "trainer": None}):
        ...     print(line)
        1 of 1 shards served by 1 owners on 1 nodes, up 5 s
        owner                pid     restarts  shards
        owner-1              7       0         1
        shard      state    owner                epoch  series    waiting  lag s
        0          served   owner-1              2      3         0        0.500
    """
    owners = status["owners"]
    up = sum(owner["up"] and not owner["spare"] for owner in owners.values())
    shards = status["shards"]
    head = f"{status['served']} of {len(shards)} shards served by {up} owners on {status['nodes']} nodes"
    lines = [f"{head}, up {status['uptime_s']:g} s"]
    if status["failed"] is not None:
        lines.append(f"failed: {status['failed']}")
    lines.append("owner                pid     restarts  shards")
    lines += [
        f"{name:20} {owner['pid'] or '-'!s:7} {owner['restarts']:<9} {owner['shards'] if owner['up'] else 'down'}"
        f"{' (spare)' if owner['spare'] else ''}"
        for name, owner in owners.items()
    ]
    router = status["router"]
    if router is not None:
        state = f"{router['waiting']} messages wait" if router["up"] else "down"
        lines.append(f"router: {state}, {router['restarts']} restarts")
    trainer = status["trainer"]
    if trainer is not None:
        lines.append(trainer_line(trainer))
    lines.append("shard      state    owner                epoch  series    waiting  lag s")
    for shard, figures in shards.items():
        lag = "-" if figures["lag_s"] is None else f"{figures['lag_s']:.3f}"
        lines.append(
            f"{shard!s:10} {figures['state']:8} {figures['owner'] or '-':20} {figures['epoch']:<6} "
            f"{figures['series']:<9} {figures['waiting']:<8} {lag}"
        )
    return lines


def trainer_line(trainer: Mapping[str, Any]) -> str:
    """How the trainer of all shards is.

    Example:
        >>> trainer_line({"up": True, "restarts": 0, "failed": None, "versions": {"default": 7}})
        'trainer: weights default 7, 0 restarts'
    """
    if not trainer["up"] or trainer["failed"] is not None:
        return f"trainer: {trainer.get('failed') or 'down'}, {trainer['restarts']} restarts"
    versions = ", ".join(f"{name} {version}" for name, version in trainer["versions"].items())
    return f"trainer: weights {versions}, {trainer['restarts']} restarts"
