"""The step-time model: what each constant weighs."""

import pytest
from tests.unit.scheduling.scheduling_builders import a_state

from headgate.scheduling.api import EndpointState
from headgate.scheduling.costs import StepCosts, step_s, ttft_s

COSTS = StepCosts(step_s=1.0, prefill_token_s=0.1, sequence_s=0.01, context_token_s=0.001)


@pytest.fixture
def state() -> EndpointState:
    return a_state(
        0,
        in_flight=2,
        extra_requests=3,
        context_tokens=10,
        extra_context_tokens=20,
        pending_tokens=5,
        extra_pending_tokens=6,
    )


def test_a_step_pays_for_sequences_and_context_of_everybody(state: EndpointState) -> None:
    assert step_s(state, COSTS) == pytest.approx(1.0 + 0.05 + 0.03)


def test_the_first_token_waits_for_every_prompt_before_it(state: EndpointState) -> None:
    assert ttft_s(state, 7, COSTS) - step_s(state, COSTS) == pytest.approx((5 + 6 + 7) * 0.1)
