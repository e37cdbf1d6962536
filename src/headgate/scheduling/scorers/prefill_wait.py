"""Predicted seconds of prefill before the first token: the default policy's first term."""

from headgate.scheduling.api import EndpointState, Line, Scorer
from headgate.scheduling.costs import H100_8B


class PrefillWait(Scorer, frozen=True):
    """`(pending_i + own_i)·PF`: uncached tokens ahead of this request and its own, in seconds."""

    prefill_token_s: float = H100_8B.prefill_token_s

    def line(self, endpoint: EndpointState) -> Line:
        """Seconds of prefill."""
        pending = endpoint.pending_tokens + endpoint.extra_pending_tokens
        return pending * self.prefill_token_s, self.prefill_token_s
