"""The named policies are what the command line and the documentation promise."""

import random

import pytest
from tests.unit.scheduling.scheduling_builders import a_state, an_ask

from headgate.scheduling.profiles import PROFILES, filter_types, scorer_types
from headgate.scheduling.scheduler import Scheduler


def test_names_are_the_profiles_own() -> None:
    assert set(PROFILES) == {"default", "random", "round-robin", "least-requests"}
    assert all(name == profile.name for name, profile in PROFILES.items())


def test_every_plugin_in_the_folders_is_used_by_a_policy() -> None:
    used = {type(each) for profile in PROFILES.values() for each in (*profile.filters, *profile.scorers)}
    assert used == {*filter_types(), *scorer_types()}


@pytest.mark.parametrize("name", PROFILES)
def test_each_policy_keeps_the_hint_models_health_and_slow_start(name: str) -> None:
    law = [each for each in PROFILES[name].filters if each.hard]
    assert [type(each).__name__ for each in law] == ["SubsetHint", "KeepsAnswer", "ModelListed"]
    assert len(PROFILES[name].filters) == 7
    scheduler = Scheduler(PROFILES[name], random.Random(1))
    states = [a_state(slot) for slot in range(3)]
    states[1].severity = 3
    ask = an_ask(subset=("10.0.0.2", "10.0.0.3"))
    assert scheduler.schedule(ask, states)
