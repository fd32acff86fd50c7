"""What the loop hands to live page and metrics: references and plain numbers, so that it pays next to nothing."""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from stepahead.contract.records import FloatArray, Forecasts, SlotArray
from stepahead.forecasting.cohort import Cohort
from stepahead.forecasting.engine import Engine, Outlook
from stepahead.learning.gate import judge
from stepahead.learning.tuner import TuneResult
from stepahead.service.keeper import Keeper
from stepahead.service.ports import LoopSession
from stepahead.telemetry.histogram import Histogram
from stepahead.telemetry.ledger import Ledger
from stepahead.transform.stationarity import OrderDecision

__all__ = ["Insight", "Mark", "Picture", "Watch"]

WEIGHTLESS = "lstm"
"""The mean of others, see `Outlook`."""
BATCH_BOUNDS = [2**power for power in range(0, 15, 2)]
SECOND_BOUNDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5]
MOST_MARKS = 500
MOST_WANTED = 16
SHARES_EVERY_S = 2.0
MOST_SHARES = 16
"""Moments that wait for the page's thread; one that is stuck loses the oldest."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened: a drift, or a fine-tune with what the gate made of it.

    Attributes:
        kind: "drift", "adopted", "rejected" or "failed".
        network: name of the cohort.
        wall_s: when, seconds since 1970.
        feed_ns: time of the newest reading then: where it stands in a chart of readings.
        text: one sentence.
        losses: of a fine-tune: mean "train", "champion" and "challenger" loss, number of the fine-tune.
    """

    kind: str
    network: str
    wall_s: float
    feed_ns: int
    text: str
    losses: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Insight:
    """What the engine thinks of one series; `order` is the order of differencing in use."""

    outlook: Outlook
    decision: OrderDecision | None
    order: int


@dataclass(frozen=True, slots=True)
class Picture:
    """How the loop found itself at one moment, a second ago at most.

    Attributes:
        at_s: monotonic seconds.
        fields: of the status message.
        connected, refused, lost: of the session, see `LoopSession`.
        durability: mode, trouble, journal_age_s, snapshot_age_s, position.
        networks: one mapping a cohort.
        insights: slot -> what the engine thinks of a series that somebody looks at.
    """

    at_s: float
    fields: Mapping[str, Any]
    connected: bool
    refused: int
    lost: int
    durability: Mapping[str, Any]
    networks: tuple[Mapping[str, Any], ...]
    insights: Mapping[int, Insight]


class Watch:
    """The loop's side of live page and metrics. What it writes, another thread reads, never the other way round.

    Args:
        ledger: takes the forecasts.
        clock: monotonic seconds.
        wall_s: seconds since 1970.

    Attributes:
        picture: the newest; None before the first second is over.
        wanted: slots that somebody looks at, set by the other thread.
        kept: slots whose mixture is noted every two seconds, set by the other thread.
        shares: what was noted of them, taken out by the other thread.
        marks: the newest, oldest first.
        judged: how many members the gate has adopted and kept.
    """

    def __init__(
        self, ledger: Ledger, clock: Callable[[], float] = time.monotonic, wall_s: Callable[[], float] = time.time
    ) -> None:
        self.ledger = ledger
        self.clock = clock
        self._wall_s = wall_s
        self.batch = Histogram(BATCH_BOUNDS)
        self.step = Histogram(SECOND_BOUNDS)
        self.publish = Histogram(SECOND_BOUNDS)
        self.picture: Picture | None = None
        self.wanted: frozenset[int] = frozenset()
        self.kept: SlotArray = np.zeros(0, np.int32)
        self.shares: deque[tuple[SlotArray, FloatArray]] = deque(maxlen=MOST_SHARES)
        self.experts: tuple[str, ...] = ()
        self._next_shares_s = -math.inf
        self.marks: deque[Mark] = deque(maxlen=MOST_MARKS)
        self.judged = {"adopted": 0, "kept": 0}
        self._drifts: dict[str, int] = {}

    def stepped(self, forecasts: Forecasts, readings: int, took_s: float) -> None:
        """A batch was stepped."""
        self.batch.observe(readings)
        self.step.observe(took_s)
        self.ledger.take(forecasts)

    def judged_by_gate(self, result: TuneResult) -> None:
        """A fine-tune is about to meet the gate; the verdict is a function of the result alone.

        Weights for several engines have met it elsewhere.
        """
        if result.version is None:
            verdict = judge(result)
            adopted = int(verdict.adopt.sum())
            self.judged["adopted"] += adopted
            self.judged["kept"] += len(verdict.adopt) - adopted
            kind = "adopted" if verdict.any else "failed" if result.gave_up else "rejected"
            reason = verdict.reason
        else:
            kind, reason = "adopted", f"version {result.version}, for all shards"
        losses = {
            "train": float(np.mean(result.train_loss)),
            "champion": float(np.mean(result.champion_loss)),
            "challenger": float(np.mean(result.challenger_loss)),
            "number": result.number,
        }
        self._mark(kind, result.cohort, reason, losses)

    def fine_tune_failed(self, text: str) -> None:
        """A fine-tune was begun and never came back."""
        self._mark("failed", "", text, {})

    def _mark(self, kind: str, network: str, text: str, losses: Mapping[str, float]) -> None:
        self.marks.append(Mark(kind, network, self._wall_s(), self.ledger.newest_ns, text, losses))

    def tell(self, fields: Mapping[str, Any], engine: Engine, session: LoopSession, keeper: Keeper) -> None:
        """A second is over: draw the picture."""
        for cohort in engine.cohorts:
            drifts, before = cohort.tally.drifts, self._drifts.get(cohort.name)
            if before is not None and drifts > before:
                self._mark("drift", cohort.name, "the forecast error has risen", {})
            self._drifts[cohort.name] = drifts
        wanted = sorted(self.wanted)[:MOST_WANTED]
        awake = engine.here(np.array(wanted, np.int32)).tolist()
        now_s = self.clock()
        if now_s >= self._next_shares_s and len(self.kept):
            self._next_shares_s = now_s + SHARES_EVERY_S
            self._note_shares(engine)
        self.picture = Picture(
            at_s=now_s,
            fields=fields,
            connected=session.connected,
            refused=session.refused_out,
            lost=session.lost_qos0,
            durability={
                "mode": keeper.mode,
                "trouble": keeper.trouble,
                "position": keeper.position,
                "journal_age_s": None if keeper.safe_s is None else max(0.0, now_s - keeper.safe_s),
                "snapshot_age_s": None if keeper.snapshot_s is None else max(0.0, now_s - keeper.snapshot_s),
            },
            networks=tuple(network_facts(cohort) for cohort in engine.cohorts),
            insights={slot: insight(engine, slot) for slot, here in zip(wanted, awake, strict=True) if here},
        )

    def _note_shares(self, engine: Engine) -> None:
        """A tenth of a millisecond for the 128 series of the rings."""
        slots = self.kept[engine.here(self.kept)]
        outlook = engine.outlook(slots)
        own = [place for place, name in enumerate(outlook.names) if name != WEIGHTLESS]
        self.experts = tuple(outlook.names[place] for place in own)
        self.shares.append((slots, outlook.weights[:, own]))


def network_facts(cohort: Cohort) -> dict[str, Any]:
    """What the model page says of a network."""
    shape, ensemble = cohort.shape, cohort.ensemble
    return {
        "name": cohort.name,
        "version": ensemble.version,
        "series": cohort.series,
        "members": ensemble.members,
        "layers": shape.layers,
        "hidden": shape.hidden,
        "replay_windows": len(cohort.replay),
        "replay_capacity": cohort.replay.capacity,
        "replay_added": cohort.replay.added,
        **asdict(cohort.tally),
    }


def insight(engine: Engine, slot: int) -> Insight:
    """What the engine thinks of one series now."""
    return Insight(engine.outlook(np.array([slot], np.int32)), *engine.order_of(slot))
