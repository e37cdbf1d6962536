"""How long an engine's steps take: the constants behind predicted costs.

Source of model and numbers: step time `A + PF·prefill_tokens + DB·decoding_seqs + CT·Σcontext`, calibrated on
published kernel profiles of vLLM-like engines with continuous batching and chunked prefill.
"""

import msgspec

from headgate.scheduling.api import EndpointState


class StepCosts(msgspec.Struct, frozen=True):
    """Constants of one engine step, in seconds."""

    step_s: float
    """A: a step that does nothing."""
    prefill_token_s: float
    """PF: one prompt token computed."""
    sequence_s: float
    """DB: one sequence decoding."""
    context_token_s: float
    """CT: one token of context attended to."""


H100_8B = StepCosts(step_s=6.5e-3, prefill_token_s=33e-6, sequence_s=20e-6, context_token_s=49e-9)
"""An 8B model on one H100. Used for every endpoint alike: only differences between endpoints decide, and
equal constants proved sounder than miscalibrated ones, on mixed fleets too."""


def step_s(state: EndpointState, costs: StepCosts) -> float:
    """Predicted seconds of one decode step of *state* as it is now."""
    sequences = state.in_flight + state.extra_requests
    context = state.context_tokens + state.extra_context_tokens
    return costs.step_s + costs.sequence_s * sequences + costs.context_token_s * context


def prefill_s(state: EndpointState, own_tokens: int, costs: StepCosts) -> float:
    """Predicted seconds of prefill of what waits there and of *own_tokens* more."""
    return (state.pending_tokens + state.extra_pending_tokens + own_tokens) * costs.prefill_token_s


def ttft_s(state: EndpointState, own_tokens: int, costs: StepCosts) -> float:
    """Predicted seconds until the first token of a request with *own_tokens* uncached prompt tokens."""
    return prefill_s(state, own_tokens, costs) + step_s(state, costs)
