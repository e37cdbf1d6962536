"""What a cache miss costs everyone else: the default policy's second term."""

from headgate.scheduling.api import EndpointState, Line, Scorer
from headgate.scheduling.costs import H100_8B


class EvictionSurcharge(Scorer, frozen=True):
    """`(W−1)·fill_i·own_i·PF / (1 + h)`: a miss on a full cache also evicts someone, in seconds of prefill.

    One fleet-wide PF: with each endpoint's own in it, fast replicas of a mixed fleet are overfilled. The *h*
    requests in flight behind the same cached prefix share the charge: another copy of it will serve them too.
    """

    miss_weight: float = 8.0
    """W: how much dearer than its own prefill a miss on a full cache is."""
    prefill_token_s: float = H100_8B.prefill_token_s

    def line(self, endpoint: EndpointState) -> Line:
        """Seconds of surcharge per uncached token."""
        return 0.0, 0.0, (self.miss_weight - 1.0) * self.prefill_token_s * endpoint.fill
