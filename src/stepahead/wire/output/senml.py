"""Forecasts as SenML packs (RFC 8428), JSON."""

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain

import msgspec
from msgspec import UNSET, UnsetType

from stepahead.contract.records import Forecasts
from stepahead.wire.output.rows import rows_of

__all__ = ["SenmlBody", "senml_name"]

# §4.5.1: a name begins with a letter or a digit; the colon is our escape and is escaped itself.
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9\-./_]")


class _Record(msgspec.Struct, gc=False, omit_defaults=True):
    """One record; which fields it has says what it is (§4.3)."""

    bn: str | UnsetType = UNSET
    bt: float | UnsetType = UNSET
    n: str | UnsetType = UNSET
    t: float | UnsetType = UNSET
    v: float | UnsetType = UNSET
    vs: str | UnsetType = UNSET
    vb: bool | UnsetType = UNSET


class SenmlBody:
    """One pack per forecast, or per run: `SERIES/observed` at the reading's time, `SERIES/forecast` at the one to come.

    Beside these stand `error`, `anomaly`, `status`, `model` and `id` at the reading's time, `lower` and `upper` at the
    other, each relative to the base time. Times are seconds since 1970; SenML cannot tell those before
    July 1978 (2²⁸ s) from relative ones (§4.5.3).
    """

    content_type = "application/senml+json"

    def __init__(self) -> None:
        encoder = msgspec.json.Encoder()
        self._encode, self._encode_lines = encoder.encode, encoder.encode_lines

    def each(self, forecasts: Forecasts, keys: Sequence[str]) -> list[bytes]:
        """One pack per forecast."""
        payloads = self._encode_lines(self._packs(forecasts, keys)).split(b"\n")
        payloads.pop()  # behind the last line end
        return payloads

    def runs(self, forecasts: Forecasts, keys: Sequence[str], ends: Sequence[int]) -> list[bytes]:
        """One pack per run."""
        packs = self._packs(forecasts, keys)
        starts = [0, *ends]
        return [
            self._encode(list(chain.from_iterable(packs[start:end]))) for start, end in zip(starts, ends, strict=False)
        ]

    @staticmethod
    def _packs(forecasts: Forecasts, keys: Sequence[str]) -> list[list[_Record]]:
        packs = []
        issued_s = (forecasts.issued_at_ns / 1e9).tolist()
        aheads_s = ((forecasts.valid_at_ns - forecasts.issued_at_ns) / 1e9).tolist()
        for key, at_s, ahead_s, row in zip(keys, issued_s, aheads_s, rows_of(forecasts), strict=True):
            value, mean, lower, upper, observed, error, anomaly, status, model, identity = row
            pack = [
                _Record(bn=f"{senml_name(key)}/", bt=at_s, n="observed", v=observed),
                _Record(n="forecast", t=ahead_s, v=value),
                _Record(n="mean", t=ahead_s, v=mean),
                _Record(n="lower", t=ahead_s, v=lower),
                _Record(n="upper", t=ahead_s, v=upper),
                _Record(n="anomaly", vb=anomaly),
                _Record(n="status", vs=status),
                _Record(n="model", v=model),
                _Record(n="id", vs=identity),
            ]
            if error - error == 0.0:
                pack.insert(1, _Record(n="error", v=error))
            packs.append(pack)
        return packs


@lru_cache(maxsize=65_536)
def senml_name(key: str) -> str:
    """The key as a SenML name: what such a name must not hold becomes a colon and the hexadecimal of its UTF-8.

    A name that would not begin with a letter or a digit gets `0:` before it; no two keys have one name.

    Example:
        >>> senml_name("plant/pump 7/°C"), senml_name("/plant")
        ('plant/pump:207/:C2:B0C', '0:/plant')
    """
    name = NOT_IN_NAMES.sub(_escape, key)
    return name if name[0].isalnum() else f"0:{name}"


def _escape(found: "re.Match[str]") -> str:
    return "".join(f":{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))
