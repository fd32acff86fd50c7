"""The unit of each series, as far as its messages or the settings tell it."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["Units"]

LONGEST, MOST = 32, 1024
"""Characters of a unit, and different units: what strangers send us must not fill the memory."""


class Units:
    """Two bytes a series, and each unit once.

    Example:
        >>> units = Units()
        >>> units.note(7, "Cel")
        >>> units.note(7, "K")  # the first counts, as for the name of the series
        >>> units.of(7), units.of(8), units.of(10**6)
        ('Cel', None, None)
    """

    def __init__(self) -> None:
        self._codes: NDArray[np.uint16] = np.zeros(0, np.uint16)
        self._names: list[str | None] = [None]
        self._code_of: dict[str, int] = {}

    def note(self, slot: int, unit: object) -> None:
        """Take the unit of a series; what is no unit, or comes second, is passed over."""
        if not isinstance(unit, str) or not 0 < len(unit) <= LONGEST or not unit.isprintable():
            return
        code = self._code_of.get(unit)
        if code is None:
            if len(self._names) > MOST:
                return
            code = self._code_of[unit] = len(self._names)
            self._names.append(unit)
        if slot >= len(self._codes):
            more = np.zeros(max(slot + 1 - len(self._codes), len(self._codes), 64), np.uint16)
            self._codes = np.concatenate([self._codes, more])
        if not self._codes[slot]:
            self._codes[slot] = code

    def of(self, slot: int) -> str | None:
        """The unit of a series, if it is known."""
        codes = self._codes
        return self._names[codes[slot]] if slot < len(codes) else None

    def forget(self) -> None:
        """Forget the unit of every series: for when slots were given to other series."""
        self._codes = np.zeros(0, np.uint16)
