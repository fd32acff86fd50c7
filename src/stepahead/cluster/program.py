"""The program `stepahead cluster run`: checks, starts or joins Ray, starts the controller, and stays until told."""

import os
import secrets
import signal
import time
from pathlib import Path
from typing import Any

from stepahead.cluster.directory import ClusterDirectory
from stepahead.cluster.ray_start import joined, need_ray
from stepahead.cluster.sharding import ShardRule, filters_of
from stepahead.contract.errors import SettingsError, StepaheadError
from stepahead.contract.settings import Settings
from stepahead.service.notify import Notifier
from stepahead.service.output import own_topics
from stepahead.service.settings_text import mask_url
from stepahead.service.state_directory import state_directory
from stepahead.telemetry.log import Log, make_log
from stepahead.wire.topic_template import own_output_error
from stepahead.wire.topics import parse_filter

__all__ = ["CONTROLLER", "check", "run"]

CONTROLLER = "stepahead-controller"
LOOK_S = 0.5
ANSWER_S = 10.0
STOP_S = 30.0


def check(settings: Settings) -> None:
    """Refuse what cannot work in a cluster.

    Raises:
        SettingsError: the text says which setting, and what is allowed.

    Example:
        >>> check(Settings(durability={"mode": "off"}))
        Traceback (most recent call last):
            ...
        stepahead.contract.errors.SettingsError: durability.mode = 'off': a shard moves with its journal, so ...
    """
    filters = [parse_filter(subscription.filter) for subscription in settings.subscriptions]
    error = own_output_error(filters, own_topics(settings))
    if error is not None:
        raise SettingsError(f"subscriptions: {error}")
    if settings.durability.mode != "journal":
        mode = settings.durability.mode
        raise SettingsError(f"durability.mode = {mode!r}: a shard moves with its journal, so allowed is 'journal'")
    if settings.broker.qos != 1:
        raise SettingsError("broker.qos = 0: what moves or dies would be lost, so a cluster needs 1")
    if settings.engine.device != "cpu":
        raise SettingsError(f"engine.device = {settings.engine.device!r}: a cluster steps its shards on the CPU")
    if settings.publish.format == "sparkplug":
        raise SettingsError("publish.format = 'sparkplug': an edge node is one process; allowed are json, senml, line")
    if settings.engine.deterministic and settings.cluster.weights == "shared":
        raise SettingsError(
            "engine.deterministic = true: when shared weights come depends on the other shards; allowed is "
            "cluster.weights = 'shard'"
        )
    if settings.cluster.readings == "shared" and settings.broker.protocol != "5":
        raise SettingsError(
            "cluster.readings = 'shared': shared subscriptions are of MQTT 5: set broker.protocol = '5'"
        )
    if settings.cluster.readings == "router":
        ShardRule(settings)
    else:
        for shard in range(settings.cluster.shards):
            if not filters_of(settings, shard):
                raise SettingsError(f"subscriptions: none is for shard {shard} of {settings.cluster.shards}")


def run(settings: Settings, address: str | None) -> int:
    """Forecast on all nodes of a Ray cluster until SIGTERM or Ctrl-C.

    Args:
        settings: all of them.
        address: of Ray's head; None = a Ray of our own on this machine.

    Returns:
        The exit code: 0 after an end in good order.

    Raises:
        MissingExtraError: Ray is not installed.
        SettingsError, StateError, UsageError: see `check`, `ClusterDirectory` and `joined`.
    """
    need_ray()
    check(settings)
    log = make_log(level=settings.service.log_level, form=settings.service.log_format)
    cluster = settings.cluster
    directory = ClusterDirectory(state_directory(settings).absolute(), cluster.shards, cluster.weights)
    try:
        with joined(address, cluster.public, ClusterDirectory.token(directory.root)) as head:
            directory.note_address(head)
            log.info(
                "starting",
                broker=mask_url(settings.broker.url),
                ray=head,
                state=directory.root,
                shards=cluster.shards,
                actors=cluster.actors,
                readings=cluster.readings,
                weights=cluster.weights,
                pid=os.getpid(),
            )
            return govern(settings, directory.root, log)
    finally:
        directory.release()


def govern(settings: Settings, root: Path, log: Log) -> int:
    """Start the controller and stay with it."""
    import ray

    from stepahead.cluster.actors import ControllerActor

    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    try:
        made = ray.remote(ControllerActor).options(
            name=CONTROLLER,
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=16,
            scheduling_strategy=here,
        )
        controller = made.remote(settings, str(root), secrets.token_bytes(32))
    except ValueError as error:
        raise StepaheadError(
            "this Ray has a stepahead cluster already: give each cluster a Ray of its own, or end the other one"
        ) from error
    notifier = Notifier(os.environ, lambda text: log.warning("service_manager", text=text))
    stop = Told()
    failed = watch(ray, controller, stop, notifier, log)
    notifier.stopping()
    log.info("stopping")
    fine = failed is None and bool(ask(ray, controller, "stop", STOP_S))
    notifier.close()
    if failed is not None:
        raise StepaheadError(failed)
    log.info("stopped", safe=fine)
    return 0 if fine else 1


def watch(ray: Any, controller: Any, stop: "Told", notifier: Notifier, log: Log) -> str | None:
    """Stay until told to stop; else what ended it."""
    while not stop.asked:
        status = ask(ray, controller, "status", ANSWER_S)
        if status is None:
            log.error("controller", text=f"no answer within {ANSWER_S:g} s")
        elif status["failed"] is not None:
            return str(status["failed"])
        else:
            notifier.turned()
        time.sleep(LOOK_S)
    return None


def ask(ray: Any, controller: Any, method: str, timeout_s: float) -> Any:
    """Call the controller; None when it does not answer, such as while it is started again."""
    try:
        return ray.get(getattr(controller, method).remote(), timeout=timeout_s)
    except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
        return None


class Told:
    """The wish to stop, from SIGTERM or Ctrl-C: the first asks, the second ends the program at once."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._told)

    def _told(self, number: int, frame: Any) -> None:
        if self.asked:
            os._exit(128 + number)
        self.asked = True
