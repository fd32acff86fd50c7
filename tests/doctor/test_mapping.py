"""The proposed mapping: it covers what holds readings, never our own output, and is a settings file."""

import tomllib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from stepahead.contract.settings import (
    BrokerSettings,
    DurabilitySettings,
    GroupSettings,
    LearningSettings,
    PublishSettings,
    Settings,
    SubscriptionSettings,
)
from stepahead.doctor.mapping import config_toml, subscriptions_toml, suggest
from stepahead.service.configuration import load_settings
from stepahead.wire.topic_template import OwnTopics, own_output_error
from stepahead.wire.topics import parse_filter
from tests.doctor.test_checks import heard, later


def filters(*topics: str, without: tuple[str, ...] = (), own: str = "stepahead/v1") -> list[str]:
    settings = Settings(publish=PublishSettings(prefix=own))
    listened = [heard(name, b"1.5") for name in topics] + [heard(name, b"text") for name in without]
    return sorted(subscription.filter for subscription in suggest(listened, settings))


def test_filters_are_few_and_leave_out_what_holds_no_reading() -> None:
    assert filters("a/b/c", "a/d") == ["a/#"]
    assert filters("a", "b/c/d") == ["a", "b/#"]
    assert filters("z/one", "z/two", without=("z/bridge/state", "z/bridge/info")) == ["z/one", "z/two"]
    assert filters("z/x/y", "z/x/w/v", without=("z/state",)) == ["z/x/#"]
    assert filters("a/{odd}/b", "a/{odd}/c") == ["a/#"]
    assert filters(without=("a/b",)) == []


def test_no_filter_hears_our_own_output() -> None:
    assert filters("stepahead/sensor/a", "stepahead/sensor/b") == ["stepahead/sensor/#"]
    assert filters("stepahead/a", "stepahead/b") == ["stepahead/a", "stepahead/b"]
    assert filters("x/a", own="x/y/z") == ["x/a"]


level = st.sampled_from(["a", "b", "c", "own", "", "{d}"])
topic = st.lists(level, min_size=1, max_size=4).map("/".join).filter(lambda name: name != "")


@given(st.dictionaries(topic, st.booleans(), min_size=1, max_size=12))
def test_every_wanted_topic_is_matched_and_never_our_own(topics: dict[str, bool]) -> None:
    topics = {name: wanted for name, wanted in topics.items() if not name.startswith("own") and name[0] != "{"}
    wanted = [name for name, wanted in topics.items() if wanted]
    without = tuple(name for name, wanted in topics.items() if not wanted)
    chosen = [parse_filter(text) for text in filters(*wanted, without=without, own="own/v1")]
    assert own_output_error(chosen, {"publish.prefix": OwnTopics(("own", "v1", "#"))}) is None
    assert all(any(one.matches(name) for one in chosen) for name in wanted)
    # What is not wanted is heard only where `+` stands for a brace.
    if not any("{" in name for name in topics):
        assert not any(one.matches(name) for one in chosen for name in without), chosen


def test_a_time_that_cannot_be_read_is_left_out_of_the_reading() -> None:
    good, bad = heard("plant/good", later(-1)), heard("plant/bad", b'{"time": "half past", "value": 3}')
    assert suggest([good, bad], Settings()) == [
        SubscriptionSettings(filter="plant/bad", format="json", time=""),
        SubscriptionSettings(filter="plant/good", format="json"),
    ]


def test_nothing_is_proposed_for_nothing() -> None:
    assert suggest([], Settings()) == []
    assert suggest([heard("a", b"text"), heard("$odd/a", b"1"), heard("bad\x01", b"1")], Settings()) == []


def test_the_file_is_loaded_as_it_was_meant_and_holds_no_password(tmp_path: Path) -> None:
    broker = BrokerSettings.model_validate(
        {"url": "mqtts://h:8884", "username": 'a"b\\', "password": "hush", "ca_file": tmp_path / "ca.pem"}
    )
    subscriptions = [SubscriptionSettings(filter="päth/#", time=""), SubscriptionSettings(filter="b", ignore=("c",))]
    group = GroupSettings(name="pump", members=("flow", "power"))
    settings = Settings(
        broker=broker,
        groups=(group,),
        publish=PublishSettings(prefix="own/v2"),
        learning=LearningSettings(rates=(1e-3,), drift=False),
        durability=DurabilitySettings(state_dir=tmp_path / "state"),
    )
    text = config_toml(settings, subscriptions)
    assert "hush" not in text
    file = tmp_path / "written.toml"
    file.write_text(text, "utf-8")
    loaded = load_settings(file, {}, {})
    meant = {"broker": broker.model_copy(update={"password": None}), "subscriptions": tuple(subscriptions)}
    assert loaded == settings.model_copy(update=meant)
    assert tomllib.loads(subscriptions_toml(subscriptions)).keys() == {"subscriptions"}
