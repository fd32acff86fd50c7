"""Forecasts out: topics and payloads as the settings want them, and the status that stands retained."""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Protocol

import msgspec
import numpy as np

from stepahead.contract.errors import BrokenLawError
from stepahead.contract.records import Forecasts, SlotArray
from stepahead.contract.settings import PublishSettings
from stepahead.wire.delivery import Delivery
from stepahead.wire.output.body import Body, RunBody
from stepahead.wire.output.json import ColumnsBody, JsonBody
from stepahead.wire.output.line_protocol import LineProtocolBody
from stepahead.wire.output.senml import SenmlBody
from stepahead.wire.output.sparkplug import DeviceTopics, SparkplugBody
from stepahead.wire.output.template import TemplateBody
from stepahead.wire.properties import content_type, message_expiry, user_property
from stepahead.wire.stock_client import Row
from stepahead.wire.topic_template import OwnTopics, TopicTemplate
from stepahead.wire.topics import escape_key

__all__ = ["ForecastEncoder", "device_topics", "encode_status", "forecast_topics", "offline_status", "status_topic"]

BLOCK = 512
"""Forecasts written at once: at 8192, when nothing stays in the cache, each costs 1.4 times as much."""
SCHEMA = "stepahead/forecast/1"
TOPICS = {"each": "{prefix}/forecast/{series}", "batch": "{prefix}/batch/{topic}"}


class ForecastEncoder:
    """Writes what is to be published: a message per forecast, per anomaly, or per message that came in.

    Args:
        settings: which forecasts, in which form, on which topics.
        levels: coverage of the intervals, as in `Forecasts.lower` and `upper`.
        key_of: slot -> series key; asked once per slot.
        mqtt5: whether messages can carry properties: content type, expiry and, by setting, user properties.
        client_id: names us as a Sparkplug edge node where the settings do not.

    Raises:
        SettingsError: a template cannot be used.

    Example:
        >>> issued, valid = np.array([1760000000 * 10**9]), np.array([1760000001 * 10**9])
        >>> value, lower, upper = np.array([[21.5]]), np.array([[21.0]]), np.array([[22.0]])
        >>> observed, unknown, no = np.array([21.25]), np.array([np.nan]), np.array([False])
        >>> none, identity = np.array([0]), np.array([255], np.uint64)
        >>> one = Forecasts(none, none, issued, valid, value, value[0], lower, upper, observed, unknown, no, unknown,
        ...                 none, none, identity)
        >>> [(topic, payload)] = ForecastEncoder(PublishSettings(), [0.9], lambda slot: "plant/pump").encode(one)
        >>> topic
        b'stepahead/v1/forecast/plant/pump'
        >>> print(payload.decode())  # doctest: +NORMALIZE_WHITESPACE
        {"series":"plant/pump","issued_at":1760000000000,"valid_at":1760000001000,"value":21.5,"mean":21.5,"lower":21.0,"upper":22.0,"level":0.9,"observed":21.25,"anomaly":false,"status":"warming","model":0,"id":"00000000000000ff"}
    """

    def __init__(
        self,
        settings: PublishSettings,
        levels: Sequence[float],
        key_of: Callable[[int], str],
        mqtt5: bool = False,
        client_id: str = "stepahead",
    ) -> None:
        self._mode = settings.mode
        self._topics = forecast_topics(settings, client_id)
        self._key_of = key_of
        self._names: dict[int, tuple[bytes, str]] = {}
        self._runs = make_run_body(settings, levels) if settings.mode == "batch" else None
        self._body = self._runs or make_body(settings, levels)
        self._properties = _properties(settings, self._body) if mqtt5 else b""
        self._user_properties = mqtt5 and settings.user_properties

    def encode(
        self, forecasts: Forecasts, message: SlotArray | None = None, deliveries: Sequence[Delivery] = ()
    ) -> list[Row]:
        """Topics and payloads, in order.

        Args:
            forecasts: of one batch.
            message: int32[n], rising: index of the delivery that each forecast's reading came in; none = not known, and
                where one message goes out per message in, each forecast has one of its own, on the topic of its key.
            deliveries: those that came in.

        Raises:
            BrokenLawError: a number other than `error` is not finite.
        """
        for column in (forecasts.value, forecasts.mean, forecasts.lower, forecasts.upper, forecasts.observed):
            if not np.isfinite(column).all():
                raise BrokenLawError("a forecast that is not finite was about to be published")
        rows: list[Row] = []
        if self._runs is not None:
            if message is None:
                return self._alone(forecasts, self._runs)
            for start, ends, block in _blocks_of_runs(forecasts, message):
                keys = [key for _, key in self._named(block)]
                payloads = self._runs.runs(block, keys, ends)
                first = message[start + np.array([0, *ends[:-1]])].tolist()
                topics = [self._topics.fill(deliveries[i].topic.decode()).encode() for i in first]
                rows += self._rows(topics, payloads, block.model[np.array(ends) - 1].tolist(), None)
            return rows
        if self._mode == "anomaly":
            forecasts = forecasts[forecasts.anomaly]
        for start in range(0, len(forecasts), BLOCK):
            block = forecasts[start : start + BLOCK]
            named = self._named(block)
            keys = [key for _, key in named]
            payloads = self._body.each(block, keys)
            if self._properties:
                rows += self._rows([topic for topic, _ in named], payloads, block.model.tolist(), keys)
            else:
                rows += [(topic, payload) for (topic, _), payload in zip(named, payloads, strict=True)]
        return rows

    def _alone(self, forecasts: Forecasts, body: RunBody) -> list[Row]:
        """A batch of one for each forecast."""
        keys = [key for _, key in self._named(forecasts)]
        payloads = body.runs(forecasts, keys, range(1, len(forecasts) + 1))
        topics = [self._topics.fill(escape_key(key)).encode() for key in keys]
        return list(self._rows(topics, payloads, forecasts.model.tolist(), keys))

    def _rows(
        self, topics: list[bytes], payloads: list[bytes], models: list[int], keys: list[str] | None
    ) -> Iterator[Row]:
        """Topics and payloads, with properties where there are any."""
        same = self._properties
        if not same:
            return zip(topics, payloads, strict=True)
        if not self._user_properties:
            return zip(topics, payloads, repeat(same), strict=False)
        of_model = {model: same + user_property("model", str(model)) for model in set(models)}
        several = [of_model[model] for model in models]
        if keys is not None:
            several = [some + user_property("series", key) for some, key in zip(several, keys, strict=True)]
        return zip(topics, payloads, several, strict=True)

    def forget(self) -> None:
        """Forget every key: for when slots were given to other series."""
        self._names.clear()

    def _named(self, forecasts: Forecasts) -> list[tuple[bytes, str]]:
        """Topic and key of each row."""
        slots: list[int] = forecasts.series.tolist()
        names = self._names
        try:
            return [names[slot] for slot in slots]
        except KeyError:
            for slot in slots:
                if slot not in names:
                    key = self._key_of(slot)
                    names[slot] = (self._topics.fill(key).encode() if self._mode != "batch" else b"", key)
            return [names[slot] for slot in slots]


def _blocks_of_runs(forecasts: Forecasts, message: SlotArray) -> Iterator[tuple[int, list[int], Forecasts]]:
    """Whole runs of forecasts of one message, about `BLOCK` at once: first row, ends of the runs in it, the rows."""
    ends = [*(np.flatnonzero(np.diff(message)) + 1).tolist(), len(message)] if len(message) else []
    start, inside = 0, []
    for end in ends:
        inside.append(end - start)
        if end - start >= BLOCK or end == len(message):
            yield start, inside, forecasts[start:end]
            start, inside = end, []


class Topics(Protocol):
    """The topics that forecasts go out on."""

    covers: OwnTopics

    def fill(self, part: str) -> str:
        """The topic of a series, or of a message that came in."""


def forecast_topics(settings: PublishSettings, client_id: str = "stepahead") -> Topics:
    """The topics that forecasts go out on.

    Raises:
        SettingsError: `publish.topic` cannot be used.
    """
    if settings.format == "sparkplug":
        return device_topics(settings, client_id)
    if settings.mode == "batch":
        return TopicTemplate(settings.topic or TOPICS["batch"], settings.prefix, "topic")
    return TopicTemplate(settings.topic or TOPICS["each"], settings.prefix, "series")


def device_topics(settings: PublishSettings, client_id: str) -> DeviceTopics:
    """The topics of us as a Sparkplug edge node."""
    node = settings.sparkplug_node or re.sub("[/+#]", "_", client_id)
    return DeviceTopics(settings.sparkplug_group, node)


def _properties(settings: PublishSettings, body: Body) -> bytes:
    """The MQTT 5 properties that all messages share."""
    properties = content_type(body.content_type)
    if settings.expiry_s:
        properties += message_expiry(settings.expiry_s)
    if settings.user_properties:
        properties += user_property("schema", SCHEMA)
    return properties


def make_body(settings: PublishSettings, levels: Sequence[float]) -> Body:
    """The form of the payloads.

    Raises:
        SettingsError: `publish.payload` cannot be used.
    """
    return SparkplugBody() if settings.format == "sparkplug" else make_run_body(settings, levels)


def make_run_body(settings: PublishSettings, levels: Sequence[float]) -> RunBody:
    """The form of payloads of one forecast or of several; for Sparkplug, which has none, the settings refuse batches.

    Raises:
        SettingsError: `publish.payload` cannot be used.
    """
    if settings.payload is not None:
        return TemplateBody(settings.payload, levels)
    if settings.layout == "columns":
        return ColumnsBody(levels)
    if settings.format == "senml":
        return SenmlBody()
    if settings.format == "line":
        return LineProtocolBody()
    return JsonBody(levels)


def status_topic(prefix: str) -> str:
    """Where the retained status stands, and `offline` as the last will."""
    return f"{prefix}/status"


def encode_status(status: str, **more: object) -> bytes:
    """The status message.

    Args:
        status: `online`, `offline`, or a word for what is wrong.
        more: what else is to be known, in JSON's types.

    Example:
        >>> encode_status("online", series=3)
        b'{"status":"online","series":3}'
    """
    return msgspec.json.encode({"status": status, **more})


def offline_status() -> bytes:
    """What the broker says for us when we vanish."""
    return encode_status("offline")
