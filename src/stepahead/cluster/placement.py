"""The placement: who is to serve which shard under which epoch, from who is there and what each of them tells."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from stepahead.cluster.shards import place

__all__ = ["Placement"]

PATIENCE = 50
"""Decisions between two attempts at a shard that its owner refuses, such as one whose state is damaged."""


@dataclass(slots=True)
class Holding:
    """Who was told to serve a shard.

    Attributes:
        owner: name; None = nobody.
        epoch: the newest that was given out.
        leaving: the owner was told to let go, and has not said yet that it has.
        moves: how often the shard has changed hands.
        refusals: how often the owner was seen to have refused it.
    """

    owner: str | None = None
    epoch: int = 0
    leaving: bool = False
    moves: int = -1
    refusals: int = 0


class Placement:
    """Decides, without a clock and without a network; it is asked again and again.

    Args:
        epochs: shard -> newest epoch on the disk.

    Example:
        >>> placement = Placement({0: 0, 1: 3})
        >>> served = {"shards": {}, "refused": {}}
        >>> placement.decide({"only": served})
        {'only': {0: 1, 1: 4}}
        >>> placement.decide({})
        {}
    """

    def __init__(self, epochs: Mapping[int, int]) -> None:
        self.holdings = {shard: Holding(epoch=epoch) for shard, epoch in epochs.items()}

    def lost(self, owner: str) -> None:
        """Told that an owner is gone, or is another process now: what it served is served by nobody."""
        for holding in self.holdings.values():
            if holding.owner == owner:
                holding.owner, holding.leaving = None, False

    def decide(
        self, reports: Mapping[str, Mapping[str, Any]], spares: Collection[str] = ()
    ) -> dict[str, dict[int, int]]:
        """What each owner is to serve.

        Args:
            reports: owner that is there -> what `Owner.attend` gave, after the last decision had been told.
            spares: those that only serve while no other is there.

        Returns:
            Owner -> shard -> epoch. A shard that changes hands is nobody's until its owner has let go of it.
        """
        target = place(len(self.holdings), [owner for owner in reports if owner not in spares] or reports.keys())
        for shard, holding in self.holdings.items():
            report = None if holding.owner is None else reports.get(holding.owner)
            if report is None:
                holding.owner, holding.leaving = None, False
            elif holding.leaving:
                if shard not in report["shards"]:
                    holding.owner, holding.leaving = None, False
            elif holding.owner != target[shard]:
                holding.leaving = True
            else:
                refused = report["refused"].get(shard)
                if refused is not None and refused[0] == holding.epoch:
                    holding.refusals += 1
                    if holding.refusals % PATIENCE == 1:  # at once for a disk that was busy, then now and then
                        holding.epoch += 1
            if holding.owner is None and shard in target:
                holding.owner, holding.epoch = target[shard], holding.epoch + 1
                holding.moves += 1
        return {owner: self.wanted(owner) for owner in reports}

    def wanted(self, owner: str) -> dict[int, int]:
        """What an owner is to serve."""
        return {
            shard: holding.epoch
            for shard, holding in self.holdings.items()
            if holding.owner == owner and not holding.leaving
        }
