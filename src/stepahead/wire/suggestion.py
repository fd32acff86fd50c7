"""The mapping one would write for what was heard: a first configuration that needs no manual."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from stepahead.contract.reasons import DropCounter
from stepahead.contract.settings import SubscriptionSettings
from stepahead.wire.decoder import Decoder
from stepahead.wire.delivery import Delivery
from stepahead.wire.formats.json import TIME_NAME_SET, decode_json
from stepahead.wire.formats.number import SWITCH, split_unit
from stepahead.wire.formats.sparkplug import NAMESPACE
from stepahead.wire.recognition import recognise
from stepahead.wire.topics import overlaps, parse_filter

__all__ = ["suggest"]

Options: TypeAlias = dict[str, Any]
QUALITY_NAMES = ("quality", "Quality")
MOST_SAMPLES = 8
HEARD_NS = 1_900_000_000 * 10**9
"""When samples count as heard: in the year 2030, so that times of today are none of the future."""


def suggest(heard: Mapping[str, Sequence[bytes]], own_prefix: str = "stepahead/v1") -> str:
    """The `[[subscriptions]]` that read what was heard, as TOML.

    Args:
        heard: topic -> payloads, some of each are enough.
        own_prefix: topics below it are our own output.

    Returns:
        TOML; topics that hold no number stand in it as comments.

    Example:
        >>> print(suggest({"plant/a": [b"21.5"], "plant/b": [b"ON"], "tele/x/SENSOR": [b'{"t": 20.5}']}))
        # plant/a = 21.5
        [[subscriptions]]
        filter = "plant/a"
        format = "number"
        <BLANKLINE>
        # plant/b = 1.0
        [[subscriptions]]
        filter = "plant/b"
        format = "number"
        booleans = true
        <BLANKLINE>
        # tele/x/SENSOR/t = 20.5
        [[subscriptions]]
        filter = "tele/#"
        format = "json"
        <BLANKLINE>
    """
    own = own_prefix + "/"
    found: dict[str, tuple[Options, str]] = {}
    silent: list[str] = []
    for topic in sorted(heard):
        if topic.startswith(("$", own)) or not heard[topic]:
            continue
        payloads = list(heard[topic])[:MOST_SAMPLES]
        if topic.startswith(f"{NAMESPACE}/"):
            found[topic] = ({"format": "sparkplug"}, "")
            continue
        for options in _candidates(payloads):
            example = _example(topic, payloads, options)
            if example is not None:
                found[topic] = (options, example)
                break
        else:
            silent.append(topic)
    blocks = []
    for filter_text, options in _filters({topic: options for topic, (options, _) in found.items()}, silent, own_prefix):
        matching = parse_filter(filter_text)
        example = next((text for topic, (_, text) in found.items() if text and matching.matches(topic)), "")
        lines = [f"# {example}"] if example else []
        lines += ["[[subscriptions]]", f"filter = {_toml(filter_text)}"]
        lines += [f"{name} = {_toml(value)}" for name, value in options.items()]
        blocks.append("\n".join(lines) + "\n")
    blocks += [f"# holds no number: {_comment(topic)}\n" for topic in silent]
    return "\n".join(blocks)


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _comment(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _candidates(payloads: Sequence[bytes]) -> Iterator[Options]:
    """Settings that may read these payloads, the likeliest first."""
    first = payloads[0]
    kind = recognise(first)
    if kind != "plain":
        yield {"format": kind}
    document = decode_json(first)
    if isinstance(document, dict | list):
        quality = next((name for name in QUALITY_NAMES if isinstance(document, dict) and name in document), None)
        for options in _json_candidates(document):
            yield {"format": "json", **options, **({"quality": quality} if quality else {})}
            yield {"format": "json", **options}
        yield {"format": "json", "booleans": True}
        yield {"format": "json", "time": ""}  # its time cannot be read: that of its arrival does
        return
    yield {"format": "number"}
    texts = [payload.decode("utf-8", "replace").strip() for payload in payloads]
    if any(text.lower() in SWITCH for text in texts):
        yield {"format": "number", "booleans": True}
    if any(split_unit(text)[1] for text in texts):
        yield {"format": "number", "units": True}


def _json_candidates(document: Any) -> Iterator[Options]:
    """Settings for the shapes of well-known senders, then the usual reading."""
    if isinstance(document, dict):
        yield from _known_senders(document)
        values = document.get("values")
        if isinstance(values, list) and values and not isinstance(values[0], dict | list):
            yield {"value": "/values"}
        for name, part in document.items():
            if isinstance(part, list) and part and isinstance(part[0], dict | list) and not _has_value(document):
                yield {"readings": "/" + name.replace("~", "~0").replace("/", "~1")}
        if not TIME_NAME_SET & set(document):
            for name, part in document.items():
                inner = sorted(TIME_NAME_SET & set(part)) if isinstance(part, dict) else []
                if inner:
                    yield {"time": f"/{name}/{inner[0]}", "ignore": [f"{name}/{inner[0]}"]}
    yield {}


def _has_value(document: dict[str, Any]) -> bool:
    return any(isinstance(document.get(name), int | float) for name in ("value", "Value", "v"))


def _known_senders(document: dict[str, Any]) -> Iterator[Options]:
    params, metrics = document.get("params"), document.get("metrics")
    if isinstance(params, dict) and "method" in document:  # Shelly Gen2, events/rpc
        yield {"value": "/params", "time": "/params/ts", "ignore": ["*/id", "*/minute_ts"]}
    telegraf: Options = {"value": "/fields", "time": "timestamp", "key": "{topic}/{name},{tags}/{field}"}
    if isinstance(document.get("fields"), dict) and "name" in document and "tags" in document:
        yield telegraf
    if isinstance(metrics, list) and metrics and isinstance(metrics[0], dict):
        if "fields" in metrics[0]:
            yield {"readings": "/metrics", **telegraf}
        elif "name" in metrics[0]:  # Eclipse Kapua
            yield {"readings": "/metrics", **_sent_on(document), "value": "value", "key": "{topic}/{name}"}
    if isinstance(metrics, dict):  # Eclipse Kura
        yield {"value": "/metrics", **_sent_on(document)}
    if "payload" in document and isinstance(document.get("topic"), str):  # Node-RED
        yield {"value": "payload", "key": "{/topic}"}


def _sent_on(document: dict[str, Any]) -> Options:
    return {"time": "sentOn"} if "sentOn" in document and not isinstance(document.get("metrics"), list) else {}


def _example(topic: str, payloads: Sequence[bytes], options: Options) -> str | None:
    """A reading that these settings find, as text; None when they find none."""
    keys: list[str] = []

    def intern(key: str) -> int:
        keys.append(key)
        return len(keys) - 1

    settings = SubscriptionSettings.model_validate({"filter": "#", **options})
    decoder = Decoder([settings], intern, DropCounter(), "\n")
    readings = decoder.decode([Delivery(topic.encode(), payload, 0, 0, HEARD_NS) for payload in payloads]).readings
    return f"{_comment(keys[int(readings.series[0])])} = {readings.value[0]}" if len(readings) else None


def _filters(options_of: Mapping[str, Options], silent: Sequence[str], own_prefix: str) -> list[tuple[str, Options]]:
    """As few filters as read every topic by its own settings and none that is silent, those of one topic first."""
    ours = parse_filter(f"{own_prefix}/#")
    filters: list[tuple[str, Options]] = []

    def unwanted(text: str) -> bool:
        matching = parse_filter(text)
        return overlaps(matching, ours) or any(matching.matches(topic) for topic in silent)

    def lay(prefix: tuple[str, ...], topics: list[str]) -> None:
        merged = _merge([options_of[topic] for topic in topics])
        text = "/".join((*prefix, "#"))
        if prefix and merged is not None and not unwanted(text):
            filters.append((text, merged))
            return
        depth = len(prefix)
        below: dict[str, list[str]] = {}
        for topic in topics:
            levels = topic.split("/")
            if len(levels) == depth:
                filters.append(("/".join(map(_level, levels)), options_of[topic]))
            else:
                below.setdefault(levels[depth], []).append(topic)
        for level, part in below.items():
            deeper = part[0].split("/")
            if len(part) == 1 and len(deeper) == depth + 1:
                filters.append(("/".join(map(_level, deeper)), options_of[part[0]]))
            else:
                lay((*prefix, _level(level)), part)

    topics = [topic for topic in options_of if topic and topic.isprintable() and not set("+#") & set(topic)]
    if topics:
        lay((), topics)
    return sorted(filters, key=lambda entry: entry[0].endswith("#"))


def _level(level: str) -> str:
    """A level as it may stand in a filter, where braces are captures."""
    return "+" if set("{}") & set(level) else level


def _merge(options: Sequence[Options]) -> Options | None:
    """Settings that do for all of these topics; None when there are none."""
    first = options[0]
    if all(other == first for other in options):
        return first
    plain = [other for other in options if set(other) == {"format"} and other["format"] != "sparkplug"]
    return {"format": "auto"} if len(plain) == len(options) else None
