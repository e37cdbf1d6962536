"""Predicted seconds of prefill before the first token: the default policy's first term."""

from collections.abc import Sequence

from headgate.scheduling.api import Ask, EndpointState, Scorer
from headgate.scheduling.costs import H100_8B


class PrefillWait(Scorer, frozen=True):
    """`(pending_i + own_i)·PF`: uncached tokens ahead of this request and its own, in seconds."""

    prefill_token_s: float = H100_8B.prefill_token_s

    def score(self, ask: Ask, endpoints: Sequence[EndpointState]) -> list[float]:
        """Seconds of prefill per endpoint."""
        rate, prompt, matched = self.prefill_token_s, ask.prompt_tokens, ask.matched.get
        return [
            (state.pending_tokens + state.extra_pending_tokens + prompt - matched(state.slot, 0)) * rate
            for state in endpoints
        ]
