"""When the service calls itself alive and ready, and what it says when not."""

from dataclasses import replace
from typing import Any

import pytest

from stepahead.contract.settings import Settings
from stepahead.service.readiness import alive, ready
from stepahead.service.watch import Picture

FIELDS = {"lag_s": 0.1, "waiting": 0, "readings_per_second": 100.0}
DISK = {"mode": "journal", "trouble": None, "journal_age_s": 0.1, "snapshot_age_s": 30.0, "position": 7}
FINE = Picture(100.0, FIELDS, True, 0, 0, DISK, (), {})


def test_a_service_that_works_is_ready_and_alive() -> None:
    assert ready(FINE, Settings(), 101.0).fine
    assert alive(FINE, 101.0, 0.0).fine


@pytest.mark.parametrize(
    ("change", "now_s", "reason"),
    [
        ({"connected": False}, 101.0, "no connection to the broker"),
        ({}, 130.0, "the loop has not turned for 30 s"),
        ({"fields": FIELDS | {"lag_s": 12.0}}, 101.0, "the lag is 12.0 s, more than 10 s"),
        ({"fields": FIELDS | {"lag_s": 12.0, "readings_per_second": 0.0, "waiting": 3}}, 101.0, "the lag is 12.0 s"),
        ({"durability": DISK | {"snapshot_age_s": 900.0}}, 101.0, "the newest snapshot is 900 s old, more than 600 s"),
        ({"durability": DISK | {"trouble": "no space left"}}, 101.0, "the disk refuses: no space left"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], now_s: float, reason: str) -> None:
    verdict = ready(replace(FINE, **change), Settings(), now_s)
    assert not verdict.fine
    assert len(verdict.reasons) == 1
    assert verdict.reasons[0].startswith(reason)


def test_an_old_lag_says_nothing_when_nothing_comes() -> None:
    still = replace(FINE, fields=FIELDS | {"lag_s": 500.0, "readings_per_second": 0.0})
    assert ready(still, Settings(), 101.0).fine


def test_before_the_first_second_it_is_not_ready_and_not_dead() -> None:
    assert ready(None, Settings(), 1.0).reasons == ("starting",)
    assert alive(None, 1.0, 0.0).fine


def test_a_loop_that_is_stuck_is_dead() -> None:
    assert alive(FINE, 400.0, 0.0).reasons == ("the loop has not turned for 300 s",)
