"""The plain load balancer's rule: fewest requests in flight."""

from headgate.scheduling.api import EndpointState, Line, Scorer


class LeastRequests(Scorer, frozen=True):
    """Requests in flight, including those that only the engine knows of."""

    def line(self, endpoint: EndpointState) -> Line:
        """Requests, whatever the request."""
        return float(endpoint.in_flight + endpoint.extra_requests), 0.0, 0.0
