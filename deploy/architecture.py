"""Draws deploy/architecture.svg: what runs, what flows where, and which room of src/stepahead does it.

Run: `python deploy/architecture.py > deploy/architecture.svg`. The picture follows the reader's light or dark mode.
"""

import sys
from collections.abc import Iterator
from html import escape
from typing import NamedTuple

__all__ = ["ROOMS", "picture"]

WIDTH, HEIGHT = 1080, 565

STYLE = """
  svg { color-scheme: light dark; --back: #ffffff; --ink: #1f2933; --soft: #52606d; --line: #7b8794;
        --ours: #eaf2fb; --edge: #2b6cb0; --other: #f4f5f7; --learn: #fdf3e3; --amber: #b7791f; }
  @media (prefers-color-scheme: dark) {
    svg { --back: #14181d; --ink: #e4e7eb; --soft: #a9b4c0; --line: #7b8794;
          --ours: #1b2b3d; --edge: #63a4e8; --other: #22272e; --learn: #332a1a; --amber: #e0a94a; }
  }
  text { font: 13px system-ui, sans-serif; fill: var(--ink); }
  .small { font-size: 11.5px; fill: var(--soft); }
  .title { font-weight: 600; }
  .back { fill: var(--back); }
  .other { fill: var(--other); stroke: var(--line); }
  .ours { fill: var(--ours); stroke: var(--edge); }
  .learn { fill: var(--learn); stroke: var(--amber); }
  .process { fill: none; stroke: var(--line); stroke-dasharray: 6 4; }
  path { fill: none; stroke: var(--line); stroke-width: 1.6; marker-end: url(#tip); }
  #tip path { fill: var(--line); stroke: none; marker-end: none; }
"""


class Box(NamedTuple):
    """A box: place and size in pixels, what it is, what it says."""

    x: int
    y: int
    width: int
    height: int
    kind: str
    title: str
    lines: tuple[str, ...] = ()


class Arrow(NamedTuple):
    """An arrow through points, with words at a place."""

    points: tuple[tuple[int, int], ...]
    words: str = ""
    at: tuple[int, int] = (0, 0)
    anchor: str = "middle"


BOXES = (
    Box(15, 165, 125, 70, "other", "sensors", ("gateways, PLCs,", "simulators/")),
    Box(15, 305, 125, 70, "other", "consumers", ("alarms, historians,", "controllers")),
    Box(210, 165, 130, 210, "other", "MQTT broker", ("keeps what is not", "acknowledged")),
    Box(410, 165, 130, 210, "ours", "wire", ("session, formats,", "topics: bytes to", "columns and back")),
    Box(575, 165, 260, 210, "ours", "forecasting", ()),
    Box(590, 197, 230, 36, "ours", "transform", ("differences, scale",)),
    Box(590, 239, 230, 36, "ours", "network", ("LSTM, state carried",)),
    Box(590, 281, 230, 36, "ours", "experts", ("others and mixture",)),
    Box(590, 323, 230, 36, "ours", "uncertainty", ("interval, anomaly",)),
    Box(410, 435, 130, 70, "ours", "storage", ("journal,", "snapshots")),
    Box(210, 435, 130, 70, "other", "state directory", ("of one service",)),
    Box(645, 435, 120, 70, "learn", "replay", ("windows of", "the past")),
    Box(920, 435, 130, 70, "learn", "learning", ("fine-tunes a copy;", "the gate decides")),
    Box(410, 60, 130, 60, "ours", "telemetry", ("metrics, log",)),
    Box(575, 60, 260, 60, "ours", "dashboard", ("page, /metrics, /healthz, /readyz",)),
    Box(920, 40, 130, 50, "other", "browser", ("the live page",)),
    Box(920, 130, 130, 70, "other", "Prometheus", ("alerts; Grafana", "draws from it")),
)
PROCESSES = (
    (390, 20, 465, 505, "the service: one process, one thread for the step"),
    (905, 395, 160, 130, "a second, niced process"),
)
ARROWS = (
    Arrow(((140, 200), (210, 200)), "readings", (173, 190)),
    Arrow(((340, 200), (410, 200)), "readings", (365, 190)),
    Arrow(((540, 200), (575, 200))),
    Arrow(((575, 340), (540, 340))),
    Arrow(((410, 340), (340, 340)), "forecasts", (365, 330)),
    Arrow(((210, 340), (140, 340)), "forecasts", (175, 330)),
    Arrow(((475, 375), (475, 435)), "first to disk, then acknowledged", (485, 410), "start"),
    Arrow(((410, 470), (340, 470))),
    Arrow(((705, 375), (705, 435))),
    Arrow(((765, 470), (920, 470)), "samples", (880, 462)),
    Arrow(((985, 435), (985, 280), (835, 280)), "new weights", (930, 272)),
    Arrow(((705, 165), (705, 120))),
    Arrow(((540, 90), (575, 90))),
    Arrow(((835, 70), (920, 70))),
    Arrow(((920, 165), (880, 165), (880, 105), (835, 105)), "scrapes", (888, 183), "middle"),
)
ROOMS = tuple(box.title for box in BOXES if box.kind != "other")
"""The rooms of src/stepahead that the picture names."""


def picture() -> str:
    """The picture as SVG."""
    return "\n".join(elements()) + "\n"


def elements() -> Iterator[str]:
    """The lines of the file."""
    label = "Readings go from sensors over the MQTT broker to the service and forecasts go back; it learns in a process"
    view = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label} beside"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" {view}>'
    yield f"<style>{STYLE}</style>"
    yield '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    yield '<path d="M0 0 L8 4 L0 8 z"/></marker></defs>'
    yield f'<rect class="back" width="{WIDTH}" height="{HEIGHT}"/>'
    for x, y, width, height, words in PROCESSES:
        yield f'<rect class="process" x="{x}" y="{y}" width="{width}" height="{height}" rx="8"/>'
        yield f'<text class="small" x="{x + width - 10}" y="{y + height - 7}" text-anchor="end">{escape(words)}</text>'
    for box in BOXES:
        yield f'<rect class="{box.kind}" x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="6"/>'
        yield from box_words(box)
    for arrow in ARROWS:
        yield f'<path d="M{" L".join(f"{x} {y}" for x, y in arrow.points)}"/>'
        if arrow.words:
            x, y = arrow.at
            yield f'<text class="small" x="{x}" y="{y}" text-anchor="{arrow.anchor}">{escape(arrow.words)}</text>'
    note = "Blue and amber boxes are rooms of src/stepahead."
    yield f'<text class="small" x="15" y="{HEIGHT - 12}">{note}</text>'
    yield "</svg>"


def box_words(box: Box) -> Iterator[str]:
    """What a box says: beside its title when it is flat, below otherwise."""
    if box.height < 40:
        yield f'<text class="title" x="{box.x + 10}" y="{box.y + 23}">{escape(box.title)}</text>'
        right = box.x + box.width - 8
        yield f'<text class="small" x="{right}" y="{box.y + 23}" text-anchor="end">{escape(box.lines[0])}</text>'
        return
    middle = box.x + box.width // 2
    yield f'<text class="title" x="{middle}" y="{box.y + 22}" text-anchor="middle">{escape(box.title)}</text>'
    for i, line in enumerate(box.lines):
        yield f'<text class="small" x="{middle}" y="{box.y + 40 + 16 * i}" text-anchor="middle">{escape(line)}</text>'


if __name__ == "__main__":
    sys.stdout.write(picture())
