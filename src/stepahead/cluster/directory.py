"""The state directory of a cluster: one folder per shard, a lock for the cluster, and how many shards there are."""

import json
from pathlib import Path

from stepahead.contract.errors import StateError
from stepahead.storage.filesystem import OsFilesystem
from stepahead.storage.lock import StateLock

__all__ = ["ClusterDirectory"]

MANIFEST = "cluster.json"
ADDRESS = "address"


class ClusterDirectory:
    """Holds the state of a cluster for this process, until `release` or its end.

    Args:
        root: on storage that all nodes share under this path.
        shards: how many there are by the settings.
        weights: "shared" or "shard", by the settings.

    Raises:
        StateError: another cluster has it, it was made with another number of shards or other weights, or it holds
            something else.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     ClusterDirectory(Path(root), 64).release()
        ...     ClusterDirectory(Path(root), 32)
        Traceback (most recent call last):
            ...
        stepahead.contract.errors.StateError: state directory ... was made with 64 shards, cluster.shards is 32: ...
    """

    def __init__(self, root: Path, shards: int, weights: str = "shard") -> None:
        self.root = root
        if (root / "journal").exists() or (root / "snapshots").exists():
            raise StateError(
                f"{root} holds the state of a `stepahead run`, not of a cluster: give durability.state_dir another one"
            )
        self._lock = StateLock(root)
        try:
            known = self._known()
            if known is None:
                self._write(MANIFEST, json.dumps({"schema": 1, "shards": shards, "weights": weights}).encode())
                return
            if known[0] != shards:
                raise StateError(
                    f"state directory {root} was made with {known[0]} shards, cluster.shards is {shards}: series would "
                    "change shards and lose what was learned of them. Set it back, or begin with another directory"
                )
            if known[1] != weights:
                raise StateError(
                    f"state directory {root} was made with cluster.weights = {known[1]!r}, it is {weights!r} now: "
                    "versions of one kind say nothing of the other's. Set it back, or begin with another directory"
                )
        except OSError as error:
            self._lock.release()
            raise StateError(f"state directory {root} cannot be used: {error}") from error
        except StateError:
            self._lock.release()
            raise

    def _known(self) -> tuple[int, str] | None:
        """Shards and weights that the directory was made with; earlier releases had weights of each shard only."""
        try:
            told = json.loads((self.root / MANIFEST).read_bytes())
            return int(told["shards"]), str(told.get("weights", "shard"))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise StateError(f"{self.root / MANIFEST} is damaged: {error}; restore it from a backup") from error

    def _write(self, name: str, content: bytes) -> None:
        disk, temporary = OsFilesystem(), self.root / f".{name}"
        temporary.unlink(missing_ok=True)
        file = disk.create(temporary)
        try:
            file.write(content)
            file.sync()
        finally:
            file.close()
        disk.rename(temporary, self.root / name)
        disk.sync_directory(self.root)

    def note_address(self, address: str) -> None:
        """Write down where this cluster's Ray is, for `read_address`."""
        self._write(ADDRESS, address.encode())

    @staticmethod
    def read_address(root: Path) -> str | None:
        """Where the Ray of the cluster with this state was last; None when there was none."""
        try:
            return (root / ADDRESS).read_text("utf-8").strip() or None
        except OSError:
            return None

    @staticmethod
    def token(root: Path) -> Path:
        """The file of the token that our own Ray asks for."""
        return root / "ray-token"

    @staticmethod
    def shard(root: Path, shard: int) -> Path:
        """The state directory of a shard.

        Example:
            >>> str(ClusterDirectory.shard(Path("/state"), 7))
            '/state/shards/0007'
        """
        return root / "shards" / f"{shard:04d}"

    @staticmethod
    def trainer(root: Path) -> Path:
        """The state directory of the trainer of all shards."""
        return root / "trainer"

    def release(self) -> None:
        """Let go; twice is fine."""
        self._lock.release()
