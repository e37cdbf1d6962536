"""What a cache miss costs everyone else: the default policy's second term."""

from collections.abc import Sequence

from headgate.scheduling.api import Ask, EndpointState, Scorer
from headgate.scheduling.costs import H100_8B


class EvictionSurcharge(Scorer, frozen=True):
    """`(W−1)·fill_i·own_i·mean(PF)`: a miss on a full cache also evicts someone, in seconds of prefill.

    One fleet-wide PF: with each endpoint's own in it, fast replicas of a mixed fleet are overfilled.
    """

    miss_weight: float = 8.0
    """W: how much dearer than its own prefill a miss on a full cache is."""
    prefill_token_s: float = H100_8B.prefill_token_s

    def score(self, ask: Ask, endpoints: Sequence[EndpointState]) -> list[float]:
        """Seconds of surcharge per endpoint."""
        rate, prompt, matched = (
            (self.miss_weight - 1.0) * self.prefill_token_s,
            ask.prompt_tokens,
            ask.matched.get,
        )
        return [state.fill * (prompt - matched(state.slot, 0)) * rate for state in endpoints]
