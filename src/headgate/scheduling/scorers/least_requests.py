"""The plain load balancer's rule: fewest requests in flight."""

from collections.abc import Sequence

from headgate.scheduling.api import Ask, EndpointState, Scorer


class LeastRequests(Scorer, frozen=True):
    """Requests in flight, including those that only the engine knows of."""

    def score(self, ask: Ask, endpoints: Sequence[EndpointState]) -> list[float]:
        """Requests per endpoint."""
        return [float(state.in_flight + state.extra_requests) for state in endpoints]
