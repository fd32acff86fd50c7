"""The state of series that were silent when a snapshot was taken: rows that lie in packs beside it."""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.bank import Column
from stepahead.contract.errors import StateError
from stepahead.contract.rows import RowForm
from stepahead.storage.packs import PackStore

__all__ = ["SilentRows"]


class SilentRows:
    """Rows of silent series, by number.

    Args:
        hibernation: the engine's state of it.
        packs: where the rows lie.
    """

    def __init__(self, hibernation: Mapping[str, Any], packs: PackStore) -> None:
        self._packs = packs
        away = hibernation["away"] or {"series": np.empty(0, np.int32)}
        self._away = {name: array[np.argsort(away["series"])] for name, array in away.items()}
        self._form = RowForm({name: Column(dtype, tuple(shape)) for name, dtype, shape in hibernation["form"]})

    def lie(self, numbers: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which of these series have a row."""
        return np.isin(numbers, self._away["series"])

    def columns(self, numbers: NDArray[np.int32]) -> dict[str, NDArray[Any]]:
        """What their banks held.

        Raises:
            StateError: a row cannot be read, or is not what was laid down.
        """
        at = np.searchsorted(self._away["series"], numbers)
        places = zip(*(self._away[name][at].tolist() for name in ("pack", "row", "checksum")), strict=True)
        rows = []
        for pack, row, checksum in places:
            rows.append(self._packs.read(pack, [row], self._form.size))
            if zlib.crc32(rows[-1].tobytes()) != checksum:
                raise StateError(f"row {row} of pack {pack} does not match its checksum")
        return self._form.decode(np.concatenate(rows))
