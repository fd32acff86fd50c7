"""All that publishes, made from the settings."""

from collections.abc import Callable, Sequence
from importlib.metadata import version

from stepahead.contract.reasons import DropCounter
from stepahead.contract.settings import Settings
from stepahead.forecasting.series import SeriesTable
from stepahead.service.announcer import Announcer
from stepahead.service.edge_node import EdgeNode
from stepahead.service.questions import Questions
from stepahead.service.redelivery import RecentForecasts
from stepahead.wire.delivery import Will
from stepahead.wire.encoder import ForecastEncoder, device_topics, forecast_topics, status_topic
from stepahead.wire.event import SessionEvent
from stepahead.wire.session import Session
from stepahead.wire.topic_template import SPAN, OwnTopics
from stepahead.wire.topics import TopicFilter

__all__ = ["Output", "own_topics"]


class Output:
    """The encoder, and by setting who answers questions, the Sparkplug edge node, and who tells Home Assistant.

    Args:
        settings: of the broker, the intervals and what goes out.
        filters: what we subscribe to.
        table: keys and slots of the series.
        drops: counts questions that cannot be answered.
        on_event: told of events of the edge node's connection.

    Raises:
        SettingsError: a template cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        filters: Sequence[TopicFilter],
        table: SeriesTable,
        drops: DropCounter,
        on_event: Callable[[SessionEvent], None],
        unit_of: Callable[[int], str | None] = lambda slot: None,
    ) -> None:
        publish, broker, levels = settings.publish, settings.broker, settings.interval.levels
        mqtt5 = broker.protocol == "5"
        self.encoder = ForecastEncoder(publish, levels, table.keys.__getitem__, mqtt5, broker.client_id)
        self.questions: Questions | None = None
        self.edge_node: EdgeNode | None = None
        self.announcer: Announcer | None = None
        if publish.ask:
            self.questions = Questions(publish.prefix, levels, filters, table.find, drops, mqtt5)
        if publish.format == "sparkplug":
            self.edge_node = make_edge_node(settings, on_event)
        if publish.homeassistant:
            self.announcer = Announcer(
                publish.homeassistant_prefix,
                status_topic(publish.prefix),
                publish.homeassistant_expire_s,
                version("stepahead"),
                table.keys.__getitem__,
                forecast_topics(publish).fill,
                unit_of,
            )

    @property
    def optional_filters(self) -> list[str]:
        """What else to subscribe to, if the broker lets us."""
        return [] if self.questions is None else [self.questions.filter]

    def recall(self, recent: RecentForecasts) -> None:
        """Told of the forecasts of the last run, which may be asked for."""
        if self.questions is not None:
            for forecasts in recent.parts():
                self.questions.note(forecasts)


def own_topics(settings: Settings) -> dict[str, OwnTopics]:
    """Setting -> topics that it makes us publish on.

    Raises:
        SettingsError: a template cannot be used.

    Example:
        >>> {name: str(topics) for name, topics in own_topics(Settings()).items()}
        {'publish.prefix': 'stepahead/v1/#', 'publish.topic': 'stepahead/v1/forecast/…'}
    """
    publish = settings.publish
    outputs = {
        "publish.prefix": OwnTopics((*publish.prefix.split("/"), "#")),
        "publish.topic": forecast_topics(publish, settings.broker.client_id).covers,
    }
    if publish.format == "sparkplug":
        del outputs["publish.topic"]
        topics = device_topics(publish, settings.broker.client_id)
        outputs["publish.sparkplug_group"] = topics.covers
        outputs["publish.sparkplug_node"] = topics.covers_node
    if publish.homeassistant:
        levels = (*publish.homeassistant_prefix.split("/"), "device", SPAN, "config")
        outputs["publish.homeassistant_prefix"] = OwnTopics(levels)
    return outputs


def make_edge_node(settings: Settings, on_event: Callable[[SessionEvent], None]) -> EdgeNode:
    """Us as a Sparkplug edge node, on a connection of its own.

    Sparkplug demands a session that the broker does not keep, with the node's death as its last will, and a new will
    for each connection; the session that readings come by must be kept, and its will is our status.
    """
    broker = settings.broker.model_copy(update={"client_id": f"{settings.broker.client_id}-edge-node"})
    topics = device_topics(settings.publish, settings.broker.client_id)

    def make_session(will: Callable[[], Will], heard: Callable[[SessionEvent], None]) -> Session:
        return Session(broker, [topics.of_node("NCMD")], will, heard, clean=True)

    return EdgeNode(make_session, topics, broker.queue_messages, on_event)
