"""Questions and answers: whoever publishes to `PREFIX/ask/SERIES` gets the last forecast of the series back."""

from collections.abc import Callable, Sequence
from urllib.parse import unquote

import msgspec

from stepahead.contract.reasons import DropCounter, Reason
from stepahead.contract.records import Forecasts
from stepahead.service.latest import LatestForecasts
from stepahead.wire.delivery import AnnotatedDelivery, Delivery
from stepahead.wire.output.json import JsonBody
from stepahead.wire.properties import Question, content_type, correlation_data, read_question
from stepahead.wire.stock_client import Row
from stepahead.wire.topics import TopicFilter, escape_key

__all__ = ["Questions"]


class Questions:
    """Answers where the question says, with its correlation data (MQTT 5 §4.10), else on `PREFIX/answer/SERIES`.

    The answer is the forecast as one JSON object, or `{"series": …, "status": "unknown"}`. An answer never goes where
    we would hear it: such questions are counted as `ask_invalid`, as are those whose response topic is no topic.

    Args:
        prefix: our topics start with this.
        levels: coverage of the intervals.
        filters: what we subscribe to.
        find: series key -> slot, or None.
        drops: counts what cannot be answered.
        mqtt5: whether answers can carry properties.
    """

    def __init__(
        self,
        prefix: str,
        levels: Sequence[float],
        filters: Sequence[TopicFilter],
        find: Callable[[str], int | None],
        drops: DropCounter,
        mqtt5: bool,
    ) -> None:
        self.filter = f"{prefix}/ask/#"
        self._asked = f"{prefix}/ask/".encode()
        self._ours = f"{prefix}/"
        self._answers = f"{prefix}/answer/"
        self._body = JsonBody(levels)
        self._filters = filters
        self._find = find
        self._drops = drops
        self._mqtt5 = mqtt5
        self._latest = LatestForecasts()

    def note(self, forecasts: Forecasts) -> None:
        """Told of the forecasts of one batch."""
        self._latest.note(forecasts)

    def among(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Those deliveries that ask."""
        asked = self._asked
        return [message for message in deliveries if message[0].startswith(asked)]

    def answer(self, questions: Sequence[Delivery]) -> list[Row]:
        """One message per question that can be answered, in order."""
        rows: list[Row] = []
        for message in questions:
            try:
                key = unquote(message.topic[len(self._asked) :].decode(), errors="strict")
            except UnicodeDecodeError:
                self._drops[Reason.NOT_UTF8] += 1
                continue
            how: Question | None = Question(None, None)
            if isinstance(message, AnnotatedDelivery):
                how = read_question(message.properties)
            topic = None if how is None else self._where(how, key)
            if how is None or topic is None:
                self._drops[Reason.ASK_INVALID] += 1
                continue
            slot = self._find(key)
            last = None if slot is None else self._latest.of(slot)
            if last is None:
                payload = msgspec.json.encode({"series": key, "status": "unknown"})
            else:
                [payload] = self._body.each(last, [key])
            if not self._mqtt5:
                rows.append((topic, payload))
                continue
            properties = content_type(self._body.content_type)
            if how.correlation is not None:
                properties += correlation_data(how.correlation)
            rows.append((topic, payload, properties))
        return rows

    def _where(self, how: Question, key: str) -> bytes | None:
        """The topic of the answer; None when it is no topic, or one that we listen to."""
        if how.response_topic is None:
            return f"{self._answers}{escape_key(key)}".encode() if key else None
        try:
            text = how.response_topic.decode()
        except UnicodeDecodeError:
            return None
        heard = text.startswith(f"{self._ours}ask/") or any(each.matches(text) for each in self._filters)
        spoken = text.startswith(self._ours) and not text.startswith(self._answers)  # nobody forges our forecasts
        if not text or not text.isprintable() or set("+#") & set(text) or text.startswith("$") or heard or spoken:
            return None
        return how.response_topic
