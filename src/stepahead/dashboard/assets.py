"""What the browser loads: our own few files, and uPlot as an installed package carries it."""

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from stepahead.contract.errors import UsageError

__all__ = ["Asset", "load_assets"]

CARRIER = "metaflow-card-uplot"
"""A wheel of 27 KB without dependencies that holds uPlot 1.6.18 as released. Its Python is never imported. The wheels
of other packages do not hold the file (youplot 1.0.0) or bring IPython along (uplot-python 1.1.1)."""

UPLOT = {"uPlot.iife.min.js": "uplot.js", "uPlot.min.css": "uplot.css"}
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent."""

    content: bytes
    media_type: str


def load_assets(uplot_dir: Path | None = None) -> Mapping[str, Asset]:
    """Every file that may be asked for, by the name it is asked for with: a name outside the mapping is no file.

    Args:
        uplot_dir: folder with uPlot's two files; None = those of an installed package.

    Raises:
        UsageError: uPlot is not there.

    Example:
        >>> sorted(name for name in load_assets() if name.startswith("u"))
        ['uplot.css', 'uplot.js']
    """
    assets = {}
    for file in files("stepahead.dashboard").joinpath("static").iterdir():
        suffix = "." + file.name.rpartition(".")[2]
        if suffix in TYPES:
            assets[file.name] = Asset(file.read_bytes(), TYPES[suffix])
    for name, path in find_uplot(uplot_dir).items():
        try:
            assets[name] = Asset(path.read_bytes(), TYPES[path.suffix])
        except OSError as error:
            raise UsageError(f"the live page needs {path}: {error.strerror}") from error
    return assets


def find_uplot(folder: Path | None) -> dict[str, Path]:
    """Where uPlot's files are, by the names they are served under."""
    if folder is not None:
        return {ours: folder / theirs for theirs, ours in UPLOT.items()}
    try:
        carried = importlib.metadata.files(CARRIER) or []
    except importlib.metadata.PackageNotFoundError:
        carried = []
    found = {UPLOT[file.name]: Path(str(file.locate())) for file in carried if file.name in UPLOT}
    if len(found) < len(UPLOT):
        raise UsageError(
            f"the live page draws with uPlot, which is not installed: pip install {CARRIER}, or put "
            f"{' and '.join(UPLOT)} into a folder and name it in http.uplot_dir"
        )
    return found
