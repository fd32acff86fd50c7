"""Shards: which part of the series a key belongs to, and which process serves which part."""

import hashlib
from collections.abc import Collection, Mapping

__all__ = ["place", "shard_of"]


def shard_of(key: str | bytes, shards: int) -> int:
    """The shard of a key, the same on every machine and for ever (BLAKE2b, RFC 7693, 8 bytes).

    Args:
        key: what series of one shard have in common; see `sharding.ShardRule`.
        shards: how many there are, at least 1.

    Example:
        >>> shard_of("plant/pump7", 64), shard_of(b"plant/pump7", 64), shard_of("plant/pump8", 64)
        (28, 28, 13)
    """
    return digest(key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key) % shards


def place(shards: int, owners: Collection[str]) -> Mapping[int, str]:
    """The owner of each shard: the one with the highest hash of both (rendezvous hashing, Thaler and Ravishankar 1998).

    A new owner only takes shards, and one that goes only gives its own; between two others nothing ever moves.

    Args:
        shards: how many there are.
        owners: names; none = nobody serves anything.

    Example:
        >>> two, three = place(64, ["a", "b"]), place(64, ["a", "b", "c"])
        >>> {three[shard] for shard in range(64) if three[shard] != two[shard]}
        {'c'}
    """
    if not owners:
        return {}
    return {shard: max(owners, key=lambda owner: (weight(shard, owner), owner)) for shard in range(shards)}


def weight(shard: int, owner: str) -> int:
    """How much an owner is drawn to a shard."""
    return digest(b"%d\0%b" % (shard, owner.encode()))


def digest(data: bytes) -> int:
    """64 bits of BLAKE2b."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
