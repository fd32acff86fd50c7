"""Loops over rows, compiled: one pass over memory where NumPy needs one for every operation."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba.core.dispatcher import Dispatcher

__all__ = ["compiled", "compiled_freely", "compiled_sum"]

F = TypeVar("F", bound=Callable[..., Any])

FILES: dict[Callable[..., Any], set[str]] = {}
"""The files that each compiled function was made from."""


def compiled(function: F) -> F:
    """Compile a function of arrays and numbers with Numba when it is first called, or load it from the cache.

    Every operation is IEEE's and in the order written, as in NumPy. The cache lies beside the source, or in the user's
    cache folder where that cannot be written; where neither can, each process compiles anew (some seconds).

    Example:
        >>> @compiled
        ... def total(x):
        ...     answer = 0.0
        ...     for i in range(len(x)):
        ...         answer += x[i]
        ...     return answer
        >>> import numpy as np
        >>> total(np.array([1.0, 2.5]))
        3.5
    """
    return _compile(function, frozenset())


def compiled_freely(function: F) -> F:
    """As `compiled`, but a product and a sum may be fused into one operation.

    What comes out for a row may differ from NumPy's in its last bits; it depends on the row alone, never on the rows
    beside it. The terms of a sum are not regrouped: with LLVM's `reassoc` a conditional sum came out wrong, and
    differently from run to run.
    """
    return _compile(function, frozenset({"contract", "nsz"}))


def compiled_sum(function: F) -> F:
    """As `compiled_freely`, and the terms of a sum are regrouped, so that several are added at a time.

    For a function that does nothing but add up, without conditions. How they are grouped depends on their number alone.
    """
    return _compile(function, frozenset({"contract", "nsz", "reassoc"}))


def _compile(function: F, freedom: frozenset[str]) -> F:
    options: dict[str, Any] = {"error_model": "numpy", "fastmath": set(freedom)}
    try:
        dispatcher = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # "no locator available": there is no folder that Numba may write to
        return numba.njit(**options)(function)  # type: ignore[no-any-return]
    _stamp(dispatcher, function)
    return dispatcher  # type: ignore[no-any-return]


def _stamp(dispatcher: Any, function: Callable[..., Any]) -> None:
    """Make the cache look at the files of all that the function may call, too.

    Numba takes an entry for current while the file of the function itself is as it was; what it calls is inlined, and
    may have changed. So the files of all compiled functions that its module has imported count, and those that they
    count themselves. They count by their names without the folder, so that the cache may be copied with its source.
    """
    files = {function.__code__.co_filename}
    for other in function.__globals__.values():
        if isinstance(other, Dispatcher):
            files |= FILES.get(other.py_func, set())
    FILES[function] = files
    dispatcher._cache._cache_file._source_stamp = tuple(map(_stamp_of, sorted(files)))


def _stamp_of(path: str) -> tuple[str, float, int]:
    state = os.stat(path)
    return os.path.basename(path), state.st_mtime, state.st_size
