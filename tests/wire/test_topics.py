import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from stepahead.contract.errors import SettingsError
from stepahead.wire.topics import forecast_topic, overlaps, own_output_error, parse_filter, series_of_topic

LEVEL = st.sampled_from(["a", "b", "", "$x", "long"])
TOPIC = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)


@st.composite
def filters(draw: st.DrawFn) -> str:
    levels = draw(st.lists(st.one_of(LEVEL, st.just("+")), min_size=0, max_size=4))
    if draw(st.booleans()) or not "/".join(levels):
        levels.append("#")
    return "/".join(levels)


@given(filters(), TOPIC)
@example("#", "$x/a")
@example("+/a", "$x/a")
@example("a/#", "a")
@example("a/+", "a")
@example("+/+", "/a")
def test_matching_is_that_of_paho(text: str, topic: str) -> None:
    assert parse_filter(text).matches(topic) == topic_matches_sub(text, topic)


@given(filters(), filters())
def test_overlap_is_symmetric_and_sound(one: str, other: str) -> None:
    a, b = parse_filter(one), parse_filter(other)
    assert overlaps(a, b) == overlaps(b, a)
    # A topic that matches both, if there is one, can be made of the levels of the filters.
    long = [left if right in ("+", "#") else right for left, right in zip(a.levels, b.levels, strict=False)]
    rest = (a.levels if len(a.levels) > len(b.levels) else b.levels)[len(long) :]
    made = [("a" if level in ("+", "#") else level) for level in [*long, *rest]]
    # The empty topic stands for an empty level here: "/#" and "+" count as overlapping, which errs on the safe side.
    candidates = {"/".join(made), "/".join(made[:-1]), "/".join([*made, "a"])}
    assert overlaps(a, b) == any(a.matches(t) and b.matches(t) for t in candidates)


@pytest.mark.parametrize(
    "text", ["", "a/#/b", "a#", "a/b+", "{a", "a}/b", "{a}x/b", "{topic}/a", "{a}/{a}", "a\0b", "$share/g", "$share//a"]
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="topic filter"):
        parse_filter(text)


def test_captures_and_shared_subscriptions() -> None:
    shared = parse_filter("$share/group/plant/{site}/#")
    assert shared.text == "$share/group/plant/+/#"
    assert shared.matches("plant/north/a")
    assert shared.captures("plant/north/a") == {"site": "north"}


@pytest.mark.parametrize("text", ["#", "+/#", "stepahead/#", "stepahead/v1/forecast/x", "stepahead/+/status", "+/v1"])
def test_our_own_output_is_refused_as_input(text: str) -> None:
    error = own_output_error([parse_filter("sensors/#"), parse_filter(text)], "stepahead/v1")
    assert error is not None
    assert repr(text) in error


@pytest.mark.parametrize("text", ["sensors/#", "stepahead/v2/#", "stepahead", "+/sensors", "$SYS/#"])
def test_other_input_is_not(text: str) -> None:
    assert own_output_error([parse_filter(text)], "stepahead/v1") is None


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
@example("/")
@example("//a/")
@example("%2F%")
@example("a\0+#\x7f\ufffe\U0001ffff")
def test_the_forecast_topic_is_legal_and_reversible(key: str) -> None:
    topic = forecast_topic("stepahead/v1", key)
    assert not set("+#\0\x1f\ufffe\U0001ffff") & set(topic)
    assert parse_filter("stepahead/v1/forecast/#").matches(topic)
    assert not topic.endswith("/")
    assert series_of_topic("stepahead/v1", topic) == key
