"""The gallery: the faces of an owner's shards, for the one page that shows the whole cluster."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import msgspec

from stepahead.cluster.pages import first_rows, one_page
from stepahead.contract.settings import Settings
from stepahead.dashboard.view import OverviewQuery
from stepahead.forecasting.engine import Engine
from stepahead.service.face import Face
from stepahead.service.watch import Watch
from stepahead.telemetry.ledger import Ledger
from stepahead.telemetry.rings import Rings
from stepahead.wire.units import Units

__all__ = ["Answer", "Gallery", "Question"]

HISTORIES = 256
"""Series whose newest readings are kept, over all shards; those that are looked at always."""
LEAST_HISTORIES = 4


class Question(msgspec.Struct, frozen=True):
    """What the page wants to know of an owner, besides how its shards are.

    Attributes:
        looked_at: keys of series that somebody looks at.
        overview: rows of the table, from the top to the page that is looked at.
        series, since: a series, and how much of its history is known.
        model, health: whether these are wanted.
    """

    looked_at: Sequence[str] = ()
    overview: OverviewQuery | None = None
    series: str | None = None
    since: int = 0
    model: bool = False
    health: bool = False


class Answer(msgspec.Struct, frozen=True):
    """What an owner tells; documents as `View` has them.

    Attributes:
        heads: one of each shard, by its number.
        overview: as `pages.one_page` takes it.
        series: None when it is not here.
        models, healths: one of each shard.
    """

    heads: Mapping[int, Mapping[str, Any]]
    overview: Mapping[str, Any] | None = None
    series: Mapping[str, Any] | None = None
    models: Sequence[Mapping[str, Any]] = ()
    healths: Sequence[Mapping[str, Any]] = ()


class Gallery:
    """Asked by one thread after another, filled by the owner's.

    Args:
        settings: of the cluster.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._faces: dict[int, Face] = {}
        self._asked = threading.Lock()

    def open(self, shard: int, engine: Engine, units: Units) -> Watch:
        """Begin to show a shard; what its loop is to report to."""
        rings = Rings(max(LEAST_HISTORIES, HISTORIES // self._settings.cluster.shards))
        watch = Watch(Ledger(time.time, rings))
        table = engine.table
        face = Face(self._settings, watch, table.keys, table.find, version("stepahead"), unit_of=units.of)
        self._faces = self._faces | {shard: face}
        return watch

    def close(self, shard: int) -> None:
        """Show a shard no more."""
        self._faces = {other: face for other, face in self._faces.items() if other != shard}

    def ask(self, question: bytes) -> bytes:
        """Answer a question, both as JSON; about once a second, and whenever somebody turns a page."""
        asked = msgspec.json.decode(question, type=Question)
        with self._asked:
            return msgspec.json.encode(self._answer(asked, self._faces))

    def _answer(self, asked: Question, faces: Mapping[int, Face]) -> Answer:
        looked_at = frozenset(asked.looked_at)
        for face in faces.values():
            face.look_at(looked_at)
            face.tick()
        overview = None
        if asked.overview is not None:
            query = replace(asked.overview, page=0, size=first_rows(asked.overview))
            overview = one_page([face.overview(query) for face in faces.values()], query)
        found = [] if asked.series is None else [face.series(asked.series, asked.since) for face in faces.values()]
        return Answer(
            {shard: face.head() for shard, face in faces.items()},
            overview,
            next((document for document in found if document is not None), None),
            [face.model() for face in faces.values()] if asked.model else (),
            [face.health() for face in faces.values()] if asked.health else (),
        )
