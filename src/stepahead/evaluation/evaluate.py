"""An evaluation: play a recording through the engine and its peers, and score what they said."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from stepahead.contract.errors import UsageError
from stepahead.contract.settings import Settings
from stepahead.evaluation.peers.peer import play_peer
from stepahead.evaluation.peers.registry import load_peer
from stepahead.evaluation.prequential import Engine, Play, play_engine, settings_for_evaluation
from stepahead.evaluation.recording import Recording
from stepahead.evaluation.scores import Score, Scores, score_forecasts

__all__ = ["Evaluation", "ScoredRange", "evaluate", "scored_range"]


@dataclass(frozen=True, slots=True)
class ScoredRange:
    """Rows that are scored: `first` to `end - 1`; rows before it are only learnt from, rows after it not played."""

    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came out of an evaluation.

    Attributes:
        recording: what was played, scaled if so wished.
        rows: rows of the file, also those that were not played.
        range: rows that were scored.
        play: every forecast of the engine.
        forecast: model -> float64[rows played, C]; the engine's and the peers'.
        scores: the figures.
        us_per_reading: model -> microseconds for forecasting and learning one reading.
        skipped: cells without a finite value in the rows played.
        seconds: wall time of the whole evaluation.
    """

    recording: Recording
    rows: int
    range: ScoredRange
    play: Play
    forecast: Mapping[str, np.ndarray[Any, np.dtype[np.float64]]]
    scores: Scores
    us_per_reading: Mapping[str, float]
    skipped: int
    seconds: float

    @property
    def readings_per_second(self) -> float:
        """Readings through the engine per second spent in it; peers are not in it."""
        return self.play.readings / self.play.seconds if self.play.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The figures for machines; a mean that left float64, and what is not known, is None."""
        document = {
            "file": self.recording.name,
            "rows": self.rows,
            "columns": list(self.recording.columns),
            "scored": int(self.scores.cells.sum()),
            "score_from": self.range.first,
            "score_to": self.range.end,
            "skipped": self.skipped,
            "refused": self.play.refused,
            "clock_set_back": list(self.recording.set_back),
            "seconds": self.seconds,
            "readings_per_second": self.readings_per_second,
            "models": {
                name: asdict(score) | {"us_per_reading": self.us_per_reading.get(name)}
                for name, score in self.scores.models.items()
            },
        }
        result: dict[str, Any] = finite(document)
        return result


def finite(value: Any) -> Any:
    """The same without infinities and NaN, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: finite(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [finite(below) for below in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def scored_range(rows: int, first: int | None, end: int | None) -> ScoredRange:
    """The rows to score; by default the last four fifths.

    Raises:
        UsageError: the range is empty or beyond the file.

    Example:
        >>> scored_range(100, None, None)
        ScoredRange(first=20, end=100)
    """
    end = rows if end is None else end
    first = rows // 5 if first is None else first
    if not 1 <= end <= rows:
        raise UsageError(f"--score-to {end}: must be 1 to {rows}, the number of rows (the row itself is not scored)")
    if not 0 <= first < end:
        raise UsageError(f"--score-from {first}: must be 0 to {end - 1}: rows {first} to {end - 1} are no rows")
    return ScoredRange(first, end)


def evaluate(
    recording: Recording,
    settings: Settings,
    make_engine: Callable[[Settings], Engine],
    score: ScoredRange,
    *,
    scale_rows: int | None = None,
    peers: Sequence[str] = (),
    seed: int | None = None,
    group: bool = False,
    advance: Callable[[int], None] = lambda rows: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Evaluation:
    """Play and score.

    Args:
        recording: R rows, C columns.
        settings: of the engine; made deterministic here.
        make_engine: makes a newborn engine.
        score: rows to score.
        scale_rows: standardise each column by so many first rows, and report in these units.
        peers: names of peers, see `stepahead.evaluation.peers.registry`.
        seed: overrides `learning.seed`.
        group: forecast the columns from one another.
        advance: called with rows done; they sum to `score.end * (1 + len(peers))`.
        clock: seconds.

    Raises:
        UsageError: the recording cannot be scaled, grouped or scored so.
        MissingExtraError: a peer's package is not installed.
    """
    began = clock()
    makers = {name: load_peer(name) for name in peers}
    rows = len(recording)
    scaled = recording if scale_rows is None else recording.standardized(scale_rows)
    played = scaled.head(score.end)
    settings = settings_for_evaluation(settings, played, seed, group)
    engine = make_engine(settings)
    try:
        play = play_engine(played, engine, settings.interval.levels, advance, clock)
    finally:
        engine.close()
    # An expert of the engine may bear the name of a peer.
    makers = {name + " (peer)" if name in play.forecast else name: make for name, make in makers.items()}
    others = {name: play_peer(played, make, settings.learning.seed, advance, clock) for name, make in makers.items()}
    forecast = {**play.forecast, **{name: other.forecast for name, other in others.items()}}
    scores = score_forecasts(played.columns, played.value, forecast, score.first, play.levels, (play.lower, play.upper))
    speed = {name: other.us_per_reading for name, other in others.items()}
    return Evaluation(
        recording=played,
        rows=rows,
        range=score,
        play=play,
        forecast=forecast,
        scores=Scores(scores.cells, in_order(scores.models)),
        us_per_reading={"stepahead": 1e6 * play.seconds / max(play.readings, 1), **speed},
        skipped=int((~played.present).sum()),
        seconds=clock() - began,
    )


def in_order(models: Mapping[str, Score]) -> dict[str, Score]:
    """What is published first, then its mean, the network and persistence, then the rest as they came."""
    front = [name for name in ("stepahead", "mean", "lstm", "persistence") if name in models]
    return {name: models[name] for name in [*front, *(name for name in models if name not in front)]}
