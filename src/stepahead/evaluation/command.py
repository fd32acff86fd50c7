"""`stepahead evaluate`: from flags to a play, and from a play to tables, JSON, pictures and a page."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from stepahead.contract.errors import UsageError
from stepahead.contract.settings import Settings
from stepahead.evaluation.evaluate import Evaluation, evaluate, scored_range
from stepahead.evaluation.peers.registry import parse_peers
from stepahead.evaluation.prequential import Engine
from stepahead.evaluation.recording import read_recording
from stepahead.evaluation.tables import print_tables

__all__ = ["EvaluateOptions", "run_evaluate"]


PIPE_WIDTH = 120


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """The flags of the command, as they are named there."""

    file: Path
    time: str
    columns: str | None = None
    delimiter: str = ","
    scale_rows: int | None = None
    score_from: int | None = None
    score_to: int | None = None
    against: str = ""
    seed: int | None = None
    group: bool = False
    json: Path | None = None
    plot: Path | None = None
    report: Path | None = None


def run_evaluate(
    options: EvaluateOptions, settings: Settings, load_engine: Callable[[], Callable[[Settings], Engine]]
) -> Evaluation:
    """Check what can be checked before the first row, play, and write what was asked for.

    Args:
        options: flags.
        settings: of the engine.
        load_engine: gives what makes an engine; called after the flags and the file are known to be right, so
            that a typing error is answered at once.

    Raises:
        UsageError: a flag, the file, a column or a peer cannot be used.
        MissingExtraError: pictures or a peer need packages that are not installed.
    """
    peers = parse_peers(options.against)
    if options.plot is not None or options.report is not None:
        from stepahead.evaluation.figures.drawing import require_matplotlib  # matplotlib is optional

        require_matplotlib()
    for flag, target in (("--json", options.json), ("--report", options.report)):
        if target is not None and not target.parent.is_dir():
            raise UsageError(f"{flag} {target}: there is no folder {target.parent}")
    columns = [name.strip() for name in options.columns.split(",")] if options.columns else None
    recording = read_recording(options.file, options.time, columns, options.delimiter)
    score = scored_range(len(recording), options.score_from, options.score_to)

    errors = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        console=errors, transient=True, disable=not errors.is_terminal,
    ) as progress:  # fmt: skip
        task = progress.add_task(options.file.name, total=score.end * (1 + len(peers)))
        evaluation = evaluate(
            recording,
            settings,
            load_engine(),
            score,
            scale_rows=options.scale_rows,
            peers=peers,
            seed=options.seed,
            group=options.group,
            advance=lambda rows: progress.advance(task, rows),
        )
    console = Console()
    # Into a file or a pipe, rich would take 80 columns and cut what is longer.
    print_tables(evaluation, console if console.is_terminal else Console(width=PIPE_WIDTH))
    write(options, evaluation)
    return evaluation


def write(options: EvaluateOptions, evaluation: Evaluation) -> None:
    """The files that were asked for."""
    try:
        if options.json is not None:
            options.json.write_text(json.dumps(evaluation.as_dict(), indent=1) + "\n", "utf-8")
        if options.plot is not None or options.report is not None:
            from stepahead.evaluation.figures.drawing import draw_all

            pictures = draw_all(evaluation)
            if options.plot is not None:
                options.plot.mkdir(parents=True, exist_ok=True)
                for picture in pictures:
                    (options.plot / f"{picture.name}.png").write_bytes(picture.png)
            if options.report is not None:
                from stepahead.evaluation.page import report_page

                options.report.write_text(report_page(evaluation, pictures), "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {error.filename}: {error.strerror}") from error
