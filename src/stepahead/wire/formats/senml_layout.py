"""SenML packs as senders repeat them: records labelled as before are decoded and checked by msgspec in one go."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from stepahead.wire.formats.senml import Record

__all__ = ["Labels", "PackLayout", "labels_of", "pack_layout"]

MOST_RECORDS, MOST_KINDS = 1024, 64
Text: TypeAlias = str | msgspec.UnsetType
Labels: TypeAlias = tuple[str, Text, Text, Text, bool]
"""Of a record: name, unit, base name, base unit, and whether it has a base time."""


class PackLayout(NamedTuple):
    """How packs with certain labels are read.

    Attributes:
        decode: JSON -> a tuple of records with `v` and `t`, the first with `bt` if it is based; raises `ValueError`
            where any label differs.
        based: whether the first record has a base time; no other has.
        slots: of the values.
    """

    decode: Callable[[bytes], tuple[Any, ...]]
    based: bool
    slots: Sequence[int]


def labels_of(records: Sequence[Record]) -> list[Labels]:
    """What must be the same for a pack to be read by layout."""
    return [(record.n, record.u, record.bn, record.bu, record.bt is not msgspec.UNSET) for record in records]


def pack_layout(labels: Sequence[Labels], slots: Sequence[int]) -> PackLayout | None:
    """The layout of packs with these labels; None where it would cost more than it saves.

    Args:
        labels: of the records, in order.
        slots: of their values, one for each.

    Example:
        >>> unset = msgspec.UNSET
        >>> layout = pack_layout([("a", unset, "dev/", unset, True), ("b", "Cel", unset, unset, False)], (0, 1))
        >>> one, two = layout.decode(b'[{"bn":"dev/","bt":1e9,"n":"a","v":1},{"n":"b","u":"Cel","v":2,"t":5}]')
        >>> (one.v, one.t, one.bt), (two.v, two.t)
        ((1.0, 0.0, 1000000000.0), (2.0, 5.0))
        >>> layout.decode(b'[{"bn":"dev/","bt":1e9,"n":"a","v":1},{"n":"b","v":2}]')
        Traceback (most recent call last):
            ...
        msgspec.ValidationError: Object missing required field `u` - at `$[1]`
    """
    kinds = dict.fromkeys(labels)
    later_times = any(has_time for *_, has_time in labels[1:])
    if later_times or len(slots) != len(labels) or len(labels) > MOST_RECORDS or len(kinds) > MOST_KINDS:
        return None
    types = {kind: _structure(kind) for kind in kinds}
    decode: Any = msgspec.json.Decoder(tuple[*(types[kind] for kind in labels)]).decode  # type: ignore[misc]
    return PackLayout(decode, labels[0][-1], slots)


def _structure(labels: Labels) -> Any:
    """A record that has these labels and no others."""
    name, unit, base_name, base_unit, has_time = labels
    fields: list[Any] = [("v", float), ("t", float, 0.0)]
    fields.append(("n", Literal[name]) if name else ("n", Literal[""], ""))
    for label, text in (("u", unit), ("bn", base_name), ("bu", base_unit)):
        if text is not msgspec.UNSET:
            fields.append((label, Literal[text]))
    if has_time:
        fields.append(("bt", float))
    return msgspec.defstruct("Labelled", fields, kw_only=True, forbid_unknown_fields=True, gc=False)
