"""The actors, as Ray starts, restarts and calls them: owner, router, trainer, controller. What they do is elsewhere."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import ray
import torch

from stepahead.cluster.controller import Controller
from stepahead.cluster.herald import Herald
from stepahead.cluster.owner import Owner, Training
from stepahead.cluster.ray_start import strangers
from stepahead.cluster.router import Address, Router
from stepahead.cluster.sharding import ShardRule
from stepahead.cluster.shared_trainer import SharedTrainer
from stepahead.contract.settings import Settings
from stepahead.service.arrival_clock import ArrivalClock
from stepahead.service.program import SessionLog
from stepahead.service.trainer_child import NICENESS, bound_memory
from stepahead.telemetry.log import Log, make_log
from stepahead.wire.session import Session
from stepahead.wire.topics import parse_filter

__all__ = ["NAMESPACE", "ControllerActor", "OwnerActor", "RouterActor", "TrainerActor"]

NAMESPACE = "stepahead"
STOP_S = 10.0
TURN_S = 0.05
TRAINER_TURN_S = 0.5


def log_of(settings: Settings) -> Log:
    """The log of this process; Ray hands its lines to the driver's standard error."""
    return make_log(level=settings.service.log_level, form=settings.service.log_format)


class OwnerActor:
    """An `Owner` in a process of its own."""

    def __init__(self, settings: Settings, root: str, name: str, secret: bytes) -> None:
        if settings.engine.deterministic:
            from torch import _dynamo  # noqa: F401  # the first fine-tune in line would import it, for seconds
        host = ray.util.get_node_ip_address()
        self._owner = Owner(settings, Path(root), name, host, secret, log_of(settings))
        self._owner.start()

    def attend(self, wanted: Mapping[int, int], training: Training) -> dict[str, Any]:
        """See `Owner.attend`."""
        return self._owner.attend(wanted, training)

    def ask(self, question: bytes) -> bytes:
        """See `Gallery.ask`; nothing where there is no page."""
        return self._owner.ask(question)

    def stop(self) -> bool:
        """Finish all shards."""
        return self._owner.stop(STOP_S)


class RouterActor:
    """A `Router` in a process of its own, turned by one thread."""

    def __init__(self, settings: Settings, secret: bytes) -> None:
        log = log_of(settings)
        events = SessionLog(log)
        filters = [parse_filter(subscription.filter).text for subscription in settings.subscriptions]
        session = Session(settings.broker, filters, None, events, wall_ns=ArrivalClock(log))
        rule = ShardRule(settings)
        self._router = Router(session, rule, settings.cluster.shards, secret, settings.broker.queue_messages)
        events.on_connected = self._router.connected_anew
        self._log = log
        self._session = session
        self._owners: Mapping[int, Address] = {}
        self._failed: str | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="router", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._router.direct(self._owners)
                self._router.turn(TURN_S)
        except Exception as error:  # whatever it is: nothing is read any more, and the controller must know
            self._failed = f"{type(error).__name__}: {error}"
            self._log.error("router_failed", text=self._failed)
        finally:
            self._router.close(1.0)

    def direct(self, owners: Mapping[int, Address]) -> dict[str, Any]:
        """Take who owns what, and tell how it goes."""
        self._owners = owners
        router = self._router
        return {
            "pid": os.getpid(),
            "failed": self._failed,
            "connected": self._session.connected,
            "messages": router.messages,
            "waiting": router.waiting,
            "waiting_of": router.waiting_of,
            "shards_connected": router.connected,
        }

    def stop(self) -> bool:
        """Say good-bye to the broker; what was not acknowledged comes again."""
        self._stopping = True
        self._thread.join(STOP_S)
        return not self._thread.is_alive()


class TrainerActor:
    """A `SharedTrainer` in a process of its own, turned by one thread, behind all that answers readings."""

    def __init__(self, settings: Settings, root: str, secret: bytes) -> None:
        os.nice(NICENESS)
        torch.optim.AdamW([torch.zeros(1)])  # the first one imports another hundred megabytes of PyTorch
        bound_memory(settings.learning.max_memory_bytes)
        self._log = log_of(settings)
        self._trainer: SharedTrainer | None = None
        self._failed: str | None = None
        self._stopping = False
        make = partial(SharedTrainer, settings, Path(root), ray.util.get_node_ip_address(), secret, self._log)
        self._thread = threading.Thread(target=self._run, args=(make,), name="trainer", daemon=True)
        self._thread.start()

    def _run(self, make: Callable[[], SharedTrainer]) -> None:
        torch.set_num_threads(1)  # of the thread that says it, and no other
        try:
            self._trainer = make()
            while not self._stopping:
                self._trainer.turn(TRAINER_TURN_S)
        except Exception as error:  # whatever it is: nothing is learned any more, and people must know
            self._failed = f"{type(error).__name__}: {error}"
            self._log.error("trainer_failed", text=self._failed)
        finally:
            if self._trainer is not None:
                self._trainer.close()

    def tend(self) -> dict[str, Any]:
        """Where it is, and how it goes; no address while owners need not come."""
        trainer = self._trainer
        told: dict[str, Any] = {"pid": os.getpid(), "failed": self._failed, "address": None, "versions": {}}
        if trainer is not None:
            told |= trainer.report()
            if self._failed is None:
                told["address"] = trainer.address
        return told

    def stop(self) -> bool:
        """End; a fine-tune that is under way is given up."""
        self._stopping = True
        return True


class ControllerActor:
    """A `Controller` in a process of its own, turned by one thread."""

    def __init__(self, settings: Settings, root: str, secret: bytes) -> None:
        self._log = log_of(settings)
        self._controller = Controller(settings, Path(root), Crew(settings, root, secret, self._log), self._log)
        self._herald = Herald(settings, SessionLog(self._log))
        self._page = ExitStack()
        if settings.http.enabled:
            # Imported here: the other actors do not carry uvicorn, Starlette and prometheus-client in their memory.
            from stepahead.cluster.panorama import Panorama
            from stepahead.dashboard.server import PageServer

            panorama = Panorama(settings, self._controller.status, self._controller.ask_owners)
            page = self._page.enter_context(PageServer(settings.http, panorama, self._told))
            self._log.info("http", page=page.url, token=settings.http.token is not None)
        self._failed: str | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="controller", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._controller.turn()
                self._herald.turn(self._controller.status)
        except Exception as error:  # whatever it is: nobody is in charge any more, and the program must know
            self._failed = f"{type(error).__name__}: {error}"
            self._log.error("controller_failed", text=self._failed)

    def status(self) -> dict[str, Any]:
        """How everything is."""
        return self._controller.status() | {"pid": os.getpid(), "failed": self._failed or self._controller.failed}

    def _told(self, text: str) -> None:
        self._log.error("http", text=text)

    def stop(self) -> bool:
        """Stop reading, then finish all shards; whether all of it went well."""
        self._stopping = True
        self._thread.join(STOP_S)
        fine = self._controller.stop(2 * STOP_S)
        self._herald.close()
        self._page.close()
        return fine


class Crew:
    """The owners, the router and the trainer as the controller sees them: started through Ray, called through Ray."""

    def __init__(self, settings: Settings, root: str, secret: bytes, log: Log) -> None:
        self._settings = settings
        self._root = root
        self._secret = secret
        self._log = log
        self._home = ray.get_runtime_context().get_node_id()

    def nodes(self) -> list[str]:
        """Ids of the nodes that are alive; one that comes with a public address gets no owner."""
        alive = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
        outside = set() if self._settings.cluster.public else set(strangers(list(alive.values())))
        for address in outside:
            self._log.error("node_refused", text=f"{address} is public; cluster.public = true lets it in")
        return [node for node, address in alive.items() if address not in outside]

    def owner(self, name: str, node: str) -> Any:
        """Start an owner on a node; Ray starts it again there whenever it dies."""
        strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
        made = ray.remote(OwnerActor).options(
            num_cpus=0, max_restarts=-1, max_task_retries=0, max_concurrency=4, scheduling_strategy=strategy
        )
        return made.remote(self._settings, self._root, name, self._secret)

    def router(self) -> Any:
        """Start the router, beside us while our node stands."""
        strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(self._home, soft=True)
        made = ray.remote(RouterActor).options(
            num_cpus=0, max_restarts=-1, max_task_retries=0, max_concurrency=4, scheduling_strategy=strategy
        )
        return made.remote(self._settings, self._secret)

    def trainer(self) -> Any:
        """Start the trainer, beside us while our node stands."""
        strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(self._home, soft=True)
        made = ray.remote(TrainerActor).options(
            num_cpus=0, max_restarts=-1, max_task_retries=0, max_concurrency=4, scheduling_strategy=strategy
        )
        return made.remote(self._settings, self._root, self._secret)

    def call(self, actor: Any, method: str, *arguments: Any) -> Any:
        """Begin a call; what stands for its answer."""
        return getattr(actor, method).remote(*arguments)

    def answers(self, calls: Mapping[str, Any], wait_s: float) -> dict[str, Any]:
        """Name -> answer of each call that is over by then; None = the process is gone."""
        if not calls:
            time.sleep(wait_s)
            return {}
        over, _ = ray.wait(list(calls.values()), num_returns=len(calls), timeout=wait_s)
        done = set(over)
        found: dict[str, Any] = {}
        for name, reference in calls.items():
            if reference in done:
                try:
                    found[name] = ray.get(reference)
                except ray.exceptions.RayTaskError:
                    raise  # a defect of ours, and not the end of a process
                except ray.exceptions.RayError:  # died, unavailable, or its node is gone
                    found[name] = None
        return found

    def kill(self, actor: Any) -> None:
        """End a process that hangs; Ray starts it again."""
        ray.kill(actor, no_restart=False)

    def forget(self, actor: Any) -> None:
        """End a process for good."""
        ray.kill(actor, no_restart=True)
