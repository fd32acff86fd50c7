"""Numbers as a person wants to read them: as many decimals as the uncertainty allows, points below each other."""

import math
from collections.abc import Sequence

__all__ = ["aligned", "clock", "decimals", "percent", "shorten", "signed", "sparkline"]

BLOCKS = "▁▂▃▄▅▆▇█"
MOST = 1e9
"""Larger numbers, and those that would show as 0, are written with an exponent."""


def decimals(uncertainty: float, most: int = 4) -> int:
    """Decimals that show two digits of an uncertainty (Particle Data Group's rule, without its exception at 3.55).

    Args:
        uncertainty: half the width of an interval, any unit.
        most: never more decimals than this.

    Example:
        >>> decimals(0.47), decimals(0.047), decimals(12.0), decimals(0.0)
        (2, 3, 0, 2)
    """
    if not (math.isfinite(uncertainty) and uncertainty > 0):
        return 2
    return min(max(1 - math.floor(math.log10(uncertainty)), 0), most)


def aligned(values: Sequence[float], places: Sequence[int]) -> list[str]:
    """Numbers as texts of equal width with their decimal points below each other; blanks for NaN.

    Args:
        values: float[n].
        places: int[n], decimals of each.

    Example:
        >>> aligned([3.14159, 100.0, float("nan")], [2, 0, 1])
        ['  3.14', '100   ', '      ']
    """
    texts = [_text(value, place) for value, place in zip(values, places, strict=True)]
    tails = [len(text) - text.index(".") if "." in text and "e" not in text else 0 for text in texts]
    tail = max(tails, default=0)
    padded = [text + " " * (tail - t) if "e" not in text else text for text, t in zip(texts, tails, strict=True)]
    width = max((len(text) for text in padded), default=0)
    return [text.rjust(width) for text in padded]


def _text(value: float, places: int) -> str:
    if not math.isfinite(value):
        return ""
    if abs(value) >= MOST or (0 < abs(value) < 0.5 * 10.0**-places and places >= 4):
        return f"{value:.2e}"
    text = f"{value:.{places}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def sparkline(values: Sequence[float]) -> str:
    """One block per value, the lowest and the highest value filling the height; a constant series is a flat line.

    Example:
        >>> sparkline([0, 1, 2, 3, 4, 5, 6, 7]), sparkline([5, 5])
        ('▁▂▃▄▅▆▇█', '▄▄')
    """
    if not values:
        return ""
    low, high = min(values), max(values)
    if not high > low:
        return BLOCKS[3] * len(values)
    # Halves first: the span of two values near ±1.8e308 is not finite.
    span = high / 2 - low / 2
    return "".join(BLOCKS[min(int((v / 2 - low / 2) / span * 8), 7)] for v in values)


def shorten(name: str, width: int) -> str:
    """A name within so many columns, its middle left out: both ends tell sensors apart.

    Example:
        >>> shorten("plant/hall7/pump12/temperature", 20)
        'plant/hal…emperature'
    """
    if len(name) <= width:
        return name
    tail = width // 2
    return name[: width - tail - 1] + "…" + name[len(name) - tail :]


def signed(value: float | None) -> str:
    """A skill as text: always a sign, two decimals, never wider than six columns; a dash when not known.

    Example:
        >>> signed(0.314), signed(-0.004), signed(None), signed(-1234.0)
        ('+0.31', '0.00', '–', '<-99')
    """
    if value is None:
        return "–"
    if value < -99:
        return "<-99"
    text = f"{value:+.2f}"
    return "0.00" if float(text) == 0 else text


def percent(value: float | None) -> str:
    """A share as text, or a dash when not known.

    Example:
        >>> percent(0.9012), percent(None)
        ('90.1%', '–')
    """
    return "–" if value is None else f"{value:.1%}"


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours when there are any.

    Example:
        >>> clock(62.9), clock(3661)
        ('01:02', '1:01:01')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"
