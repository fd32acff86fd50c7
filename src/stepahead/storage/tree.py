"""State trees: nested dicts with arrays and plain values at the leaves, and their flat form.

The flat name of a leaf is its JSON pointer (RFC 6901, section 3): the keys on the way to it, each after a `/`, with
`~` written `~0` and `/` written `~1`. So any string is allowed as a key, the empty one too. Lists are leaves.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepahead.contract.errors import StateError
from stepahead.storage.plain import MAX_DEPTH, check_plain
from stepahead.storage.record import as_stored

__all__ = ["FlatState", "copy_state", "flatten", "pointer", "unflatten"]


@dataclass(slots=True)
class FlatState:
    """A state tree laid flat.

    Attributes:
        arrays: by pointer, in C order, little-endian; not copied where they are so already.
        values: plain values by pointer; `{}` stands for an empty dict.
        scalars: pointers of those arrays that came as NumPy scalars and go back as such.
    """

    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    scalars: list[str] = field(default_factory=list)


def pointer(keys: tuple[str, ...]) -> str:
    """The JSON pointer of a path of keys.

    Example:
        >>> pointer(("series", "plant/pump7", "m~n"))
        '/series/plant~1pump7/m~0n'
    """
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)


def flatten(state: Mapping[str, Any]) -> FlatState:
    """Lay a state tree flat.

    Args:
        state: nested dicts with str keys; leaves are NumPy arrays and scalars of the dtypes in `record.DTYPES`, and
            plain values (see `check_plain`). Floats that may be NaN belong into arrays.

    Raises:
        TypeError, ValueError: a leaf or key that is not stored; the text gives its pointer.

    Example:
        >>> flat = flatten({"bank": {"mean": np.zeros(2)}, "names": ["a", "b"]})
        >>> list(flat.arrays), flat.values
        (['/bank/mean'], {'/names': ['a', 'b']})
    """
    flat = FlatState()
    _flatten(state, (), flat)
    return flat


def _flatten(node: Mapping[str, Any], keys: tuple[str, ...], flat: FlatState) -> None:
    if len(keys) > MAX_DEPTH:
        raise TypeError(f"state: nested deeper than {MAX_DEPTH}")
    if not node:
        flat.values[pointer(keys)] = {}
    for key, leaf in node.items():
        if type(key) is not str:
            raise TypeError(f"state: key {key!r} below {pointer(keys) or '/'} is not a string")
        path = (*keys, key)
        name = pointer(path)
        if isinstance(leaf, Mapping):
            _flatten(leaf, path, flat)
        elif isinstance(leaf, np.ndarray):
            flat.arrays[name] = as_stored(leaf, f"state {name}")
        elif isinstance(leaf, np.generic):
            flat.arrays[name] = as_stored(np.asarray(leaf), f"state {name}")
            flat.scalars.append(name)
        else:
            check_plain(leaf, f"state {name}")
            flat.values[name] = leaf


def unflatten(flat: FlatState) -> dict[str, Any]:
    """The tree that was laid flat.

    Raises:
        StateError: names that no tree has, such as a leaf below a leaf.

    Example:
        >>> unflatten(FlatState(values={"/a/b~1c": 1, "/d": {}}))
        {'a': {'b/c': 1}, 'd': {}}
    """
    scalars = set(flat.scalars)
    root: dict[str, Any] = {}
    branches = {id(root)}
    leaves: dict[str, Any] = {**flat.values, **flat.arrays}
    for name, leaf in leaves.items():
        if name == "" and leaf == {} and len(leaves) == 1:
            break
        if not name.startswith("/"):
            raise StateError(f"state: {name!r} is not a JSON pointer")
        *above, last = (key.replace("~1", "/").replace("~0", "~") for key in name[1:].split("/"))
        node = root
        for key in above:
            if key not in node:
                node[key] = {}
                branches.add(id(node[key]))
            node = node[key]
            if id(node) not in branches:
                raise StateError(f"state: {name!r} lies below a leaf")
        if last in node:
            raise StateError(f"state: {name!r} is there twice")
        node[last] = leaf[()] if name in scalars else leaf
    return root


def copy_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """A tree that shares nothing with this one, for handing over to a thread.

    Example:
        >>> mean = np.zeros(1)
        >>> copied = copy_state({"mean": mean}); mean += 1; copied["mean"].tolist()
        [0.0]
    """
    return {
        key: copy_state(leaf)
        if isinstance(leaf, Mapping)
        else leaf.copy()
        if isinstance(leaf, np.ndarray)
        else copy.deepcopy(leaf)
        for key, leaf in state.items()
    }
