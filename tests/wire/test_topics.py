import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from stepahead.contract.errors import SettingsError
from stepahead.wire.topic_template import OwnTopics, TopicTemplate, may_meet, own_output_error
from stepahead.wire.topics import forecast_topic, parse_filter, series_of_topic

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
    if one.startswith("$"):
        a, b = b, a  # what we publish on begins with no wildcard where the other begins with a $
    ours = OwnTopics(b.levels)
    # A topic that matches both, if there is one, can be made of the levels of the filters.
    long = [left if right in ("+", "#") else right for left, right in zip(a.levels, b.levels, strict=False)]
    rest = (a.levels if len(a.levels) > len(b.levels) else b.levels)[len(long) :]
    made = [("a" if level in ("+", "#") else level) for level in [*long, *rest]]
    # The empty topic stands for an empty level here: "/#" and "+" count as overlapping, which errs on the safe side.
    candidates = {"/".join(made), "/".join(made[:-1]), "/".join([*made, "a"])}
    assert may_meet(a, ours) == any(a.matches(t) and b.matches(t) for t in candidates)


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


@given(filters(), st.sampled_from(["", "x/", "a/b/"]), st.sampled_from(["", "/a", "-b"]), st.sampled_from(["a", "a/b"]))
def test_whatever_a_template_comes_to_no_accepted_filter_matches(text: str, lead: str, tail: str, key: str) -> None:
    template = TopicTemplate(f"{lead}{{series}}{tail}", "out", "series")
    if not may_meet(parse_filter(text), template.covers):
        assert not parse_filter(text).matches(template.fill(key))


@pytest.mark.parametrize(
    "text", ["", "a", "{series}/{series}", "{series}/{x}", "{series}/+", "{series/a", "$x/{series}"]
)
def test_what_is_no_topic_template_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"publish\.topic"):
        TopicTemplate(text, "out", "series")


OUTPUT = {
    "publish.prefix": OwnTopics(("stepahead", "v1", "#")),
    "publish.topic": TopicTemplate("plant/{series}/next", "", "series").covers,
}


@pytest.mark.parametrize(
    "text",
    [
        *["#", "+/#", "stepahead/#", "stepahead/v1/forecast/x", "stepahead/+/status", "+/v1", "$share/g/stepahead/#"],
        *["plant/#", "plant/a/next", "plant/+/+/next", "$share/g/plant/+/{what}"],
    ],
)
def test_our_own_output_is_refused_as_input(text: str) -> None:
    error = own_output_error([parse_filter("sensors/#"), parse_filter(text)], OUTPUT)
    assert error is not None
    assert repr(parse_filter(text).text) in error


@pytest.mark.parametrize("text", ["sensors/#", "stepahead/v2/#", "stepahead", "+/sensors", "$SYS/#", "plant/+/power"])
def test_other_input_is_not(text: str) -> None:
    assert own_output_error([parse_filter(text)], OUTPUT) is None


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
