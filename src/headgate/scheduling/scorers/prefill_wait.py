"""Predicted seconds of prefill before the first token: the default policy's first term."""

from headgate.scheduling.api import EndpointState, Line, Scorer
from headgate.scheduling.costs import H100_8B


class PrefillWait(Scorer, frozen=True):
    """`pace_i·(pending_i + own_i)·PF`: uncached tokens ahead of this request and its own, in seconds."""

    prefill_token_s: float = H100_8B.prefill_token_s

    def line(self, endpoint: EndpointState) -> Line:
        """Seconds of prefill."""
        pending = endpoint.pending_tokens + endpoint.extra_pending_tokens
        token_s = endpoint.pace * self.prefill_token_s
        return pending * token_s, token_s, 0.0
