"""Each filter against a table of endpoints."""

import pytest
from msgspec.structs import replace
from tests.unit.scheduling.scheduling_builders import a_state, an_ask

from headgate.scheduling.api import COOLING, DOWN, SUSPECT
from headgate.scheduling.filters.has_room import HasRoom
from headgate.scheduling.filters.healthy import Healthy
from headgate.scheduling.filters.keeps_answer import KeepsAnswer
from headgate.scheduling.filters.model_listed import ModelListed
from headgate.scheduling.filters.refused_alike import RefusedAlike
from headgate.scheduling.filters.slow_start import SlowStart
from headgate.scheduling.filters.subset_hint import SubsetHint


@pytest.mark.parametrize(
    ("subset", "refused"),
    [
        (None, set()),
        ((), {0, 1, 2}),
        (("10.0.0.1:8000",), {1, 2}),
        (("10.0.0.2",), {0, 2}),
        (("10.0.0.2:8001",), {0, 1, 2}),
        (("fd00::7",), {0, 1}),
        (("[fd00::7]",), {0, 1}),
        (("[fd00::7]:8000", " 10.0.0.1"), {1}),
        (("[fd00::7]:8001",), {0, 1, 2}),
    ],
)
def test_subset_hint(subset: tuple[str, ...] | None, refused: set[int]) -> None:
    states = [a_state(0), a_state(1), a_state(2, "fd00::7")]
    assert set(SubsetHint().refuse(an_ask(subset=subset), states)) == refused
    assert SubsetHint.hard


@pytest.mark.parametrize(
    ("severities", "refused"),
    [
        ((0, 0, 0), set()),
        ((DOWN, 0, SUSPECT), {0, 2}),
        ((DOWN, SUSPECT, COOLING), {0, 1}),
        ((DOWN, DOWN, DOWN), set()),
        ((), set()),
    ],
)
def test_healthy(severities: tuple[int, ...], refused: set[int]) -> None:
    states = [a_state(n, severity=severity, complaint=f"c{n}") for n, severity in enumerate(severities)]
    assert Healthy().refuse(an_ask(), states) == {n: f"c{n}" for n in refused}


def test_has_room_refuses_who_is_full() -> None:
    states = [a_state(0, full=True), a_state(1), a_state(2, full=True)]
    assert set(HasRoom().refuse(an_ask(), states)) == {0, 2}
    assert not HasRoom.hard


@pytest.mark.parametrize(
    ("ramp", "in_flight", "refused"),
    [
        (0.1, 0, False),
        (0.1, 1, True),
        (0.5, 4, False),
        (0.5, 5, True),
        (1.0, 50, False),
    ],
)
def test_slow_start_caps_at_the_share_of_the_mean(ramp: float, in_flight: int, refused: bool) -> None:
    states = [a_state(0, in_flight=8), a_state(1, in_flight=12), a_state(2, ramp=ramp, in_flight=in_flight)]
    assert set(SlowStart().refuse(an_ask(), states)) == ({2} if refused else set())


def test_slow_start_of_everyone_is_none() -> None:
    states = [a_state(n, ramp=0.1, in_flight=5) for n in range(3)]
    assert SlowStart().refuse(an_ask(), states) == {}


@pytest.mark.parametrize(
    ("listed", "refused"), [(None, set()), (frozenset({1}), {0, 2}), (frozenset({0, 1, 2}), set())]
)
def test_model_listed(listed: frozenset[int] | None, refused: set[int]) -> None:
    ask = replace(an_ask(), listed=listed)
    reasons = ModelListed().refuse(ask, [a_state(slot) for slot in range(3)])
    assert set(reasons) == refused
    assert set(reasons.values()) <= {"does not list the model 'm'"}
    assert ModelListed.hard


def test_refused_alike() -> None:
    states = [a_state(slot) for slot in (3, 4, 5)]
    assert RefusedAlike().refuse(an_ask(), states) == {}
    assert RefusedAlike().refuse(replace(an_ask(), doubtful={4: "why", 9: "gone"}), states) == {1: "why"}
    assert not RefusedAlike.hard


def test_keeps_answer() -> None:
    states = [a_state(0), a_state(1), a_state(2)]
    assert set(KeepsAnswer().refuse(replace(an_ask(), holder=1), states)) == {0, 2}
    assert KeepsAnswer().refuse(an_ask(), states) == {}
    assert KeepsAnswer.hard
