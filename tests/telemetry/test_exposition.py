import math
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from stepahead.telemetry.exposition import Exposition
from stepahead.telemetry.histogram import Histogram
from stepahead.telemetry.metrics import BY_NAME, METRICS, metric


def families(values: Mapping[str, Any]) -> dict[str, Any]:
    text = Exposition(lambda: values).text().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_every_kind_is_read_back_by_a_parser_as_it_was_given() -> None:
    histogram = Histogram([0.1, 1.0])
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(value)
    found = families({"lag_seconds": 1.5, "drops_total": {"late": 3, "too_deep": 0}, "step_seconds": histogram})
    assert [s.value for s in found["stepahead_lag_seconds"].samples] == [1.5]
    assert {s.labels["reason"]: s.value for s in found["stepahead_drops"].samples} == {"late": 3, "too_deep": 0}
    buckets = {s.labels.get("le", s.name): s.value for s in found["stepahead_step_seconds"].samples}
    sums = {"stepahead_step_seconds_sum": 7.65, "stepahead_step_seconds_count": 4}
    assert buckets == {"0.1": 2, "1.0": 3, "+Inf": 4} | sums


@pytest.mark.parametrize("value", [None, math.nan, math.inf, {}, {"a": None}])
def test_what_is_not_known_is_left_out(value: Any) -> None:
    assert "stepahead_lag_seconds" not in families({"lag_seconds": value})


def test_a_key_of_a_stranger_is_escaped() -> None:
    key = 'a"b\\c\nd{}'
    found = families({"series_observed": {key: 1.0}})
    assert [s.labels["series"] for s in found["stepahead_series_observed"].samples] == [key]


def test_a_value_without_a_description_is_a_defect() -> None:
    with pytest.raises(KeyError, match="laag"):
        Exposition(lambda: {"laag": 1}).text()


def test_names_are_unique_and_follow_prometheus() -> None:
    assert len(BY_NAME) == len({each.name for each in METRICS}) + 4
    for each in METRICS:
        assert each.name.endswith("_total") == (each.kind == "counter"), each.name
        assert each.help.endswith("."), each.name


def test_a_query_cannot_name_what_is_not_there() -> None:
    with pytest.raises(KeyError):
        metric("readings")
    with pytest.raises(KeyError, match="no histogram"):
        metric("lag_seconds", "_bucket")
