"""Loops over rows, compiled: one pass over memory where NumPy needs one for every operation."""

import contextlib
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, InTreeCacheLocator
from numba.core.dispatcher import Dispatcher

__all__ = ["compiled", "compiled_freely", "compiled_sum"]

F = TypeVar("F", bound=Callable[..., Any])

FILES: dict[Callable[..., Any], set[str]] = {}
"""The files that each compiled function was made from."""


def compiled(function: F) -> F:
    """Compile a function of arrays and numbers with Numba when it is first called, or load it from the cache.

    Every operation is IEEE's and in the order written, as in NumPy. The cache lies beside the source, or in the user's
    cache folder where that cannot be written; what lies beside the source is read in any case. Where nothing can be
    written nor read, each process compiles anew (some seconds).

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
    dispatcher: Any = numba.njit(error_model="numpy", fastmath=set(freedom))(function)
    with contextlib.suppress(RuntimeError):  # "no locator available": what was typed in has no file to lie beside
        dispatcher._cache = _LoopCache(function)
    return dispatcher  # type: ignore[no-any-return]


class _ReadOnly(InTreeCacheLocator):
    """The folder beside the source, where it cannot be written: what was compiled by whoever installed us is read."""

    def ensure_cache_path(self) -> None:
        pass


class _LoopCacheImpl(CompileResultCacheImpl):
    _locator_classes = [*CompileResultCacheImpl._locator_classes, _ReadOnly]  # noqa: RUF012


class _LoopCache(FunctionCache):
    """Numba's cache of one function, with two differences.

    It looks at the files of all that the function may call, too. Numba takes an entry for current while the file of the
    function itself is as it was; what it calls is inlined, and may have changed. So the files of all compiled functions
    that its module has imported count, and those that they count themselves.

    And entries beside the source are read although only another folder can be written: a service often runs as a user
    who may not write where it was installed.
    """

    _impl_class = _LoopCacheImpl

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        files = {function.__code__.co_filename}
        for other in function.__globals__.values():
            if isinstance(other, Dispatcher):
                files |= FILES.get(other.py_func, set())
        FILES[function] = files
        stamp, name = tuple(map(_content, sorted(files))), self._impl.filename_base
        folder = Path(function.__code__.co_filename).parent / "__pycache__"
        self._cache_file = IndexDataCacheFile(self._cache_path, name, stamp)
        self._installed = IndexDataCacheFile(str(folder), name, stamp)

    def _load_overload(self, sig: Any, target_context: Any) -> Any:
        found = super()._load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        if found is None and self._installed._index_path != self._cache_file._index_path:
            data = self._installed.load(self._index_key(sig, target_context.codegen()))  # type: ignore[no-untyped-call]
            found = None if data is None else self._impl.rebuild(target_context, data)
        return found

    def _save_overload(self, sig: Any, data: Any) -> None:
        if not isinstance(self._impl.locator, _ReadOnly):
            super()._save_overload(sig, data)  # type: ignore[no-untyped-call]


@cache
def _content(path: str) -> tuple[str, bytes]:
    """Without the folder, so that the cache may be copied with its source."""
    file = Path(path)
    return file.name, sha256(file.read_bytes()).digest()
