"""What the settings make of the output, and what they refuse."""

from typing import Any

import pytest

from stepahead.contract.errors import SettingsError
from stepahead.contract.reasons import DropCounter
from stepahead.contract.settings import Settings
from stepahead.forecasting.series import SeriesTable
from stepahead.service.output import Output, own_topics
from stepahead.service.program import run
from stepahead.wire.topic_template import own_output_error
from stepahead.wire.topics import parse_filter


def settings(publish: dict[str, Any], topic_filter: str = "sensors/#", **broker: Any) -> Settings:
    subscriptions = [{"filter": topic_filter}]
    return Settings.model_validate({"publish": publish, "subscriptions": subscriptions, "broker": broker})


@pytest.mark.parametrize(
    ("publish", "topic_filter", "setting"),
    [
        ({}, "stepahead/#", "publish.prefix"),
        ({}, "$share/g/+/v1/#", "publish.prefix"),
        ({"topic": "plant/{series}/next"}, "plant/#", "publish.topic"),
        ({"topic": "{series}/next"}, "sensors/+/+", "publish.topic"),
        ({"mode": "batch", "topic": "copy/{topic}"}, "copy/sensors/#", "publish.topic"),
        ({"format": "sparkplug"}, "spBv1.0/#", "publish.sparkplug_group"),
        ({"format": "sparkplug", "sparkplug_node": "n"}, "spBv1.0/stepahead/+/n", "publish.sparkplug_node"),
        ({"homeassistant": True}, "homeassistant/#", "publish.homeassistant_prefix"),
    ],
)
def test_what_we_publish_is_refused_as_input_by_the_setting_that_makes_us(
    publish: dict[str, Any], topic_filter: str, setting: str
) -> None:
    with pytest.raises(SettingsError, match=rf"also matches our own output .* or change {setting}"):
        run(settings(publish, topic_filter))


@pytest.mark.parametrize(
    ("publish", "topic_filter"),
    [
        ({"topic": "{series}/next"}, "sensors/+/power"),
        ({"format": "sparkplug"}, "spBv1.0/plant/#"),
        ({"format": "sparkplug", "sparkplug_node": "n"}, "spBv1.0/stepahead/+/other/#"),
        ({}, "homeassistant/#"),
    ],
)
def test_other_input_is_welcome(publish: dict[str, Any], topic_filter: str) -> None:
    assert own_output_error([parse_filter(topic_filter)], own_topics(settings(publish))) is None


@pytest.mark.parametrize(
    "publish", [{"payload": "{nothing}"}, {"topic": "fixed"}, {"mode": "batch", "topic": "{series}"}]
)
def test_a_template_that_cannot_be_used_is_refused_before_anything_starts(publish: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"publish\.(payload|topic)"):
        run(settings(publish))


def test_by_default_there_is_an_ear_for_questions_and_nothing_else() -> None:
    output = Output(settings({}), [], SeriesTable(10), DropCounter(), print)
    assert (output.optional_filters, output.edge_node, output.announcer) == (["stepahead/v1/ask/#"], None, None)
    assert Output(settings({"ask": False}), [], SeriesTable(10), DropCounter(), print).optional_filters == []
