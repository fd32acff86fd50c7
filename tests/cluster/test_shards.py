"""Shards and their placement: stable, balanced, and nothing moves that need not."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepahead.cluster.placement import Placement
from stepahead.cluster.sharding import ShardRule, filters_of
from stepahead.cluster.shards import place, shard_of
from stepahead.contract.errors import SettingsError
from stepahead.contract.settings import Settings

names = st.sets(st.text("abcdef0123456789-", min_size=1, max_size=12), min_size=1, max_size=9)


@settings(max_examples=50)
@given(st.text(max_size=40), st.integers(1, 4096))
def test_a_shard_is_a_number_below_their_count_and_text_is_its_utf8(key: str, shards: int) -> None:
    assert 0 <= shard_of(key, shards) < shards
    assert shard_of(key, shards) == shard_of(key.encode("utf-8", "surrogatepass"), shards)


def test_the_shard_of_a_key_is_the_same_in_another_process() -> None:
    keys = [f"plant/pump{i}" for i in range(50)]
    program = "from stepahead.cluster.shards import shard_of\n"
    program += f"print([shard_of(key, 64) for key in {keys}])"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told.strip() == str([shard_of(key, 64) for key in keys])


def test_keys_spread_evenly_over_shards() -> None:
    counts = np.bincount([shard_of(f"site{i % 37}/sensor{i}", 64) for i in range(64_000)], minlength=64)
    # Chi-squared of 63 degrees of freedom: beyond 120 once in 10^5.
    assert ((counts - 1000) ** 2 / 1000).sum() < 120


@given(st.integers(1, 128), names, st.text("xyz", min_size=1, max_size=5))
def test_a_newcomer_only_takes_and_one_who_goes_only_gives(shards: int, owners: set[str], newcomer: str) -> None:
    before, after = place(shards, owners), place(shards, owners | {newcomer})
    assert {after[shard] for shard in range(shards) if after[shard] != before[shard]} <= {newcomer}


@given(st.integers(1, 128), names)
def test_the_placement_does_not_depend_on_the_order_of_the_owners(shards: int, owners: set[str]) -> None:
    assert place(shards, sorted(owners)) == place(shards, sorted(owners, reverse=True))


def test_shards_spread_over_owners_about_evenly() -> None:
    loads = [max(Counter(place(64, [f"owner-{seed}-{i}" for i in range(4)]).values()).values()) for seed in range(200)]
    # 16 each; binomial with a standard deviation of 3.5, and the largest of four.
    assert np.mean(loads) < 21
    assert max(loads) < 34


def report(shards: dict[int, int], refused: dict[int, tuple[int, str]] | None = None) -> dict[str, object]:
    return {"shards": dict.fromkeys(shards), "refused": refused or {}}


def test_a_shard_is_nobodys_until_its_owner_has_let_go_and_every_hand_over_is_an_epoch() -> None:
    placement = Placement(dict.fromkeys(range(16), 0))
    first = placement.decide({"a": report({})})["a"]
    assert first == dict.fromkeys(range(16), 1)
    going = [shard for shard, owner in place(16, ["a", "b"]).items() if owner == "b"]
    wanted = placement.decide({"a": report(first), "b": report({})})
    assert sorted(wanted["a"]) == sorted(set(range(16)) - set(going))
    assert wanted["b"] == {}
    wanted = placement.decide({"a": report(first), "b": report({})})
    assert wanted["b"] == {}, "the old owner has not said that it let go"
    wanted = placement.decide({"a": report(wanted["a"]), "b": report({})})
    assert wanted["b"] == dict.fromkeys(going, 2)


def test_what_a_dead_owner_had_is_given_out_at_once_under_a_new_epoch() -> None:
    placement = Placement(dict.fromkeys(range(8), 5))
    first = placement.decide({"a": report({}), "b": report({})})
    placement.lost("a")
    second = placement.decide({"b": report(first["b"])})["b"]
    assert second == dict.fromkeys(first["b"], 6) | dict.fromkeys(first["a"], 7)


def test_a_refused_epoch_is_followed_by_a_higher_one() -> None:
    placement = Placement({0: 0})
    assert placement.decide({"a": report({})}) == {"a": {0: 1}}
    assert placement.decide({"a": report({}, {0: (1, "epoch 1 cannot begin")})}) == {"a": {0: 2}}
    assert placement.decide({"a": report({}, {0: (1, "epoch 1 cannot begin")})}) == {"a": {0: 2}}
    # It refuses that too: not ten times a second.
    later = [placement.decide({"a": report({}, {0: (2, "damaged")})})["a"][0] for _ in range(100)]
    assert set(later) == {2, 3}


def rule(**more: object) -> ShardRule:
    return ShardRule(Settings.model_validate({"subscriptions": [{"filter": "plant/{site}/#"}], **more}))


def test_members_of_a_group_are_in_one_shard_whichever_way_they_are_sent() -> None:
    pumps = rule(groups=[{"name": "pump", "members": ["flow", "power"]}])
    together = {pumps.stem(topic) for topic in (b"plant/n/pump7", b"plant/n/pump7/flow", b"plant/n/pump7/power")}
    assert together == {"plant/n/pump7"}
    assert pumps.stem(b"plant/n/pump7/noise") == "plant/n/pump7/noise"


def test_topics_that_give_one_key_are_in_one_shard() -> None:
    by_site = rule(subscriptions=[{"filter": "plant/{site}/#", "key": "{site}/all"}])
    assert by_site.stem(b"plant/n/a") == by_site.stem(b"plant/n/b") == "n/all"


def test_an_edge_node_and_its_devices_are_in_one_shard() -> None:
    topics = (b"spBv1.0/g/NBIRTH/n", b"spBv1.0/g/DDATA/n/d1", b"spBv1.0/g/DBIRTH/n/d2")
    assert {rule().stem(topic) for topic in topics} == {"spBv1.0/g/n"}


def test_a_topic_that_is_no_text_has_a_shard() -> None:
    assert rule().of(b"plant/\xff") == shard_of(b"plant/\xff", 64)


def test_a_key_from_the_payload_is_refused() -> None:
    with pytest.raises(SettingsError, match="takes the key of a series from the payload"):
        rule(subscriptions=[{"filter": "plant/#", "key": "{/sensor}"}])


def test_filters_by_shard() -> None:
    subscriptions = [{"filter": "a/{shard}/#"}, {"filter": "b/#", "shard": 1}]
    by_filters = Settings.model_validate({"subscriptions": subscriptions, "cluster": {"readings": "filters"}})
    assert filters_of(by_filters, 0) == ["a/0/#"]
    assert filters_of(by_filters, 1) == ["a/1/#", "b/#"]
    with pytest.raises(SettingsError, match="does not say which shard reads it"):
        filters_of(Settings.model_validate({"cluster": {"readings": "filters"}}), 0)
    shared = {"readings": "shared", "hashing_broker": "emqx"}
    assert filters_of(Settings.model_validate({"cluster": shared}), 3) == ["$share/stepahead/sensors/#"]
