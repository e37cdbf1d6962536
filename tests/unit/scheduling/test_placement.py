"""A placement as it is written out: everyone who was looked at, with costs by name, or why not."""

import pytest
from tests.unit.scheduling.scheduling_builders import a_scheduler, a_state, an_ask

from headgate.model.load import Load
from headgate.scheduling.api import DOWN
from headgate.scheduling.filters.healthy import Healthy
from headgate.scheduling.filters.subset_hint import SubsetHint
from headgate.scheduling.scorers.least_requests import LeastRequests
from headgate.scheduling.scorers.lora_load import LoraLoad
from headgate.scheduling.scorers.prefill_wait import PrefillWait

PF = PrefillWait(prefill_token_s=0.001)


def test_a_candidate_shows_what_it_was_judged_by() -> None:
    states = [a_state(0), a_state(1, in_flight=3, pending_tokens=500, scraped_at=9.25)]
    placed = a_scheduler(PF).schedule(an_ask(1000, {1: 600}), states)
    first, second = placed.candidates
    assert (first.endpoint, first.name) == ("10.0.0.1:8000", "pod-0")
    assert (first.in_flight, first.pending_tokens, first.matched_tokens, first.metrics_age_s) == (
        0,
        0,
        0,
        None,
    )
    assert (second.in_flight, second.pending_tokens, second.matched_tokens) == (3, 500, 600)
    assert second.metrics_age_s == 0.75
    assert (first.cost, second.cost) == pytest.approx((1.0, 0.9))
    assert placed.pick is not None
    assert placed.pick.slot == 1
    assert placed.cost == pytest.approx(0.9)


def test_costs_of_scorers_without_a_line_come_last_and_by_slot() -> None:
    load = Load("vllm", 0, 0, lora_limit=1)
    states = [a_state(0, severity=DOWN), a_state(1, load=load), a_state(2, load=load, adapters={"y"})]
    scheduler = a_scheduler(Healthy(), LoraLoad(weight=4.0), PF)
    refused, free, taken = scheduler.schedule(an_ask(1000, adapter="x"), states).candidates
    assert refused.terms == ()
    for one, loading in ((free, 2.0), (taken, 4.0)):
        assert [(term.name, term.value) for term in one.terms] == [
            ("prefill-wait", pytest.approx(1.0)),
            ("lora-load", loading),
        ]
        assert one.cost == pytest.approx(1.0 + loading)
    for one in scheduler.schedule(an_ask(1000), states).candidates[1:]:
        assert [term.name for term in one.terms] == ["prefill-wait"], "silent without an adapter"


def test_the_refused_have_a_reason_and_no_cost() -> None:
    states = [a_state(slot) for slot in range(3)]
    states[1].severity, states[1].complaint = DOWN, "down: gone"
    placed = a_scheduler(SubsetHint(), Healthy(), PF).schedule(
        an_ask(10, {0: 9, 1: 8}, subset=("10.0.0.1", "10.0.0.2")), states
    )
    told = [
        (one.filtered_by, one.filter_reason, one.cost is None, one.terms == ()) for one in placed.candidates
    ]
    assert told == [
        (None, None, False, False),
        ("healthy", "down: gone", True, True),
        ("subset-hint", "not in the subset hint", True, True),
    ]
    assert [one.matched_tokens for one in placed.candidates] == [9, 8, 0]


def test_nobody_left_is_written_too() -> None:
    placed = a_scheduler(SubsetHint(), PF).schedule(an_ask(subset=()), [a_state(0), a_state(1)])
    assert (placed.order, placed.pick) == ((), None)
    assert [one.filtered_by for one in placed.candidates] == ["subset-hint"] * 2


def test_a_record_stays_as_it_was_when_endpoints_change() -> None:
    states = [a_state(0), a_state(1, in_flight=1)]
    scheduler = a_scheduler(LeastRequests())
    placed = scheduler.schedule(an_ask(), states)
    before = placed.candidates
    states[0].in_flight, states[0].name, states[0].seen = 9, "other", None
    after = scheduler.schedule(an_ask(), states).candidates
    assert placed.candidates == before
    assert [one.cost for one in before] == [0.0, 1.0]
    assert [(one.cost, one.name) for one in after] == [(9.0, "other"), (1.0, "pod-1")]
