"""The manifest: what a snapshot says about itself, with checksums of its files and of its own content."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from stepahead.contract.errors import StateError
from stepahead.storage.plain import dump_plain, load_plain

__all__ = ["MANIFEST", "MAX_MANIFEST_BYTES", "Manifest", "dump_manifest", "load_manifest"]

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 2**24


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot says about itself.

    Attributes:
        generation: its number, rising.
        schema: version of the state tree.
        position: the state holds the effect of all journal records before this one.
        written_ns: wall clock when it was written, UTC nanoseconds.
        meta: plain values of the writer.
        files: size in bytes and SHA-256 by file name.
    """

    generation: int
    schema: int
    position: int
    written_ns: int
    meta: Mapping[str, Any]
    files: Mapping[str, tuple[int, str]]


def dump_manifest(manifest: Manifest) -> bytes:
    """The bytes of a manifest.

    Example:
        >>> manifest = Manifest(1, 1, 12, 0, {}, {"values.json": (2, "ab")})
        >>> load_manifest(dump_manifest(manifest), 1) == manifest
        True
    """
    content = asdict(manifest)
    content["files"] = {name: list(file) for name, file in manifest.files.items()}
    return dump_plain({**content, "sha256": _digest(content)})


def load_manifest(data: bytes, generation: int) -> Manifest:
    """The manifest whose bytes these are.

    Raises:
        StateError: damaged, or that of another generation.
    """
    where = f"snapshot {generation}: {MANIFEST}"
    content = load_plain(data, where)
    if type(content) is not dict or content.pop("sha256", None) != _digest(content):
        raise StateError(f"{where} does not match its checksum")
    try:
        files = {name: (int(size), str(digest)) for name, (size, digest) in content.pop("files").items()}
        manifest = Manifest(**content, files=files)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StateError(f"{where} lacks an entry: {error}") from error
    if manifest.generation != generation:
        raise StateError(f"{where} is that of snapshot {manifest.generation}")
    return manifest


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(dump_plain(dict(content))).hexdigest()
