"""Files for other tools, written through the same door as everything else: mode 0600, in a directory of mode 0700."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from stepahead.contract.errors import StateError, UsageError
from stepahead.storage.filesystem import Filesystem, OsFilesystem
from stepahead.storage.tensors import HashedWriter, write_tensors

__all__ = ["export_files"]


def export_files(
    target: Path,
    tensors: Mapping[str, Mapping[str, NDArray[Any]]],
    texts: Mapping[str, bytes],
    filesystem: Filesystem | None = None,
) -> list[Path]:
    """Write a new directory.

    Args:
        target: must not be there yet.
        tensors: file name -> arrays by name, written as safetensors.
        texts: file name -> content.
        filesystem: the door to the disk.

    Returns:
        The files, in the order given.

    Raises:
        UsageError: `target` is there already.
        StateError: the disk refuses.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     paths = export_files(Path(directory) / "out", {}, {"a.csv": b"x"})
        ...     paths[0].name, paths[0].read_bytes()
        ('a.csv', b'x')
    """
    disk = filesystem or OsFilesystem()
    if target.exists():
        raise UsageError(f"{target} is there already: name a new directory")
    try:
        disk.make_directory(target)
        paths = []
        for name in (*tensors, *texts):
            file = disk.create(target / name)
            paths.append(target / name)
            try:
                if name in tensors:
                    write_tensors(HashedWriter(file), tensors[name])
                else:
                    file.write(texts[name])
            finally:
                file.close()
    except OSError as error:
        raise StateError(f"cannot export to {target}: {error}") from error
    return paths
