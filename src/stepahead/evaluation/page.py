"""One HTML page for an evaluation: tables and pictures in a single file that can be mailed."""

import base64
import html
from collections.abc import Iterable, Sequence

from stepahead.evaluation.evaluate import Evaluation
from stepahead.evaluation.figures.drawing import Picture
from stepahead.evaluation.scores import Score
from stepahead.evaluation.tables import figure, notes

__all__ = ["report_page"]

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; margin-bottom: .2rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
p.under { color: #555; margin-top: 0 } figure { margin: 1.5rem 0 } figcaption { color: #555 }
img { max-width: 100%; height: auto } div.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
th:first-child, td:first-child { text-align: left } tr.ours { font-weight: 600 }
"""


def report_page(evaluation: Evaluation, pictures: Sequence[Picture]) -> str:
    """The page as text; nothing in it is loaded from elsewhere.

    Args:
        evaluation: figures.
        pictures: as `draw_all` gives them.
    """
    recording, scored = evaluation.recording, evaluation.range
    title = html.escape(recording.name)
    headings = ("MSE", "MAE", "MSE ratio", "MAE ratio", "coverage", "width", "pinball")
    models = table(
        ("model", *headings, "no forecast", "µs/reading"),
        (
            (
                name + (" (diverged)" if score.diverged else ""),
                *cells(score),
                str(score.unforecast),
                figure(evaluation.us_per_reading.get(name)),
            )
            for name, score in evaluation.scores.models.items()
        ),
    )
    columns = table(
        ("column", *headings, "readings"),
        (
            (column, *cells(score), f"{score.cells:,}")
            for column, score in evaluation.scores.models["stepahead"].per_column.items()
        ),
    )
    remarks = "".join(f"<p>{html.escape(note)}</p>" for note in notes(evaluation))
    drawn = "".join(
        f'<figure><img alt="{html.escape(p.caption)}" src="data:image/png;base64,{base64.b64encode(p.png).decode()}">'
        f"<figcaption>{html.escape(p.caption)}</figcaption></figure>"
        for p in pictures
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}: forecasts</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
        f"<h1>{title}</h1><p class=under>rows {scored.first:,}–{scored.end - 1:,} of {evaluation.rows:,}, "
        f"{len(recording.columns)} columns, each reading forecast before it was learnt from</p>"
        f"<h2>By model</h2>{models}<h2>stepahead, by column</h2>{columns}{remarks}<h2>Pictures</h2>{drawn}"
        "</body></html>\n"
    )


def cells(score: Score) -> tuple[str, ...]:
    """The figures that models and columns share."""
    coverage = "–" if score.coverage is None else f"{100 * score.coverage:.1f}%"
    errors = (score.mse, score.mae, score.mse_ratio, score.mae_ratio)
    return (*(figure(e) for e in errors), coverage, figure(score.width), figure(score.pinball))


def table(headings: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the row of what is published stands out."""
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in headings)
    body = "".join(
        f"<tr{' class=ours' if row[0] == 'stepahead' else ''}>"
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    return f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
