"""Owners and a router in this process, and who serves what, told by hand: a cluster without Ray."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch._dynamo  # noqa: F401  # the first fine-tune would import it, for seconds

from stepahead.cluster.owner import Owner
from stepahead.cluster.router import Router
from stepahead.cluster.sharding import ShardRule
from stepahead.cluster.shared_trainer import SharedTrainer
from stepahead.contract.settings import Settings
from stepahead.telemetry.log import make_log
from stepahead.wire.session import Session

SECRET = b"known to all"


class ByHand:
    """Owners by name, and the shards that each was given."""

    def __init__(self, settings: Settings, root: Path, names: str) -> None:
        self.settings, self.root = settings, root
        self._written = io.StringIO()
        self.log = make_log(self._written)
        self.owners: dict[str, Owner] = {}
        self.wanted: dict[str, dict[int, int]] = {}
        self.epochs = dict.fromkeys(range(settings.cluster.shards), 0)
        for name in names:
            self.add(name)
        self.router = self.make_router() if settings.cluster.readings == "router" else None
        self.trainer: SharedTrainer | None = None
        self._teaching: threading.Thread | None = None
        if settings.cluster.weights == "shared":
            self.start_trainer()
        self._stopping = False
        self._thread = threading.Thread(target=self._route, daemon=True)

    def start_trainer(self) -> None:
        """One more: those before are fenced off."""
        trainer = SharedTrainer(self.settings, self.root, "127.0.0.1", SECRET, self.log)
        self.trainer = trainer

        def teach() -> None:
            while self.trainer is trainer:
                trainer.turn(0.02)
            trainer.close()

        self._teaching = threading.Thread(target=teach, daemon=True)
        self._teaching.start()

    def stop_trainer(self) -> None:
        self.trainer = None
        if self._teaching is not None:
            self._teaching.join()

    def attend(self, name: str) -> dict[str, Any]:
        """Tell an owner what it is to serve, and hear how it goes."""
        trainer, owner = self.trainer, self.owners[name]
        return owner.attend(self.wanted[name], (None if trainer is None else trainer.address, len(self.epochs)))

    def make_router(self) -> Router:
        settings = self.settings
        self.session = Session(settings.broker, [each.filter for each in settings.subscriptions], None, self.log_event)
        rule = ShardRule(settings)
        return Router(self.session, rule, settings.cluster.shards, SECRET, settings.broker.queue_messages)

    def log_text(self) -> str:
        return self._written.getvalue()

    def settled(self) -> bool:
        """Whether nothing waits for an acknowledgement."""
        return self.router is None or self.router.waiting == 0

    def log_event(self, event: object) -> None:
        self.log.info("router", text=str(event))

    def replace_router(self) -> None:
        """As after a kill: the old one is gone without a word, and a new one knows nothing."""
        self.until(lambda: self.session.connected)  # the one before it may have been replaced just now
        self.stop_routing()
        assert self.router is not None
        if self.session.socket is not None:
            self.session.socket.close()  # as the kernel does for a killed process: no DISCONNECT
        self.router.close(0.0)
        self.router, self._stopping = self.make_router(), False
        self._thread = threading.Thread(target=self._route, daemon=True)
        self._thread.start()

    def stop_routing(self) -> None:
        self._stopping = True
        self._thread.join()

    def add(self, name: str) -> None:
        self.owners[name] = Owner(self.settings, self.root, name, "127.0.0.1", SECRET, self.log)
        self.wanted[name] = {}
        self.owners[name].start()

    def give(self, shard: int, name: str, take: bool = True) -> None:
        """Give a shard to an owner, and take it from those who have it."""
        self.epochs[shard] += 1
        for other, wanted in self.wanted.items():
            if take and other != name and wanted.pop(shard, None) is not None:
                self.attend(other)
                self.until(lambda other=other: shard not in self.attend(other)["shards"])
        self.wanted[name] = self.wanted[name] | {shard: self.epochs[shard]}
        self.attend(name)

    def serving(self, shard: int) -> list[str]:
        return [name for name in self.owners if shard in self.attend(name)["shards"]]

    def until(self, condition: Callable[[], object], seconds: float = 120.0) -> None:
        until_s = time.monotonic() + seconds
        while not condition():
            for owner in self.owners.values():
                assert owner.failed is None, owner.failed
            assert time.monotonic() < until_s, {name: self.attend(name) for name in self.owners}
            time.sleep(0.01)

    def _route(self) -> None:
        while self.router is not None and not self._stopping:
            self.router.direct(
                {
                    shard: (*self.owners[name].address, epoch)
                    for name, wanted in self.wanted.copy().items()  # in one go: another thread changes both
                    for shard, epoch in wanted.copy().items()
                }
            )
            self.router.turn(0.02)

    @contextmanager
    def running(self) -> Iterator["ByHand"]:
        self._thread.start()
        if self.router is not None:  # what is said before would be heard by nobody
            self.until(lambda: "subscribed to" in self.log_text())
        try:
            yield self
        finally:
            self.stop_routing()
            self.stop_trainer()
            if self.router is not None:
                self.router.close(1.0)
            for owner in self.owners.values():
                assert owner.stop(120.0)
