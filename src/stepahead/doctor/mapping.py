"""The mapping that fits what was heard: subscriptions, and the settings file that `stepahead run` takes unchanged."""

import json
import tomllib
from collections.abc import Iterable, Sequence

from pydantic import BaseModel

from stepahead.contract.settings import Settings, SubscriptionSettings
from stepahead.doctor.observation import HeardTopic
from stepahead.doctor.understanding import Understood
from stepahead.wire.suggestion import suggest as subscriptions_for
from stepahead.wire.topics import parse_filter

__all__ = ["config_toml", "notes_of", "subscriptions_toml", "suggest"]

MOST_FILTERS = 200
EXAMPLES = 3
"""Series that are named for each format of a subscription."""


def suggest(heard: Sequence[HeardTopic], settings: Settings) -> list[SubscriptionSettings]:
    """Subscriptions that read what was heard, as few as possible, none of which hears our own output.

    Args:
        heard: topics with samples of their payloads; nothing else is looked at.
        settings: for the prefix of our output.

    Returns:
        None, if nothing that was heard holds a reading. Those for one topic come first, because the first filter that
        matches a topic counts.

    Example:
        >>> from stepahead.wire.delivery import Delivery
        >>> heard = [HeardTopic(b"plant/pump/flow", samples=[Delivery(b"", b"21.5", 0, 0, 10**18)])]
        >>> [(subscription.filter, subscription.format) for subscription in suggest(heard, Settings())]
        [('plant/#', 'number')]
    """
    samples = {
        topic.topic.decode(): [message.payload for message in topic.samples] for topic in heard if is_text(topic)
    }
    document = tomllib.loads(subscriptions_for(samples, settings.publish.prefix))
    return [SubscriptionSettings.model_validate(table) for table in document.get("subscriptions", [])][:MOST_FILTERS]


def is_text(heard: HeardTopic) -> bool:
    """Whether the topic is text that a filter can name."""
    try:
        return heard.topic.decode().isprintable()
    except UnicodeDecodeError:
        return False


def notes_of(subscriptions: Sequence[SubscriptionSettings], read: Iterable[Understood]) -> list[str]:
    """For each subscription in which formats its topics are read, and some of their series: a comment in the file.

    Example:
        >>> from stepahead.contract.reasons import DropCounter
        >>> heard = HeardTopic(b"plant/pump")
        >>> read = [Understood(heard, "json", ("plant/pump/flow", "plant/pump/power"), 2, DropCounter(), None)]
        >>> notes_of([SubscriptionSettings(filter="plant/#")], read)
        ['json: plant/pump/flow, plant/pump/power']
    """
    filters = [parse_filter(subscription.filter) for subscription in subscriptions]
    found: list[dict[str, list[str]]] = [{} for _ in filters]
    for topic in read:
        place = next((i for i, each in enumerate(filters) if each.matches(topic.heard.name)), None)
        if place is not None:
            found[place].setdefault(topic.format, []).extend(topic.keys)
    return ["; ".join(f"{name}: {some(keys)}" for name, keys in sorted(each.items())) for each in found]


def some(keys: Sequence[str]) -> str:
    """The first of some keys on one line, and how many there are beside them."""
    named = ", ".join("".join(c if c.isprintable() else "?" for c in key) for key in keys[:EXAMPLES])
    return named if len(keys) <= EXAMPLES else f"{named} and {len(keys) - EXAMPLES} more"


def subscriptions_toml(subscriptions: Sequence[SubscriptionSettings], notes: Sequence[str] = ()) -> str:
    """The subscriptions as tables of a settings file, each with its note before it.

    Example:
        >>> print(subscriptions_toml([SubscriptionSettings(filter="plant/#", time="")], ["json: plant/pump"]), end="")
        # json: plant/pump
        [[subscriptions]]
        filter = "plant/#"
        time = ""
    """
    comments = [f"# {note}\n" if note else "" for note in notes] or [""] * len(subscriptions)
    return "\n".join(
        comment + table("[[subscriptions]]", subscription)
        for comment, subscription in zip(comments, subscriptions, strict=True)
    )


def config_toml(settings: Settings, subscriptions: Sequence[SubscriptionSettings], notes: Sequence[str] = ()) -> str:
    """A whole settings file: what differs from the defaults, with these subscriptions; the password is not in it."""
    tables = []
    for section in type(settings).model_fields:
        value = getattr(settings, section)
        if section == "subscriptions":
            continue
        if isinstance(value, tuple):
            tables += [table(f"[[{section}]]", entry) for entry in value]
        elif section == "broker" or value.model_dump(exclude_defaults=True):
            tables.append(table(f"[{section}]", value))
    if settings.broker.password is not None:
        tables[0] += "# the password is not written here: set password_file, or STEPAHEAD_BROKER__PASSWORD\n"
    return "\n".join([*tables, subscriptions_toml(subscriptions, notes)])


def table(head: str, values: BaseModel) -> str:
    """One table with what differs from the defaults; JSON's texts, numbers, booleans and lists are TOML's too."""
    always = {"url", "filter"}
    changed = values.model_dump(mode="json", exclude_defaults=True)
    fields = {
        name: value for name, value in values.model_dump(mode="json").items() if name in always or name in changed
    }
    fields.pop("password", None)
    lines = [head, *(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items())]
    return "\n".join(lines) + "\n"
