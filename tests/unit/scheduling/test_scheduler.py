"""Filters, then weighted scorers, then the order: on profiles made for the test."""

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
import pytest
from tests.unit.scheduling.scheduling_builders import a_scheduler, a_state, an_ask

from headgate.scheduling.api import DOWN, Ask, EndpointState, Filter, Line, Scorer, plugin_type
from headgate.scheduling.filters.healthy import Healthy
from headgate.scheduling.filters.subset_hint import SubsetHint
from headgate.scheduling.profiles import PROFILES, filter_types, scorer_types
from headgate.scheduling.scorers.least_requests import LeastRequests


class BySlot(Scorer, frozen=True):
    """The higher the slot, the dearer."""

    def score(self, ask: Ask, endpoints: Sequence[EndpointState]) -> list[float]:
        return [float(state.slot) for state in endpoints]


class Nobody(Filter, frozen=True):
    """Refuses everyone, softly."""

    def refuse(self, ask: Ask, endpoints: Sequence[EndpointState]) -> Mapping[int, str]:
        return dict.fromkeys(range(len(endpoints)), "no")


def test_weighted_costs_order_the_list() -> None:
    states = [a_state(n, in_flight=10 - n) for n in range(6)]
    placed = a_scheduler(BySlot(weight=1.5), LeastRequests()).schedule(an_ask(), states)
    assert [state.slot for state in placed.order] == [0, 1, 2, 3]
    last = placed.candidates[5]
    assert last.cost == 12.5
    assert [(term.name, term.value) for term in last.terms] == [("least-requests", 5.0), ("by-slot", 7.5)]


def test_the_refused_stand_last_and_the_excluded_nowhere() -> None:
    states = [a_state(n, in_flight=n) for n in range(5)]
    states[1].severity, states[1].complaint = DOWN, "down: gone"
    ask = an_ask(subset=("10.0.0.1", "10.0.0.2", "10.0.0.3"))
    placed = a_scheduler(Healthy(), SubsetHint(), LeastRequests()).schedule(ask, states)
    assert [state.slot for state in placed.order] == [0, 2, 1]
    assert [one.filtered_by for one in placed.candidates] == [
        None,
        "healthy",
        None,
        "subset-hint",
        "subset-hint",
    ]
    assert placed.candidates[1].filter_reason == "down: gone"
    assert placed.candidates[2].cost == 2.0


def test_a_soft_filter_that_refuses_everyone_is_ignored() -> None:
    placed = a_scheduler(Nobody(), BySlot()).schedule(an_ask(), [a_state(0), a_state(1)])
    assert [state.slot for state in placed.order] == [0, 1]


def test_a_hard_filter_that_refuses_everyone_leaves_nobody() -> None:
    placed = a_scheduler(SubsetHint(), BySlot()).schedule(an_ask(subset=()), [a_state(0), a_state(1)])
    assert placed.order == ()
    assert [one.filtered_by for one in placed.candidates] == ["subset-hint"] * 2


def test_ties_go_to_the_least_recently_cold_then_to_the_dice() -> None:
    running = a_scheduler(LeastRequests())
    states = [a_state(n, cold_turn=5) for n in range(4)]
    picks = Counter(running.schedule(an_ask(), states).order[0].slot for _ in range(400))
    assert all(70 < picks[slot] < 130 for slot in range(4))
    states[2].cold_turn = 4
    states[3].in_flight = 1
    states[3].seen = None
    states[3].cold_turn = 0
    assert {running.schedule(an_ask(), states).order[0].slot for _ in range(20)} == {2}


def test_without_scorers_everyone_ties() -> None:
    picks = Counter(
        a_scheduler().schedule(an_ask(), [a_state(0), a_state(1)]).order[0].slot for _ in range(3)
    )
    assert sum(picks.values()) == 3


def test_plugins_are_found_and_configured_by_their_words() -> None:
    assert {plugin_type(kind.__name__) for kind in scorer_types()} >= {"prefill-wait", "lora-load", "uniform"}
    assert [kind.__name__ for kind in filter_types()] == [
        "HasRoom",
        "Healthy",
        "KeepsAnswer",
        "ModelListed",
        "RefusedAlike",
        "SlowStart",
        "SubsetHint",
    ]
    for kind in scorer_types():
        text = msgspec.json.encode({"type": plugin_type(kind.__name__), "weight": 2})
        assert msgspec.json.decode(text, type=kind) == kind(weight=2.0)
        with pytest.raises(msgspec.ValidationError, match="unknown field"):
            msgspec.json.decode(text.replace(b"weight", b"wieght"), type=kind)


def test_the_named_policies() -> None:
    assert set(PROFILES) == {"default", "random", "round-robin", "least-requests"}
    assert all(name == profile.name for name, profile in PROFILES.items())


class Counting(Scorer, frozen=True):
    """A tenth per token, shared; it counts how often it is asked."""

    asked: list[str]

    def line(self, endpoint: EndpointState) -> Line:
        self.asked.append(endpoint.id)
        return 1.0, 0.0, 0.1


def test_lines_are_asked_again_for_endpoints_that_changed_alone_whoever_shares() -> None:
    asked: list[str] = []
    scheduler = a_scheduler(Counting(asked=asked))
    states = [a_state(slot) for slot in range(3)]
    costs = [scheduler.schedule(an_ask(1000, {0: 900}, sharers=h), states).cost for h in (0, 1, 4, 9)]
    assert costs == pytest.approx([11.0, 6.0, 3.0, 2.0])
    assert asked == [state.id for state in states]
    states[1].pace, states[1].seen = 2.0, None
    scheduler.schedule(an_ask(1000, sharers=2), states)
    scheduler.check(states)
    assert asked == [*(state.id for state in states), states[1].id, *(state.id for state in states)]
