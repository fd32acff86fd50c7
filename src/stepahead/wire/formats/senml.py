"""SenML packs (RFC 8428), as JSON and as CBOR: base fields resolved, sums, relative and absolute times."""

import math
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias

import cbor2
import msgspec

from stepahead.contract.reasons import Reason
from stepahead.wire.formats.json import decode_json
from stepahead.wire.formats.timestamp import read_time

__all__ = [
    "CBOR_ARRAYS",
    "Entry",
    "Record",
    "decode_records",
    "decode_senml",
    "looks_like_senml",
    "pack_time_ns",
    "resolve_pack",
]

LABELS = {
    -1: "bver", -2: "bn", -3: "bt", -4: "bu", -5: "bv", -6: "bs",
    0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb", 5: "s", 6: "t", 7: "ut", 8: "vd",
}  # fmt: skip
"""CBOR label -> JSON label (RFC 8428, table 4)."""
KNOWN = frozenset(LABELS.values())
VERSION = 10
CBOR_ARRAYS = range(0x80, 0xA0)
"""First bytes of a CBOR array (RFC 8949, §3.1)."""
ABSOLUTE_FROM_S = 2**28
"""Times below are relative to now (RFC 8428, §4.5.3)."""

Pack: TypeAlias = list[dict[str, object]]


class Record(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A record whose labels are all usual, with a value, as msgspec reads it fastest; null is no label's value."""

    v: float
    bn: str | msgspec.UnsetType = msgspec.UNSET
    n: str = ""
    u: str | msgspec.UnsetType = msgspec.UNSET
    bt: float | msgspec.UnsetType = msgspec.UNSET
    t: float = 0.0
    bu: str | msgspec.UnsetType = msgspec.UNSET


class Entry(NamedTuple):
    """One value of a resolved pack.

    Attributes:
        name: base name and name; that of a sum ends in `/sum`.
        raw: the value, base value added (§4.2), or true or false.
        time_ns: UTC nanoseconds, or why there is none.
        unit: its unit or the base unit.
        record: what it stood in.
    """

    name: str
    raw: object
    time_ns: int | Reason
    unit: str | None
    record: dict[str, object]


_records = msgspec.json.Decoder(list[Record]).decode


def decode_records(payload: bytes) -> list[Record]:
    """The records of a plain pack of either form.

    Raises:
        ValueError: the pack is not plain and must be read by the book.
    """
    if payload and payload[0] in CBOR_ARRAYS:
        pack = decode_senml(payload)
        if isinstance(pack, Reason):
            raise ValueError(pack)
        return msgspec.convert(pack, list[Record])
    return _records(payload)


def decode_senml(payload: bytes) -> Pack | Reason:
    """Decode a pack of either form, with the labels of JSON.

    Example:
        >>> decode_senml(b'[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]')
        [{'n': 'urn:dev:ow:10e2073a01080063', 'u': 'Cel', 'v': 23.1}]
        >>> decode_senml(bytes.fromhex("81a2006161 02 182a"))
        [{'n': 'a', 'v': 42}]
    """
    document: object
    if payload.lstrip()[:1] in (b"[", b"{", b"\xef"):
        document = decode_json(payload)
        if isinstance(document, Reason):
            return document
    else:
        try:
            document = cbor2.loads(payload)
        except RecursionError:
            return Reason.TOO_DEEP
        except (cbor2.CBORDecodeError, ValueError, TypeError, OverflowError, MemoryError, LookupError) as error:
            if isinstance(error.__cause__ or error, UnicodeDecodeError):
                return Reason.NOT_UTF8
            return Reason.TOO_DEEP if "nesting depth" in str(error) else Reason.NOT_DECODABLE
    if not isinstance(document, list):
        return Reason.NOT_DECODABLE
    pack: Pack = []
    for element in document:
        if not isinstance(element, dict):
            return Reason.NOT_DECODABLE
        record: dict[str, object] = {}
        for label, value in element.items():
            name = LABELS.get(label, label) if isinstance(label, int) and not isinstance(label, bool) else label
            if isinstance(name, str):
                record[name] = _float(value) if isinstance(value, Decimal) else value
        pack.append(record)
    return pack


def looks_like_senml(document: object) -> bool:
    """Whether a decoded document is a SenML pack: every label known, and each record named and with a value or base.

    Example:
        >>> looks_like_senml([{"bn": "a", "v": 1}, {"n": "b", "v": 2}]), looks_like_senml([{"ts": 1, "v": 2}])
        (True, False)
    """
    if not isinstance(document, list) or not document:
        return False
    names = [set(element) for element in document if isinstance(element, dict)]
    if len(names) < len(document) or not all(labels <= KNOWN for labels in names):
        return False
    return bool(names[0] & {"n", "bn"}) and all(labels & {"n", "bn", "v", "s"} for labels in names)


def pack_time_ns(time_s: float, received_ns: int) -> int | None:
    """Seconds of a record, its base added, as UTC nanoseconds (RFC 8428, §4.5.3).

    Example:
        >>> pack_time_ns(-5.0, 1760000000 * 10**9), pack_time_ns(1.320067464e9, 0)
        (1759999995000000000, 1320067464000000000)
    """
    if time_s >= ABSOLUTE_FROM_S:
        return read_time(time_s, "s")
    offset = read_time(time_s, "s")
    return None if offset is None else received_ns + offset


def resolve_pack(pack: Pack, received_ns: int, entries: list[Entry]) -> list[Reason]:
    """Resolve a pack (RFC 8428, §4.6) and append its values in order.

    Args:
        pack: records with the labels of JSON.
        received_ns: now, for relative times.
        entries: filled.

    Returns:
        Why records, or the whole pack or the rest of it, hold no value: one reason for each.

    Example:
        >>> entries = []
        >>> resolve_pack([{"bn": "dev/", "bt": 1.276020076e9, "n": "v", "v": 120.1}, {"n": "i", "t": -5, "v": 1}], 0,
        ...              entries)
        []
        >>> [(entry.name, entry.raw, entry.time_ns) for entry in entries]
        [('dev/v', 120.1, 1276020076000000000), ('dev/i', 1, 1276020071000000000)]
    """
    for record in pack:
        if any(label.endswith("_") for label in record):  # §4.4: must be understood, and is not
            return [Reason.NOT_DECODABLE]
        version = record.get("bver", VERSION)
        if not isinstance(version, int) or version > VERSION:
            return [Reason.NOT_DECODABLE]
    reasons: list[Reason] = []
    base: dict[str, Any] = {"bn": "", "bt": 0.0, "bu": None, "bv": None, "bs": None}
    for record in pack:
        unfit = {label for label, value in record.items() if not _fits(label, value)}
        if not unfit.isdisjoint(base):
            return [*reasons, Reason.NOT_DECODABLE]  # what the records from here on mean cannot be known
        base.update((label, record[label]) for label in base if label in record)
        if unfit:
            reasons.append(Reason.VALUE_NOT_NUMBER)
            continue
        name = base["bn"] + record.get("n", "")
        unit: Any = record.get("u", base["bu"])
        try:
            time_ns = pack_time_ns(float(base["bt"]) + float(record.get("t", 0.0)), received_ns)  # type: ignore[arg-type]
        except OverflowError:
            time_ns = None
        time: int | Reason = Reason.TIME_NOT_DECODABLE if time_ns is None else time_ns
        if "v" in record:
            entries.append(Entry(name, _sum(record["v"], base["bv"]), time, unit, record))
        elif "vb" in record:
            entries.append(Entry(name, record["vb"], time, unit, record))
        elif "vs" in record or "vd" in record:
            reasons.append(Reason.VALUE_NOT_NUMBER)
        elif "n" in record and base["bv"] is not None:  # §4.2: of value and base value, the missing one is zero
            entries.append(Entry(name, base["bv"], time, unit, record))
        elif "n" in record and "s" not in record and base["bs"] is None:
            reasons.append(Reason.VALUE_MISSING)
        if "s" in record or ("n" in record and base["bs"] is not None):
            entries.append(Entry(f"{name}/sum", _sum(record.get("s", 0.0), base["bs"]), time, unit, record))
    return reasons


TEXTS = frozenset({"bn", "n", "u", "bu", "vs"})
NUMBERS = frozenset({"bt", "t", "ut", "bv", "bs", "v", "s"})


def _fits(label: str, value: object) -> bool:
    """Whether a value has the type that its label asks for (RFC 8428, table 3)."""
    if label in TEXTS:
        return isinstance(value, str)
    return label not in NUMBERS or (isinstance(value, int | float) and not isinstance(value, bool))


def _float(number: Decimal) -> float:
    """A decimal fraction (RFC 8949, §3.4.4) as float64; beyond it, infinite."""
    return math.nan if number.is_nan() else float(number)


def _sum(value: Any, base: Any) -> object:
    if base is None:
        return value
    try:
        total = float(value) + float(base)
    except OverflowError:
        return math.inf
    return total
