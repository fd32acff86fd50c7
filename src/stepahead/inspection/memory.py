"""How many bytes the state of the banks takes, and what one more series costs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from stepahead.inspection.look import Stored

__all__ = ["BankSize", "bank_sizes"]


@dataclass(frozen=True, slots=True)
class BankSize:
    """Bytes of one part of the state.

    Attributes:
        name: of the bank, as `panel.memory`; `cohort/part` for what is not per series.
        size: bytes, room for series to come included.
        per_series: bytes that one series takes in it; 0 for what does not grow with the series.
    """

    name: str
    size: int
    per_series: int


def bank_sizes(stored: Stored) -> list[BankSize]:
    """The parts of a snapshot's state, largest first."""
    engine = stored.state["engine"]
    sizes: dict[str, BankSize] = {}
    for banks in (engine["banks"], engine["pipeline"]["banks"]):
        for name, array in banks.items():
            bank = name.rpartition(".")[0]
            # The long regressions exist for the first series only.
            each = 0 if "long" in bank or not len(array) else array.nbytes // len(array)
            known = sizes.get(bank, BankSize(bank, 0, 0))
            sizes[bank] = BankSize(bank, known.size + array.nbytes, known.per_series + each)
    for cohort, state in engine["cohorts"].items():
        for part, content in state.items():
            size = sum(array.nbytes for array in arrays_of(content))
            if size:
                sizes[f"{cohort}/{part}"] = BankSize(f"{cohort}/{part}", size, 0)
    return sorted(sizes.values(), key=lambda bank: (-bank.size, bank.name))


def arrays_of(content: Any) -> Iterator[NDArray[Any]]:
    """All arrays of a tree, or the one that it is."""
    if isinstance(content, Mapping):
        for part in content.values():
            yield from arrays_of(part)
    elif hasattr(content, "nbytes"):
        yield content
