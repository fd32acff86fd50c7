"""New weights touch no hidden state: each is made anew when its series speaks and it is its turn."""

import numpy as np
import torch

from stepahead.contract.records import Forecasts, Readings
from stepahead.contract.settings import Settings
from stepahead.forecasting.cohort import newest_windows
from stepahead.forecasting.engine import Engine
from stepahead.forecasting.hidden import spread_of
from stepahead.learning.features import window_inputs
from stepahead.network.lstm import MemberNetwork
from tests.forecasting.small import MINUTE_NS, START_NS, small_settings
from tests.service.engine_double import HandTrainer, better_result

WINDOW = 16
HALVES = 5e-4
"""The newest step of a window has its context rounded to half precision, the reading itself has not."""


def hand_settings(**sections: object) -> Settings:
    return small_settings(engine={"deterministic": False}, **sections)


class Stage:
    """An engine whose fine-tunes end when the test says so."""

    def __init__(self, settings: Settings, keys: list[str]) -> None:
        self.hand = HandTrainer()
        self.engine = Engine(settings, self.hand)
        self.slots = np.array([self.engine.intern(key) for key in keys], np.int32)
        self.rng = np.random.default_rng(0)
        self.row = 0

    def speak(self, of: slice = slice(None)) -> Forecasts:
        slots = self.slots[of]
        self.row += 1
        value = np.sin(self.row / 3 + slots) + self.rng.normal(scale=0.1, size=len(slots))
        return self.engine.step(Readings(slots, np.full(len(slots), START_NS + self.row * MINUTE_NS), value))

    def until_ready(self) -> None:
        while not self.hand.busy:
            self.speak()

    def adopt(self) -> None:
        """Let the fine-tune end well; its weights are live from the next reading on."""
        self.hand.result = better_result(self.hand.materials[-1])

    @property
    def versions(self) -> list[int]:
        return self.engine._pipeline.state_dict()["banks"]["hidden.version"][self.slots].tolist()

    @property
    def states(self) -> np.ndarray:
        return np.asarray(self.engine._pipeline.state_dict()["banks"]["hidden.state"][self.slots])


def by_torch(stage: Stage, cohort: int = 0) -> np.ndarray:
    """The states that today's weights give over each series' newest window, blank before it, [n, M, 2, L, H]."""
    engine, group = stage.engine, stage.engine.cohorts[cohort]
    units = np.unique(engine.table.unit[stage.slots])
    banks = engine._pipeline.banks
    windows = newest_windows(units, group.members, banks)
    slots = windows.series.ravel()
    scale, center = banks.scaler.scale(slots), banks.scaler.center(slots)
    shape = windows.series.shape
    inputs, _ = window_inputs(windows, scale.reshape(shape), center.reshape(shape), 8.0)
    states = []
    for weights in group.ensemble.weights:
        network = MemberNetwork(group.shape, seed=0)
        network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
        with torch.no_grad():
            _, (h, c) = network(torch.from_numpy(inputs), torch.from_numpy(slots.astype(np.int64)))
        states.append(np.stack([h.numpy().transpose(1, 0, 2), c.numpy().transpose(1, 0, 2)], axis=1))
    return np.stack(states, axis=1)


def test_a_series_that_speaks_after_an_adoption_has_the_state_that_the_new_weights_give_it() -> None:
    stage = Stage(hand_settings(), ["a", "b", "c"])
    stage.until_ready()
    stage.adopt()
    before = stage.states
    stage.speak(slice(0, 2))
    assert stage.versions == [1, 1, 0]
    np.testing.assert_allclose(stage.states[:2], by_torch(stage)[:2], atol=HALVES)
    assert np.abs(stage.states[:2] - before[:2]).max() > 0.01
    np.testing.assert_array_equal(stage.states[2], before[2])  # it has not spoken, and nobody has touched it
    stage.speak()
    assert stage.versions == [1, 1, 1]
    np.testing.assert_allclose(stage.states[2], by_torch(stage)[2], atol=HALVES)


def test_of_many_series_each_is_renewed_in_its_turn_and_no_batch_renews_more_than_its_share() -> None:
    count = 96
    spread = spread_of(count)
    assert spread == 24
    stage = Stage(hand_settings(network={"members": 1}), [f"s{k}" for k in range(count)])
    stage.until_ready()
    assert stage.versions == [0] * count
    stage.adopt()
    renewed = []
    for _ in range(spread):
        before = sum(stage.versions)
        stage.speak()
        renewed.append(sum(stage.versions) - before)
    assert stage.versions == [1] * count
    assert max(renewed) == count // spread
    assert stage.engine.cohorts[0].ensemble.version == 1


def test_a_blank_state_fits_all_weights_and_a_short_run_is_waited_for() -> None:
    stage = Stage(hand_settings(), ["a", "b"])
    while not stage.hand.busy:
        stage.speak(slice(0, 1))
    stage.adopt()
    stage.speak(slice(0, 1))
    stage.speak(slice(1, 2))  # its first readings come under version 1
    stage.speak(slice(1, 2))
    assert stage.versions == [1, 1]
    while not stage.hand.busy:
        stage.speak(slice(0, 1))
    stage.adopt()
    for count in range(3, 3 + WINDOW):
        stage.speak(slice(1, 2))
        # Of n readings there are n - 1 differences, which is the run.
        assert stage.versions[1] == (2 if count - 1 >= WINDOW else 1)


def test_a_long_gap_makes_the_state_blank() -> None:
    stage = Stage(hand_settings(), ["a"])
    stage.until_ready()
    stage.adopt()
    stage.row += 1000
    stage.speak()
    assert stage.versions == [-1]  # after a gap there is no difference yet, and the network is not asked
    stage.speak()
    assert stage.versions == [1]


def test_a_unit_of_a_group_is_renewed_as_one_when_all_its_members_speak() -> None:
    group = {"groups": [{"name": "g", "members": ["a", "b"]}]}
    stage = Stage(hand_settings(**group), ["u/a", "u/b"])
    stage.until_ready()
    stage.adopt()
    stage.speak(slice(0, 1))  # one alone breaks the run of the unit
    assert stage.versions == [0, 0]
    for _ in range(WINDOW):
        stage.speak()
    assert stage.versions == [1, 1]
    np.testing.assert_allclose(stage.states, by_torch(stage, cohort=1), atol=HALVES)


def test_an_adoption_costs_the_same_for_few_series_as_for_many() -> None:
    """Nothing but the states of those that speak is read or written."""
    stage = Stage(hand_settings(network={"members": 1}), [f"s{k}" for k in range(96)])
    stage.until_ready()
    before = stage.states
    stage.adopt()
    stage.speak(slice(0, 1))
    np.testing.assert_array_equal(stage.states[1:], before[1:])
