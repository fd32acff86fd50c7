"""Which format a payload is in, where the settings leave it open; the decoder asks once per topic and stays with it."""

from typing import Literal, TypeAlias

from stepahead.contract.reasons import Reason
from stepahead.wire.formats.json import decode_json
from stepahead.wire.formats.line import looks_like_lines
from stepahead.wire.formats.senml import CBOR_ARRAYS, decode_senml, looks_like_senml

__all__ = ["JSON_STARTS", "JSON_WORDS", "RouteFormat", "recognise"]

RouteFormat: TypeAlias = Literal["plain", "senml", "line"]

JSON_STARTS = frozenset(b'{["')
JSON_WORDS = frozenset({b"true", b"false", b"null"})


def recognise(payload: bytes) -> RouteFormat:
    """The format of a payload on a topic that is not Sparkplug's.

    Returns:
        `plain` for a number or JSON, and for what is neither of the others.

    Example:
        >>> recognise(b"21.5"), recognise(b'{"value": 1}'), recognise(b'[{"n": "a", "v": 1}]')
        ('plain', 'plain', 'senml')
        >>> recognise(bytes.fromhex("81a2006161 02 182a")), recognise(b"cpu,host=a usage=1.5 1760000000000000000")
        ('senml', 'line')
    """
    start = payload.lstrip()[:1]
    if not start:
        return "plain"
    if start == b"[":
        return "senml" if looks_like_senml(decode_json(payload)) else "plain"
    if payload[0] in CBOR_ARRAYS:
        pack = decode_senml(payload)
        return "plain" if isinstance(pack, Reason) or not looks_like_senml(pack) else "senml"
    if start[0] not in JSON_STARTS and looks_like_lines(payload):
        return "line"
    return "plain"
