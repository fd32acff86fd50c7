"""The silent leave the banks, their slots go to others, and what they were comes back with them."""

import numpy as np
import pytest

from stepahead.contract.errors import StateError
from stepahead.contract.records import Readings
from stepahead.forecasting.engine import Engine
from tests.forecasting.memory_shelf import MemoryShelf
from tests.forecasting.small import MINUTE_NS, START_NS, small_settings

SILENT_MINUTES = 10


def stage(shelf: MemoryShelf | None, long_series: int = 0, max_series: int = 5000) -> Engine:
    engine = Engine(
        small_settings(
            engine={"deterministic": False, "silent_after_s": SILENT_MINUTES * 60, "max_series": max_series},
            experts={"long_series": long_series},
            learning={"enabled": False},
        )
    )
    engine.hibernation.shelf = shelf
    return engine


def speak(engine: Engine, keys: list[str], minute: int, value: float = 1.0) -> None:
    numbers = [engine.intern(key) for key in keys]
    engine.step(
        Readings.of(numbers, [START_NS + minute * MINUTE_NS] * len(numbers), [value + minute % 3] * len(numbers))
    )


def names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def test_slots_of_the_silent_go_to_others_so_memory_does_not_grow_with_keys_that_come_and_go() -> None:
    shelf = MemoryShelf()
    engine = stage(shelf)
    largest = 0
    for minute in range(400):
        # A hundred sensors at a time, each heard for 20 minutes: 2,000 keys in all.
        speak(engine, names(f"batch{minute // 20}/", 100), minute)
        largest = max(largest, engine._residence.size)
    assert len(engine.table) == 2000
    assert largest <= 256
    assert engine.hibernation.away >= 1700
    assert engine._residence.capacity == 256


def test_no_batch_lets_more_go_than_a_pack_holds_and_none_looks_at_more_slots_than_it_pays_for() -> None:
    shelf = MemoryShelf()
    engine = stage(shelf)
    speak(engine, names("many", 1000), 0)
    gone = []
    for minute in range(1, 3000):
        before = engine.hibernation.away
        speak(engine, names("few", 4), minute)
        gone.append(engine.hibernation.away - before)
    assert sum(gone) == 1000
    assert max(gone) <= 256
    looked = [count for count in gone if count]
    assert len(looked) > 20  # slot after slot, as readings come


def test_who_speaks_while_its_row_is_laid_down_stays() -> None:
    shelf = MemoryShelf(polls=3)
    engine = stage(shelf)
    speak(engine, ["a", "b", "talker"], 0)
    minute = SILENT_MINUTES + 1
    while not shelf.busy:
        speak(engine, ["talker"], minute)
        minute += 1
    speak(engine, ["a"], minute)
    while shelf.busy:
        minute += 1
        speak(engine, ["talker"], minute)
    assert engine.here(np.array([0, 1, 2], np.int32)).tolist() == [True, False, True]
    assert engine.hibernation.away == 1


def test_a_feed_whose_clock_is_far_behind_does_not_come_and_go() -> None:
    shelf = MemoryShelf()
    engine = stage(shelf)
    for minute in range(200):
        behind = minute - 100_000
        speak(engine, names("now", 3), minute)
        speak(engine, names("then", 3), behind)
    assert engine.hibernation.away == 0
    assert shelf.begun == 0


def test_the_first_series_which_have_long_regressions_stay() -> None:
    engine = stage(MemoryShelf(), long_series=3)
    speak(engine, names("s", 6), 0)
    for minute in range(1, 100):
        speak(engine, ["s0"], minute)
    assert engine.here(np.arange(6, dtype=np.int32)).tolist() == [True] * 3 + [False] * 3


def test_packs_that_are_nearly_empty_move_into_the_next_one() -> None:
    shelf = MemoryShelf()
    engine = stage(shelf)
    minute = 0
    for round_of in range(30):  # one more falls silent every half an hour
        speak(engine, [f"once{round_of}"], minute)
        for _ in range(30):
            minute += 1
            speak(engine, ["talker"], minute)
    assert engine.hibernation.away > 25
    assert len(engine.hibernation.packs) <= 6
    assert shelf.spared | set(engine.hibernation.packs) == set(shelf.packs)


@pytest.mark.parametrize("unreadable", [True, False])
def test_a_series_whose_row_was_damaged_begins_anew_and_is_named(unreadable: bool) -> None:
    shelf = MemoryShelf()
    engine = stage(shelf)
    speak(engine, ["hurt", "sound", "talker"], 0)
    for minute in range(1, 60):
        speak(engine, ["talker"], minute)
    assert engine.hibernation.away == 2
    if unreadable:
        shelf.unreadable = True
    else:
        away = engine.state_dict()["hibernation"]["away"]
        at = away["series"].tolist().index(0)
        shelf.packs[int(away["pack"][at])][away["row"][at], 5] ^= 1
    engine.step(Readings.of([0, 1], [START_NS + 60 * MINUTE_NS] * 2, [7.0, 7.0]))
    assert engine.hibernation.lost == (["hurt", "sound"] if unreadable else ["hurt"])
    assert engine.hibernation.away == 0
    seen = engine._cadence.seen(engine._residence.slot[:2])
    assert seen.tolist() == ([1, 1] if unreadable else [1, 2])


def test_rows_of_other_settings_are_refused_in_words() -> None:
    engine = stage(MemoryShelf())
    speak(engine, ["a", "talker"], 0)
    for minute in range(1, 60):
        speak(engine, ["talker"], minute)
    state = engine.state_dict()
    assert len(state["hibernation"]["away"]["series"]) == 1
    state["hibernation"]["form"] = state["hibernation"]["form"][1:]
    with pytest.raises(StateError, match="other settings"):
        stage(MemoryShelf()).load_state_dict(state)


def test_silence_of_zero_seconds_means_that_nobody_goes() -> None:
    engine = Engine(small_settings(engine={"silent_after_s": 0}, experts={"long_series": 0}))
    engine.hibernation.shelf = shelf = MemoryShelf()
    speak(engine, ["a", "talker"], 0)
    for minute in range(1, 100):
        speak(engine, ["talker"], minute * 10_000)
    assert (engine.hibernation.away, shelf.begun) == (0, 0)
