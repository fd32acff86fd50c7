"""A decoder with a table of series and a drop counter, as the tests of formats use it."""

from stepahead.contract.reasons import DropCounter
from stepahead.contract.records import REFUSED
from stepahead.contract.settings import SubscriptionSettings
from stepahead.wire.decoder import Decoded, Decoder
from stepahead.wire.delivery import Delivery

NOW_NS = 1_760_000_000 * 10**9
NOW_MS = 1_760_000_000_000


class Desk:
    """Deliveries on the topic `s/a` unless another is given."""

    def __init__(self, *subscriptions: dict[str, object], limit: int = 1000) -> None:
        self.keys: dict[str, int] = {}
        self.limit = limit
        self.drops = DropCounter()
        table = [SubscriptionSettings.model_validate({"filter": "#"} | given) for given in subscriptions or ({},)]
        self.decoder = Decoder(table, self.intern, self.drops, "stepahead/v1", max_payload_bytes=100_000)

    def intern(self, key: str) -> int:
        if key not in self.keys and len(self.keys) >= self.limit:
            return REFUSED
        return self.keys.setdefault(key, len(self.keys))

    def decode(self, *messages: bytes | tuple[bytes, bytes], now_ns: int = NOW_NS) -> Decoded:
        pairs = [m if isinstance(m, tuple) else (b"s/a", m) for m in messages]
        return self.decoder.decode([Delivery(t, p, 0, i, now_ns) for i, (t, p) in enumerate(pairs)])

    def rows(self, *messages: bytes | tuple[bytes, bytes]) -> list[tuple[str, int, float]]:
        """(key, time in ns, value) of each reading."""
        names = [*self.keys]
        readings = self.decode(*messages).readings
        names = [*self.keys]
        columns = (readings.series.tolist(), readings.time_ns.tolist(), readings.value.tolist())
        return [(names[slot], time_ns, value) for slot, time_ns, value in zip(*columns, strict=True)]
