"""A choice written out as a decision, and in a few words for a header."""

from typing import Any

import pytest
from tests.choices import a_choice
from tests.unit.scheduling.scheduling_builders import a_scheduler, a_state, an_ask

from headgate.model.decisions import Decision
from headgate.model.ids import EndpointId, PoolKey, RequestId
from headgate.picker.choice import LONGEST, Choice
from headgate.scheduling.api import DOWN
from headgate.scheduling.filters.healthy import Healthy
from headgate.scheduling.placement import Placement
from headgate.scheduling.scorers.least_requests import LeastRequests
from headgate.scheduling.scorers.lora_load import LoraLoad
from headgate.scheduling.scorers.prefill_wait import PrefillWait


def placed(adapter: str | None = None) -> Placement:
    """Slot 1 is chosen, 0 and 3 could serve, 2 is down."""
    states = [
        a_state(0, in_flight=2, pending_tokens=1000),
        a_state(1, in_flight=2),
        a_state(2, severity=DOWN, complaint="down: gone"),
        a_state(3, in_flight=7),
    ]
    plugins = Healthy(), PrefillWait(prefill_token_s=0.001), LoraLoad(), LeastRequests(weight=0.5)
    return a_scheduler(*plugins).schedule(an_ask(640, {1: 512, 2: 600}, adapter, sharers=5), states)


def chosen(placement: Placement) -> tuple[str, ...]:
    return tuple(state.id for state in placement.order)


def the_choice(adapter: str | None = None, **fields: Any) -> Choice:
    placement = placed(adapter)
    return a_choice(chosen=chosen(placement), placement=placement, policy="default", **fields)


def test_a_decision_says_all_that_a_choice_knows() -> None:
    choice = a_choice(
        "r7",
        "d/p",
        chosen=chosen(placed()),
        placement=placed(),
        policy="default",
        model="m",
        target_model="m-lora",
        priority=-2,
        objective="low",
        predicted_ttft_s=0.25,
        waited_s=1.5,
    )
    order = tuple(EndpointId(f"10.0.0.{last}:8000") for last in (2, 1, 4, 3))
    assert choice.written() == Decision(
        request_id=RequestId("r7"),
        pool=PoolKey("d/p"),
        policy="default",
        at=10.0,
        sharers=5,
        model="m",
        target_model="m-lora",
        priority=-2,
        objective="low",
        prompt_tokens=640,
        waited_s=1.5,
        chosen=order,
        runner_up=order[1],
        candidates=placed().candidates,
        predicted_ttft_s=0.25,
        refused=None,
    )
    assert (choice.at, choice.looked_at, choice.candidates) == (10.0, 4, placed().candidates)


def test_a_lone_endpoint_has_no_runner_up() -> None:
    alone = a_scheduler().schedule(an_ask(), [a_state(0)])
    choice = a_choice(chosen=chosen(alone), placement=alone)
    assert choice.written().runner_up is None
    assert choice.summary() == "p; cost=0 of 1; prefix=0/1000; in-flight=0; fallbacks=0"


def test_written_candidates_show_filters_and_every_term() -> None:
    candidates = the_choice(adapter="x").written().candidates
    assert [one.filtered_by for one in candidates] == [None, None, "healthy", None]
    assert candidates[2].filter_reason == "down: gone"
    assert (candidates[2].cost, candidates[2].matched_tokens) == (None, 600)
    assert [term.name for term in candidates[1].terms] == ["prefill-wait", "least-requests", "lora-load"]
    assert candidates[1].cost == pytest.approx((640 - 512) * 0.001 + 0.5 * 2 + 0.5)


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        (the_choice(), "default; cost=1.13 of 3; prefix=512/640; in-flight=2; filtered=1; fallbacks=3"),
        (
            the_choice(priority=-1, waited_s=1.5),
            "default; cost=1.13 of 3; prefix=512/640; in-flight=2; filtered=1; fallbacks=3; priority=-1; waited=1.500s",
        ),
        (a_choice(), "p; fallbacks=0"),
        (a_choice(chosen=("a:1", "b:1"), priority=3), "p; fallbacks=1; priority=3"),
        (a_choice(waited_s=0.0004), "p; fallbacks=0; waited=0.000s"),
        (a_choice(policy="böse\r\nx\x7f\t"), "b?se??x??; fallbacks=0"),
        (a_choice(policy="x" * 300), "x" * 200),
        (a_choice(policy="é" * 195), "?" * 195 + "; fal"),
        (a_choice(policy=""), "; fallbacks=0"),
    ],
)
def test_summary(choice: Choice, text: str) -> None:
    assert choice.summary() == text
    assert len(text) <= LONGEST
