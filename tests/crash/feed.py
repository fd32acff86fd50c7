"""A feed whose readings are known by their number, and the answers to it: each is there, and says always the same."""

from typing import Any

from tests.broker.conftest import MakePeer
from tests.broker.running import Ear

BASE_MS = 1_760_000_000_000


class NumberedFeed:
    """Says readings and hears forecasts, past any proxy.

    Args:
        make_peer: makes the sessions.
        topic: readings go below `topic/in`, forecasts come from below `topic/out`.
        series: reading i is of series i modulo this.
        settings: for the sessions.
    """

    def __init__(self, make_peer: MakePeer, topic: str, series: int = 1, **settings: object) -> None:
        self.topic, self.series = topic, series
        self.ear = Ear(make_peer, f"{topic}/out", **settings)
        self.mouth = make_peer(**settings).connected()
        self.sent = 0

    def say(self, count: int) -> None:
        """Publish the next so many readings; the broker has them when this returns."""
        rows = [
            (f"{self.topic}/in/{i % self.series}".encode(), b'{"ts": %d, "value": %d}' % (self.issued_at(i), i % 7))
            for i in range(self.sent, self.sent + count)
        ]
        self.mouth.session.publish_many(rows, 1, False)
        assert self.mouth.session.flush(120)
        self.sent += count

    def issued_at(self, number: int) -> int:
        """Milliseconds; a reading a second and series."""
        return BASE_MS + 1000 * (number // self.series)

    def until_answered(self, seconds: float = 180.0) -> None:
        self.ear.listen(lambda: self.ear.distinct() >= self.sent, seconds)

    def check(self) -> None:
        """Every reading has its forecast, and one that came twice is the same."""
        by_id: dict[str, dict[str, Any]] = {}
        for forecast in self.ear.forecasts:
            assert by_id.setdefault(forecast["id"], forecast) == forecast
        answered = sorted((forecast["series"], forecast["issued_at"]) for forecast in by_id.values())
        assert answered == sorted((f"{self.topic}/in/{i % self.series}", self.issued_at(i)) for i in range(self.sent))
